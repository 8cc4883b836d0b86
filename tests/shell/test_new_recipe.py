"""utils/new_recipe.sh, and the guide that leads from there to a table: egs/TEMPLATE/README.md."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.recipes import ROOT, Recipe

GUIDE = (ROOT / "egs" / "TEMPLATE" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
PROSE = re.sub(r"```sh\n.*?```", "", GUIDE, flags=re.DOTALL)
SHOWN = re.search(r"^ {4}(.*?)\n\n(?! )", PROSE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return Recipe(tmp_path / "R&D", "TEMPLATE", ()).root


def bash(directory: Path, script: str, code: int = 0) -> str:
    """Run commands; what they print."""
    done = subprocess.run(
        ["bash", "-ec", script], cwd=directory, env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def follow(checkout: Path, edit: Callable[[str], str] = str) -> str:
    """Type all commands of the guide into one shell; what they print."""
    assert len(COMMANDS) == 6
    return bash(checkout, edit("\n".join(COMMANDS)))


def test_a_new_recipe_has_nothing_of_another_corpus(checkout: Path) -> None:
    said = bash(checkout, "utils/new_recipe.sh my-corpus")
    assert re.findall(r"^  (\d)\. ", said, re.MULTILINE) == ["1", "2", "3"]
    recipe = checkout / "egs" / "my-corpus"
    files = [path for path in recipe.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not {path.name for path in files} & {"RESULTS.md", "findings.md"}
    assert not [path for path in files if path.suffix == ".py"]
    for path in files:
        assert not re.search("(?i:emodb|iemocap)|NAME", path.read_text()), path
    assert [path.name for path in recipe.iterdir() if path.is_symlink() and path.exists()]
    help_text = bash(recipe, "./run.sh --help")
    assert "[all]" in help_text
    assert "--corpus_dir DIR" in bash(recipe, "./run.sh", code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ("", 2, "expected one name, got 0"),
        ("a b", 2, "expected one name, got 2"),
        ("'a b'", 2, "'a b' cannot be a recipe's name"),
        ("../x", 2, "'../x' cannot be a recipe's name"),
        ("-x", 2, "'-x' cannot be a recipe's name"),
        ("emodb", 1, "egs/emodb is there already"),
        ("--help", 0, "Usage: utils/new_recipe.sh <name>"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(arguments: str, code: int, why: str) -> None:
    before = sorted((ROOT / "egs").iterdir())
    said = bash(ROOT, f"utils/new_recipe.sh {arguments}", code)
    assert why in said
    assert code == 0 or said.count("\n") == 1
    assert sorted((ROOT / "egs").iterdir()) == before


def test_the_guide_as_it_is_typed_leads_to_folds(checkout: Path) -> None:
    said = follow(
        checkout, lambda s: re.sub(r"^(\./run\.sh .*)", r"\1 --stop_stage 2", s, flags=re.M)
    )
    assert SHOWN is not None
    shown = SHOWN[1].replace("\n    ", "\n").replace("<root>", str(checkout))
    assert shown in said
    toys, by_table = (checkout / "egs" / name / "data" for name in ("toys", "toys_by_table"))
    assert (toys / "all" / "spk2gender").read_text().split() == [
        "ann",
        "f",
        "bob",
        "m",
        "cem",
        "m",
        "dua",
        "f",
    ]
    assert sorted(path.name for path in (toys / "folds" / "speaker").glob("[0-9]")) == list("1234")
    counts = [len((by_table / "folds" / "given-given" / "1" / part).read_text().splitlines())
              for part in ("train", "valid", "test")]  # fmt: skip
    assert counts == [48, 24, 24]


@pytest.mark.slow
def test_the_guide_as_it_is_typed_leads_to_tables(checkout: Path) -> None:
    follow(checkout)
    for name, words in (
        ("toys", "by gender"),
        ("toys_by_table", "takes utterances as independent"),
    ):
        results = (checkout / "egs" / name / "exp" / "RESULTS.md").read_text()
        (row,) = re.findall(r"^\| cfia_net_fbank \|.*", results, re.MULTILINE)[:1]
        assert float(row.split("|")[5].split()[0]) > 50, "what the guide hums can be told apart"
        assert words in results
