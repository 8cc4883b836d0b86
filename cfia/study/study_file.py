"""The rows of a study's tables, as conf/study/<study>.yaml has them (paper.yaml explains the keys).

A study is read into one `Row` per system; which directories these are is `cfia.study.study_plan`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.config import check_override
from cfia.errors import UserError
from cfia.files import read_yaml

INPUTS = {"audio_text": ("audio", "text"), "audio": ("audio",), "text": ("text",)}
PROTOCOL = ("cv", "validation", "selection")
DEFAULTS = (*PROTOCOL, "input", "audio", "text", "set", "seeds", "against")
PLACE = ("under", "block", "name")
STUDY = ("tag", "note", "encoders", "train_args", "tables", *DEFAULTS)


@dataclass(frozen=True)
class Row:
    """One row of ours in a table.

    Attributes:
        system: the configuration's name.
        modalities: what it takes, of "audio" and "text".
        upstreams: encoders other than the recipe's own, by modality.
        protocol: the keys of PROTOCOL that are not the run's own options.
        set: keys of the configuration that are set otherwise.
        moved: the keys, of `set` or of `protocol`, that the row is there for.
        seeds: its own seeds; none: those of the study.
        under: the key of the published row it stands under; else `block` is its heading.
        name: what the first column says; "": what the published row says.
        against: the configuration that its difference is taken to; "": none.
    """

    table: str
    system: str
    modalities: tuple[str, ...]
    upstreams: Mapping[str, str]
    protocol: Mapping[str, str]
    set: Mapping[str, Any]
    moved: Mapping[str, Any]
    seeds: tuple[int, ...]
    under: str
    block: str
    name: str
    against: str


@dataclass(frozen=True)
class Study:
    """A study: its tag (part of the systems' names), the paper's encoders, and its rows.

    `note` is said under its tables, beside the `train_args`.
    """

    name: str
    tag: str
    note: str
    encoders: Mapping[str, str]
    train_args: Mapping[str, Any]
    rows: tuple[Row, ...]

    def tables(self) -> dict[str, list[Row]]:
        """The rows of each table."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.table, []).append(row)
        return found


def plain_study(systems: Iterable[tuple[str, tuple[str, ...]]]) -> Study:
    """Make the study of a plain run: one unnamed table, a row for each system.

    Args:
        systems: pairs of a configuration and its modalities.
    """
    rows = tuple(_row("--systems", "", name, {}, {}, which) for name, which in systems)
    return Study(name="", tag="", note="", encoders={}, train_args={}, rows=rows)


def read_study(path: Path) -> Study:
    """Read a study.

    Raises:
        UserError: the file is missing, has a key that there is not, or a row without a system.
    """
    values = read_yaml(path)
    _check_keys(str(path), values, STUDY)
    tables = values.get("tables")
    if not isinstance(tables, dict) or not tables:
        raise UserError(f"{path} has no `tables`; see conf/study/paper.yaml")
    defaults = {key: values[key] for key in DEFAULTS if key in values}
    rows = [
        row
        for name, table in tables.items()
        for row in _rows(f"{path}: {name}", str(name), defaults, table)
    ]
    return Study(
        name=path.stem,
        tag=str(values.get("tag", "")),
        note=str(values.get("note", "")),
        encoders=values.get("encoders", {}),
        train_args=values.get("train_args", {}),
        rows=tuple(rows),
    )


def _check_keys(where: str, values: Any, legal: tuple[str, ...]) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold `key: value` lines; see conf/study/paper.yaml")
    for key in values:
        if key not in legal:
            raise UserError(f"{where}: unknown key {key!r}; the keys are {', '.join(legal)}")


def _rows(where: str, table: str, defaults: Mapping[str, Any], value: Any) -> Iterator[Row]:
    _check_keys(where, value, (*DEFAULTS, "rows"))
    own = {key: of for key, of in value.items() if key != "rows"}
    for item in value.get("rows") or ():
        _check_keys(where, item, (*DEFAULTS, *PLACE, "systems", "moves"))
        merged = {**defaults, **own, **item}
        if not merged.get("systems"):
            raise UserError(f"{where}: a row names no `systems`")
        if merged.get("input", "audio_text") not in INPUTS:
            raise UserError(f"{where}: input is {merged['input']!r}; one of {', '.join(INPUTS)}")
        modalities = INPUTS[merged.get("input", "audio_text")]
        for system in merged["systems"]:
            for moved in _moves(merged.get("moves")):
                yield _row(where, table, str(system), merged, moved, modalities)


def _moves(moves: Mapping[str, list[Any]] | None) -> Iterator[dict[str, Any]]:
    """One key and value at a time; nothing moved once where there are no `moves`."""
    if moves is None:
        yield {}
        return
    for key, values in moves.items():
        for value in values:
            yield {key: value}


def _row(
    where: str,
    table: str,
    system: str,
    values: Mapping[str, Any],
    moved: Mapping[str, Any],
    modalities: tuple[str, ...],
) -> Row:
    changed = {**values.get("set", {}), **moved}
    for key in changed.keys() - set(PROTOCOL):
        try:
            check_override(f"{key}=")
        except UserError as error:
            raise UserError(f"{where}: {str(error).partition(': ')[2]}") from None
    protocol = {key: values[key] for key in PROTOCOL if key in values}
    return Row(
        table=table,
        system=system,
        modalities=modalities,
        upstreams={key: values[key] for key in ("audio", "text") if key in values},
        protocol={**protocol, **{key: v for key, v in moved.items() if key in PROTOCOL}},
        set={key: value for key, value in changed.items() if key not in PROTOCOL},
        moved=changed,
        seeds=tuple(values.get("seeds", ())),
        under=values.get("under", ""),
        block=values.get("block", ""),
        name=values.get("name", ""),
        against=values.get("against", ""),
    )
