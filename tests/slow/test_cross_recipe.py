"""Corpora that are tested on each other: by run.sh itself, and killed before any change."""

from __future__ import annotations

import re
import shutil
from functools import partial
from itertools import count, product
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe
from tests.shell.test_recipe import make_corpus
from tests.support.cross import TRAINING, Corpus, Cross
from tests.support.data_files import write_audio
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


def test_emodb_and_the_mini_corpus_at_toy_size(tmp_path: Path) -> None:
    """By their own recipes: pages, labels, synthesiser; of EmoDB the names alone are real."""
    root, features = tmp_path / "project", ["--stop_stage", "3", "--systems", "audio", "--nj", "2"]
    mini, emodb = (
        Recipe(root, name, ["--stage", "1", *features]) for name in ("mini_iemocap", "emodb")
    )
    emodb.corpus = root / "emodb"
    for speaker, text, emotion in product(("03", "08", "10", "13"), ("a01", "b03"), "WFNT"):
        write_audio(emodb.corpus / "wav" / f"{speaker}{text}{emotion}a.wav", 0.5)
    make_corpus(mini)
    mini.run()
    emodb.run()
    cross = Recipe(root, "cross", ["--systems", "linear_audio", "--train_args", TRAINING])
    said = cross.run("--corpora", "../emodb ../mini_iemocap")
    for train, tested in (("emodb", 1), ("mini_iemocap", 0)):
        (row,) = re.findall(rf"^{train}  .*", said, re.MULTILINE)
        cells = re.split("  +", row)[1:3]
        # A network of one epoch may answer one class alone, which has no interval.
        assert re.fullmatch(r"\d+\.\d\d( \[.*\])?", cells[tested]), row
        assert cells[1 - tested].startswith("not made: note"), row


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
