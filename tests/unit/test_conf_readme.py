"""conf/README.md against the code: every key of the configuration, and every system."""

from __future__ import annotations

import re
import typing
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from cfia.config import SHARED, TrainConfig, build, load
from cfia.corpus.columns import OWN
from cfia.corpus.corpus_conf import CorpusConf, Join
from cfia.errors import UserError
from cfia.networks import OWN as NETWORKS_OWN
from cfia.networks import ModelConfig

README = Path(__file__).resolve().parents[2] / "conf" / "README.md"
COMMON = {**typing.get_type_hints(ModelConfig), **typing.get_type_hints(TrainConfig)}
# Keys of single networks, with what names the network.
OF_NETWORK = {
    key: {"network": name, "consistency": []}
    for name, kind in NETWORKS_OWN.items()
    for key in typing.get_type_hints(kind).keys() - COMMON.keys()
}
HINTS = COMMON | {
    k: v for kind in NETWORKS_OWN.values() for k, v in typing.get_type_hints(kind).items()
}
DEFAULTS = build({}).flat() | {key: build(of).flat()[key] for key, of in OF_NETWORK.items()}
KINDS = {int: "whole number", float: "number"}

Row = dict[str, str]


def rows(text: str, heading: str) -> list[Row]:
    """The rows of all Markdown tables whose first column has this heading."""
    found: list[Row] = []
    headings: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            headings = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if headings is None:
            headings = cells
        elif headings[0] == heading and set(line) - set("|-: "):
            found.append(dict(zip(headings, cells, strict=True)))
    return found


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def refusal(values: dict[str, Any]) -> str:
    """What the configuration says that is legal, of a value that is not."""
    with pytest.raises(UserError) as error:
        build({**OF_NETWORK.get(next(iter(values)), {}), **values})
    return str(error.value).partition("legal values are ")[2]


def legal(key: str) -> str:
    """The cell that the code asks for."""
    hint = HINTS[key]
    if hint in KINDS:  # no number may be below 0
        return f"{KINDS[hint]}, {refusal({key: -1})}"
    if typing.get_origin(hint) is Literal:
        names = typing.get_args(hint)
    elif hint is str:
        names = tuple(refusal({key: "no such"}).split(", "))
    elif key == "probe_c_grid":
        return f"list of numbers, {refusal({key: [-1]})}: one or more"
    else:  # a list, whose length the number of modules decides
        return "list of numbers, 0 and more: one per pair of modules, or none"
    return ", ".join(f"`{name}`" for name in names)


def problems(text: str) -> list[str]:
    """Where the tables of keys in `text` and the code differ."""
    table = rows(text, "key")
    names = [name for row in table for name in quoted(row["key"])]
    counts = Counter(names)
    found = [f"{key} is missing" for key in DEFAULTS if key not in counts]
    found += [f"{key} is no key" for key in counts if key not in DEFAULTS]
    found += [f"{key} stands there {n} times" for key, n in counts.items() if n > 1]
    for row in table:
        (key,) = quoted(row["key"])
        if key not in DEFAULTS:
            continue
        value = yaml.safe_load(quoted(row["default"])[0])
        default = build({**OF_NETWORK.get(key, {}), key: value}).flat()[key]
        if default != DEFAULTS[key]:
            found.append(f"{key}: the default is {DEFAULTS[key]}")
        if row["legal values"] != legal(key):
            found.append(f"{key}: legal is {legal(key)}")
    return found


def test_the_tables_hold_every_key_its_default_and_its_legal_values() -> None:
    assert problems(README.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"^\| `mlp` .*\n", "", "mlp is missing"),
        (r"^\| `mlp` ", "| `mpl` ", "mpl is no key"),
        (r"^(\| `mlp` .*\n)", r"\1\1", "mlp stands there 2 times"),
        (r"^(\| `lr` .*)`1e-4`", r"\1`1e-3`", "lr: the default is 0.0001"),
        (r"^(\| `align` .*), `pad`", r"\1", "align: legal is `interpolate`, `pad`"),
        (r"^(\| `epochs` .*)whole number", r"\1number", "epochs: legal is whole number, above 0"),
        (r"^(\| `layers` .*)1 and more", r"\g<1>0 and more", "layers: legal is whole number, 1"),
    ],
)
def test_a_table_that_is_wrong_is_found(old: str, new: str, problem: str) -> None:
    text, n = re.subn(old, new, README.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert n == 1
    assert any(found.startswith(problem) for found in problems(text))


def test_every_setting_that_the_page_names_is_legal() -> None:
    settings = re.findall(r"`(\w+): ([^`]+)`", README.read_text(encoding="utf-8"))
    of_keys = [(key, yaml.safe_load(value)) for key, value in settings if key in DEFAULTS]
    assert len(of_keys) > 20
    for key, value in of_keys:
        of = OF_NETWORK.get(key, {})
        assert build({"consistency": [], **of, key: value}).flat()[key] == value


def test_the_table_of_systems_holds_every_system() -> None:
    table = rows(README.read_text(encoding="utf-8"), "in `conf/systems/`")
    names = [name for row in table for name in quoted(row["in `conf/systems/`"])]
    values = {path.stem: yaml.safe_load(path.read_text()) for path in SHARED.glob("*.yaml")}
    systems = [name for name, of in values.items() if of.keys() & {"base", "network"}]
    assert sorted(names) == sorted(systems)
    for name in names:
        load([SHARED / f"{name}.yaml"])


def test_all_keys_of_a_corpus_page() -> None:
    text = README.read_text(encoding="utf-8")
    heading = "key of corpus.yaml"
    keys = [name for row in rows(text, heading) for name in quoted(row[heading])]
    assert sorted(keys) == sorted(CorpusConf.__annotations__)
    named = [name for row in rows(text, "column") for name in quoted(row["column"])]
    assert sorted(named) == sorted(OWN)
    of_tables = text.partition("**Tables.**")[2].partition("**Columns.**")[0]
    for key in typing.get_type_hints(Join).keys() - {"key", "value"}:  # which stand with `join`
        assert re.search(rf"\b{key}\b", of_tables), key
