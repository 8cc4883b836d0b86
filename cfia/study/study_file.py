"""Read conf/study/<study>.yaml into the rows of its tables (paper.yaml explains the keys).

There is one `Row` for each system; `cfia.study.study_plan` turns rows into experiments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypedDict

from cfia.config import check
from cfia.errors import UserError
from cfia.files import read_with_bases
from cfia.installation import CONF
from cfia.naming import ASR, across
from cfia.options import GOLD, LARGEST_SEED
from cfia.shapes import ShapeError, fit

MOST_ERRORS = 100  # percent of the words of a text
INPUTS = {"audio_text": ("audio", "text"), "audio": ("audio",), "text": ("text",)}
INPUTS_BY_MODALITIES = {modalities: name for name, modalities in INPUTS.items()}
# The options of run.sh that a row may set.
ROW_OPTIONS = ("cv", "validation", "selection", "refit", "tune", "text_source")
DEFAULTS = (*ROW_OPTIONS, "input", "audio", "text", "set", "seeds", "against", "tested")
PLACE = ("under", "block", "name")
OF_ROWS = (*DEFAULTS, *PLACE, "systems", "published", "folds", "reported")
STUDY = (
    "tag", "note", "encoders", "train_args", "tables", "schemes", "leave_out", "inputs", *DEFAULTS,
)  # fmt: skip
SHARED = CONF / "study"
# How a table is laid out; cfia/study/write.py has a function for each.
PAPER, READINGS, TEXTS, PEERS, PROTOCOL = "paper", "readings", "texts", "peers", "protocol"
LAYOUTS = (PAPER, READINGS, TEXTS, PEERS, PROTOCOL)
# What a row of a protocol table reports in place of its networks' mean score.
OWN_EPOCHS, BEST_SEED, ENSEMBLE = "own_epochs", "best_seed", "ensemble"
REPORTED = (OWN_EPOCHS, BEST_SEED, ENSEMBLE)


class _Keys(TypedDict, total=False):
    """The keys of a study, of a table and of a row, and what kind of value they have."""

    tag: str | int
    note: str
    encoders: dict[str, str]
    train_args: dict[str, Any]
    tables: dict[str | int, Any]
    schemes: list[dict[str, Any]]
    leave_out: list[str]
    inputs: list[str]
    layout: str
    title: str
    blocks: list[Any]
    rows: list[Any] | None
    cv: str
    validation: str
    selection: str
    refit: bool
    tune: int
    input: str
    audio: str
    text: str
    set: dict[str, Any]
    text_source: str
    seeds: list[int]
    against: str
    tested: list[str | int]
    under: str
    block: str
    name: str
    systems: list[str]
    folds: list[int]
    reported: str
    moves: dict[str, list[Any]] | None
    published: list[str]


@dataclass(frozen=True)
class Row:
    """A row of a study's table: a system, its settings, and the place of the row.

    Attributes:
        system: the configuration's name.
        modalities: the inputs, of "audio" and "text".
        upstreams: encoders other than the recipe's own, by modality.
        protocol: the values of those ROW_OPTIONS that it sets.
        set: keys of the configuration, and the values that it gives them.
        moved: all keys that the row exists to change, of `set` and of `protocol`.
        seeds: its own seeds; none: those of the study.
        under: the key of the published row that it follows; else `block` is its heading.
        name: the words of the first column; "": those of the published row.
        against: the configuration that its difference is taken to; "": none.
        tested: the text that its networks are tested with, GOLD, ASR, or gold text with so many
            percent of word errors; None: with text as they were trained with.
        published: keys of the published rows that it stands beside.
        layout: of its table, one of LAYOUTS; title: of its table, "" for that of the layout.
        folds: the numbers of the folds that are trained; none: all of them.
        reported: of REPORTED, what is read out of an experiment; "": its scores.
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
    tested: str | int | None = None
    published: tuple[str, ...] = ()
    layout: str = PAPER
    title: str = ""
    folds: tuple[int, ...] = ()
    reported: str = ""


@dataclass(frozen=True)
class Study:
    """A study: its tag (part of the systems' names), the paper's encoders, and its rows.

    Attributes:
        note: printed under its tables, beside the `train_args`.
        left_out: what it leaves out of the rows that it has, in words; "" for nothing.
    """

    name: str
    tag: str
    note: str
    encoders: Mapping[str, str]
    train_args: Mapping[str, Any]
    rows: tuple[Row, ...]
    left_out: str = ""


def plain_study(
    systems: Iterable[tuple[str, tuple[str, ...]]], trained: Sequence[str] = ()
) -> Study:
    """Make the study of a plain run: one unnamed table, a row for each system.

    Args:
        systems: pairs of a configuration and its modalities.
        trained: corpora, where there are several: a row for each that trains a system.
    """
    protocols: list[dict[str, str]] = [{"cv": across(corpus)} for corpus in trained] or [{}]
    rows = tuple(
        _row("--systems", "", name, {"input": "_".join(modalities), **protocol}, {})
        for name, modalities in systems
        for protocol in protocols
    )
    return Study(name="", tag="", note="", encoders={}, train_args={}, rows=rows)


def read_study(path: Path) -> Study:
    """Read a study, and those that it starts from by `base`.

    Raises:
        UserError: the file or a base is missing, has an unknown key, or a row without a system; or
            it leaves out what it has not.
    """
    values: dict[str, Any] = {}
    for source, own in reversed(read_with_bases(path, SHARED, "study")):
        _check_keys(str(source), own, STUDY)
        _fitted(str(source), _Keys, own)
        values |= own
    fitted = _fitted(str(path), _Keys, values)
    if not fitted.get("tables"):
        raise UserError(f"{path} has no `tables`; see conf/study/paper.yaml")
    train_args = fitted.get("train_args", {})
    check(train_args, f"{path}: train_args")
    defaults = {key: values[key] for key in DEFAULTS if key in values}
    schemes = fitted.get("schemes")
    rows = [
        row
        for table, keys in fitted["tables"].items()
        for name, with_scheme in _by_scheme(f"{path}: {table}", str(table), keys, schemes)
        for row in _rows(f"{path}: {table}", name, defaults, with_scheme)
    ]
    kept = list(_wanted(str(path), rows, fitted))
    return Study(
        name=path.stem,
        tag=str(fitted.get("tag", "")),
        note=fitted.get("note", ""),
        encoders=fitted.get("encoders", {}),
        train_args=train_args,
        rows=tuple(kept),
        left_out=_in_words_left_out(rows, kept),
    )


def _by_scheme(
    where: str, table: str, keys: Any, shared: list[dict[str, Any]] | None
) -> Iterator[tuple[str, Any]]:
    """Give a table for each of its `schemes`, or of the study's, with a name and its keys."""
    own = _fitted(where, _Keys, keys).get("schemes", shared) if isinstance(keys, dict) else None
    if not own:
        yield table, keys
        return
    names = set()
    for scheme in own:
        _check_keys(f"{where}: schemes", scheme, ROW_OPTIONS)
        chosen = [(key, scheme[key]) for key in ROW_OPTIONS if scheme.get(key)]
        words = [_scheme_word(key, value) for key, value in chosen]
        name = "_".join([table, *words])
        if name in names:
            raise UserError(f"{where}: schemes has {' '.join(words) or 'none'} twice; remove one")
        names.add(name)
        yield name, {**{k: v for k, v in keys.items() if k != "schemes"}, **scheme}


def _scheme_word(key: str, value: Any) -> str:
    """Name a value of a scheme as directories name it: `session`, `refit`, `tune6`."""
    return str(value) if isinstance(value, str) else key + str(value) * (value is not True)


def _wanted(where: str, rows: Sequence[Row], study: _Keys) -> Iterator[Row]:
    """Leave out the rows of systems in `leave_out`, and of inputs that are not in `inputs`."""
    inputs, patterns = study.get("inputs", [*INPUTS]), study.get("leave_out", [])
    for name in inputs:
        if name not in INPUTS:
            raise UserError(f"{where}: inputs has {name!r}; they are of {', '.join(INPUTS)}")
    systems = dict.fromkeys(row.system for row in rows)
    for pattern in patterns:
        if not any(fnmatchcase(system, pattern) for system in systems):
            raise UserError(
                f"{where}: leave_out has {pattern!r}, but the rows are of {', '.join(systems)}"
            )
    for row in rows:
        left = any(fnmatchcase(row.system, pattern) for pattern in patterns)
        if not left and INPUTS_BY_MODALITIES[row.modalities] in inputs:
            yield row


def _in_words_left_out(rows: Sequence[Row], kept: Sequence[Row]) -> str:
    """Say which inputs and which systems are in no row any more."""
    gone = {row.modalities for row in rows} - {row.modalities for row in kept}
    systems = {row.system for row in kept}
    alone = [row.system for row in rows if row.modalities not in gone and row.system not in systems]
    inputs = [f"all of {' and '.join(modalities)}" for modalities in sorted(gone)]
    return ", ".join([*inputs, *dict.fromkeys(alone)])


def _fitted(where: str, hint: Any, values: Any) -> Any:
    try:
        return fit(hint, values)
    except ShapeError as error:
        raise UserError(f"{where}: {error}; see conf/study/paper.yaml") from None


def _check_keys(where: str, values: Any, legal: tuple[str, ...]) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold `key: value` lines; see conf/study/paper.yaml")
    for key in values:
        if key not in legal:
            raise UserError(f"{where}: unknown key {key!r}; the keys are {', '.join(legal)}")


def _rows(where: str, table: str, defaults: Mapping[str, Any], value: Any) -> Iterator[Row]:
    _check_keys(where, value, (*DEFAULTS, "layout", "title", "blocks", "rows"))
    table_keys = _fitted(where, _Keys, value)
    layout = table_keys.get("layout", PAPER)
    if layout not in LAYOUTS:
        raise UserError(f"{where}: layout is {layout!r}; one of {', '.join(LAYOUTS)}")
    of_table = {"input": "audio_text", **defaults}
    of_table |= {key: value[key] for key in DEFAULTS if key in value}
    blocks, items = table_keys.get("blocks", [{}]), table_keys.get("rows") or ()
    for keys, legal in ((blocks, OF_ROWS), (items, (*OF_ROWS, "moves"))):
        for some in keys:
            _check_keys(where, some, legal)
            _fitted(where, _Keys, some)
    for block in blocks:
        for item in items:
            for row in _of_item(where, table, layout, {**of_table, **item, **block}):
                yield dataclasses.replace(row, layout=layout, title=table_keys.get("title", ""))


def _of_item(where: str, table: str, layout: str, merged: Mapping[str, Any]) -> Iterator[Row]:
    """Make the rows that stand in a file as one: for each system, move and text."""
    if not merged.get("systems"):
        raise UserError(f"{where}: a row names no `systems`")
    for key, legal in (("input", INPUTS), ("reported", REPORTED)):
        if key in merged and merged[key] not in legal:
            raise UserError(f"{where}: {key} is {merged[key]!r}; one of {', '.join(legal)}")
    if "reported" in merged and layout != PROTOCOL:
        raise UserError(f"{where}: reported is for a table of the layout {PROTOCOL}")
    if merged.get("reported") == OWN_EPOCHS and merged.get("selection") != "test":
        raise UserError(f"{where}: reported: {OWN_EPOCHS} needs selection: test in its row")
    moves = merged.get("moves")
    # One key and one value in each row; without `moves` one row, which moves nothing.
    changes = [{}] if moves is None else [{k: v} for k, vs in moves.items() for v in vs]
    tested = _tested(where, merged)
    for system in merged["systems"]:
        for moved in changes:
            row = _row(where, table, str(system), merged, moved)
            yield from (dataclasses.replace(row, tested=text) for text in tested)


def _row(
    where: str, table: str, system: str, values: Mapping[str, Any], moved: Mapping[str, Any]
) -> Row:
    values, moved = _in_words(values), _in_words(moved)
    changed = {**values.get("set", {}), **moved}
    check({key: value for key, value in changed.items() if key not in ROW_OPTIONS}, where)
    protocol = {**values, **moved}
    return Row(
        table=table,
        system=system,
        modalities=INPUTS[values["input"]],
        upstreams={key: values[key] for key in ("audio", "text") if key in values},
        protocol={key: protocol[key] for key in ROW_OPTIONS if key in protocol},
        set={key: value for key, value in changed.items() if key not in ROW_OPTIONS},
        moved=changed,
        seeds=_seeds(where, values.get("seeds", [])),
        published=tuple(values.get("published", ())),
        folds=_folds(where, values.get("folds", [])),
        reported=values.get("reported", ""),
        **{key: values.get(key, "") for key in (*PLACE, "against")},
    )


def _in_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give options that are true or false, or a number, as run.sh has them, in words."""
    of_run = {k for k, v in values.items() if k in ROW_OPTIONS and isinstance(v, int)}
    return {k: str(v).lower() if k in of_run else v for k, v in values.items()}


def _tested(where: str, values: Mapping[str, Any]) -> list[str | int | None]:
    """List the texts that the networks of a row are tested with; a row of the table for each."""
    percents = range(MOST_ERRORS + 1)
    texts: list[str | int] = values.get("tested", [])
    for text in texts:
        if text not in (GOLD, ASR, *percents) or isinstance(text, bool):
            raise UserError(
                f"{where}: tested is {texts!r}; expected a list of {GOLD}, {ASR}, and percents of "
                f"word errors up to {MOST_ERRORS}, such as [{GOLD}, 10]"
            )
    if not texts or "text" not in INPUTS[values["input"]]:
        return [None]
    return [text or GOLD for text in texts]  # no errors


def _seeds(where: str, values: Any) -> tuple[int, ...]:
    legal = range(LARGEST_SEED + 1)
    if not isinstance(values, list) or any(type(v) is not int or v not in legal for v in values):
        raise UserError(
            f"{where}: seeds is {values!r}; expected a list such as [1, 2], of numbers up to "
            f"{LARGEST_SEED}"
        )
    return tuple(values)


def _folds(where: str, values: Any) -> tuple[int, ...]:
    if any(type(value) is not int or value < 1 for value in values):
        raise UserError(
            f"{where}: folds is {values!r}; expected a list of numbers from 1 on, such as [1]"
        )
    return tuple(sorted(set(values)))
