"""README.md, cfia/README.md and conf/README.md against the repository: what they name is there."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from cfia import options
from cfia.__main__ import verbs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md", "cfia/README.md", "conf/README.md", "egs/TEMPLATE/SCALE.md",
    *(f"egs/{path.parent.name}/README.md" for path in sorted((ROOT / "egs").glob("*/README.md"))),
)  # fmt: skip
HOUSE = (ROOT / "cfia" / "README.md").read_text(encoding="utf-8")
RECIPES = sorted((ROOT / "egs").glob("*"))
# A path in a top directory of the repository, or in conf/ or local/ of a recipe. A path with a
# pattern in it (<k>, {train,valid}, *) is cut there, and its directory is looked for.
PATH = re.compile(r"(?<![\w/.<>~-])(?:\./)?((?:cfia|conf|egs|tests|utils|local)/[\w./-]*)([<{*]?)")
MODULE = re.compile(r"(?<![\w/.])((?:cfia|tests)(?:\.\w+)+)")
GLOSSARY = {
    "corpus", "recipe", "utterance", "encoder", "dump", "scheme", "fold", "system", "experiment",
    "training", "job", "study",
}  # fmt: skip


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def missing_paths(document: str) -> list[str]:
    """The paths that a document names and that are nowhere; but for files that a guide writes."""
    content = prose(document)
    written = re.findall(r"Write `([^`]+)`", content)
    missing = []
    for path, pattern in PATH.findall(content):
        path = path.rpartition("/")[0] if pattern else path.rstrip(".")
        places = (
            [ROOT, *RECIPES, ROOT / "egs/TEMPLATE/recipe"]
            if path.startswith(("conf", "local"))
            else [ROOT]
        )
        if path not in written and not any((place / path).exists() for place in places):
            missing.append(path)
    return missing


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True


def prose(document: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"```.*?```", "", text(document), flags=re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    assert missing_paths(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_that_is_named_exists(document: str) -> None:
    assert [name for name in MODULE.findall(prose(document)) if not exists(name)] == []


def anchors(document: Path) -> set[str]:
    """The headings of a page, as links call them."""
    headings = re.findall(r"^#+ (.*)$", prose(str(document)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text(document)):
        file, _, anchor = target.partition("#")
        path = (ROOT / document).parent / file if file else ROOT / document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_and_verb_that_is_named_exists(document: str) -> None:
    programs = [*(ROOT / "cfia").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in programs)
    flags = {option.name for option in options.EVERY} | {"config", "help", "slow"}
    flags |= set(re.findall(r'"--(\w+)"', sources))
    ours = re.sub(r"`pip [^`]*`", "", prose(document))
    named = re.findall(r"(?<![\w-])--(\w+)", ours)
    assert [flag for flag in named if flag not in flags] == []
    named = re.findall(r"`cfia (\w+)", prose(document))
    assert [verb for verb in named if verb not in verbs()] == []


def test_a_path_and_a_module_that_are_not_there_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "`cfia/no_such.py`, `conf/labels/<set>.yaml`, `utils/run.py`, `conf/train.yaml`."
    monkeypatch.setitem(globals(), "text", lambda _: content)
    assert missing_paths("") == ["cfia/no_such.py"]
    assert not exists("cfia.metrics.no_such")


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (c for c in contracts["contracts"] if c["name"] == "layers")
    listed: dict[int, list[str]] = {}
    for number, rooms in re.findall(r"^\| (\d+) \| ([^|]+) \|", HOUSE, re.MULTILINE):
        if rooms.startswith("`") and "/" not in rooms:  # the stages have numbers, too
            listed.setdefault(int(number), []).extend(re.findall(r"`(\w+)`", rooms))
    assert list(listed) == list(range(1, len(listed) + 1))
    assert list(listed.values()) == [layer.split(" : ") for layer in contract["layers"]]


def test_the_glossary_has_its_words() -> None:
    section = HOUSE.split("## Glossary\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^- \*\*(\w+)\*\*", section, re.MULTILINE)) >= GLOSSARY
