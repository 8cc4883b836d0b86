"""Corpora that are tested on each other: by run.sh itself, and killed before any change."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe
from tests.support.cross import TRAINING, Corpus, Cross
from tests.support.killed_stages import KILLED, killed_at
from tests.support.outputs import MADE, differences, outputs
from tests.support.stages import Outcome, Toy

pytestmark = pytest.mark.slow


def run_stages(first: int, last: int, toy: Toy) -> Outcome:
    return toy.run(first, last)


def test_the_stages_as_a_user_runs_them(tmp_path: Path) -> None:
    options = ["--systems", "linear_audio", "--train_args", TRAINING, "--nj", "2"]
    recipe = Recipe(tmp_path / "project", "cross", options)
    for seed, name in enumerate(("first", "second")):
        Corpus(recipe.directory.parent / name, 24, seed)
    assert '--cv cross needs --corpora "../emodb' in recipe.run(code=2)
    # From elsewhere: the paths start from the recipe.
    said = recipe.run("--corpora", "../first ../second")
    assert "tested on second" in said
    assert "linked to ../first/dump/fbank" in said
    before = recipe.files()
    assert "up to date" in recipe.run("--corpora", "../second ../first")
    assert recipe.files() == before
    shutil.move(tmp_path / "project", tmp_path / "moved")
    moved = Recipe(tmp_path / "moved", "cross", options)
    assert "up to date" in moved.run("--corpora", "../first ../second")


@pytest.mark.parametrize(("first", "last", "step"), [(1, 4, 1), (5, 7, 5)])
def test_a_kill_changes_no_byte(tmp_path: Path, first: int, last: int, step: int) -> None:
    cross = Cross(tmp_path)
    assert first == 1 or cross.run(1, first - 1) == Outcome(0)
    before = tmp_path / "before"
    shutil.copytree(cross.directory, before, symlinks=True)
    assert cross.run(first, last) == Outcome(0)
    undisturbed = outputs(cross.directory)
    for number in count(1, step):
        for made in MADE:
            shutil.rmtree(cross.directory / made, ignore_errors=True)
            if (before / made).exists():
                shutil.copytree(before / made, cross.directory / made, symlinks=True)
        work = partial(run_stages, first, last)
        code = killed_at(number, tmp_path, cross.directory, work, Cross)
        assert cross.run(first, last) == Outcome(0), number
        assert differences(outputs(cross.directory), undisturbed) == [], number
        if code != KILLED:
            break
    assert number > 1
