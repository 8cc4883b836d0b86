"""A disk that is full or read-only, in every stage: a sentence, and the same bytes after it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cfia.training.board import Board
from tests.shell.recipes import Recipe as ShellRecipe
from tests.shell.test_recipe import make_corpus
from tests.support.advice import Command, follow
from tests.support.disks import Disk, mounted_disk
from tests.support.outputs import differences, keep, outputs, restore
from tests.support.stages import Outcome, Toy

pytestmark = pytest.mark.slow

STAGES = range(1, 10)
SLOW = 8  # the stage that draws pictures, each of which takes longer than any other stage
# Pages that are left; a stage that needs no more ends well.
LEFT = dict.fromkeys(STAGES, (0, 1, 4, 16, 64)) | {SLOW: (0, 32)}
AUDIO = ["--systems", "audio", "--train_args", "epochs=1 hidden=4 channels=2 features=2"]
SPACE = r"No space left on device\)?; free some space.*, and run .*"


class Recipe:
    """A toy recipe whose egs/ is a disk of its own, and what it is before and after each stage."""

    def __init__(self, root: Path, disk: Disk):
        self.disk, self.toy = disk, Toy(root)
        self.before: dict[int, Path] = {}
        self.made: dict[int, dict[str, bytes]] = {}
        for stage in STAGES:
            self.before[stage] = keep(self.toy.directory, root / f"before {stage}")
            assert self.toy.run(stage, stage) == Outcome(0)
            self.made[stage] = outputs(self.toy.directory)
        self.finished = keep(self.toy.directory, root / "finished")

    def faults(self, stage: int, fault: AbstractContextManager[None], said: str) -> list[str]:
        """What is wrong with a stage on such a disk, and with the same stage after it.

        A stage that ends well although there is a fault has nothing wrong.
        """
        restore(self.toy.directory, self.before[stage])
        with fault:
            ended = self.toy.run(stage, stage)
        lines = ended.said.splitlines()
        wrong = [line for line in lines if not re.fullmatch(rf"(error: )?(\S+)\b.*{said}", line)]
        if ended.code not in (0, 1) or bool(lines) != bool(ended.code):
            wrong = [f"{ended}"]
        again = self.toy.run(stage, stage)
        if again.code:
            return [*wrong, f"afterwards: {again.said}"]
        different = differences(outputs(self.toy.directory), self.made[stage])
        return [*wrong, f"afterwards: {different}"] if different else wrong


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recipe]:
    root = tmp_path_factory.mktemp("faults")
    for disk in mounted_disk(root / "egs", "32m"):
        yield Recipe(root, disk)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(recipe: Recipe, stage: int) -> None:
    faults = {
        pages: found
        for pages in LEFT[stage]
        if (found := recipe.faults(stage, recipe.disk.full(pages), SPACE))
    }
    assert faults == {}
    restore(recipe.toy.directory, recipe.before[stage])
    with recipe.disk.full(0):
        assert recipe.toy.run(stage, stage).code == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_read_only_disk(recipe: Recipe, stage: int) -> None:
    said = "Read-only file system; correct the permissions, and run it again"
    assert recipe.faults(stage, recipe.disk.read_only(), said) == []
    restore(recipe.toy.directory, recipe.before[stage])
    with recipe.disk.read_only():
        assert recipe.toy.run(stage, stage).code == 1


def test_the_thread_of_tensorboard_says_nothing_of_its_own(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = recipe.disk.path / "tensorboard"
    with recipe.disk.full(0), pytest.raises(OSError, match=r"No space left .*/egs/tensorboard'"):
        Board(directory, 1).add({"lr": 0.1}, 1)
    shutil.rmtree(directory)
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def large_disk(tmp_path: Path) -> Iterator[Disk]:
    yield from mounted_disk(tmp_path / "disk", "200m")


def test_run_sh_on_a_full_and_on_a_read_only_disk(large_disk: Disk) -> None:
    """Stages that run jobs, each with a log."""
    recipe = ShellRecipe(large_disk.path / "project", "mini_iemocap", AUDIO)
    make_corpus(recipe)
    recipe.run("--stage", "1", "--stop_stage", "2")
    for stage, pages in (("3", 8), ("5", 24)):
        only = ["--stage", stage, "--stop_stage", stage]
        with large_disk.read_only():
            said = recipe.run(*only, code=1)
        assert re.search(r"Read-only file system; correct .*, and run it again", said)
        with large_disk.full(pages):
            full = recipe.run(*only, code=1)
        assert re.search(r"No space left .*; (free|mend) .*, and run (it|the same) ", full)
        assert "Traceback" not in said + full
        recipe.run(*only)


def test_what_stage_9_has_made_is_not_used_when_it_is_damaged(recipe: Recipe) -> None:
    """The other stages' files: test_changed_files.py."""
    toy, faults = recipe.toy, []
    made = [name for name in recipe.made[9] if re.search("/(pack|all_seed1)/", name)]
    assert {Path(name).name for name in made} >= {"best.pt", "model.safetensors", "config.json"}
    for name in made:
        for way in ("lost", "cut"):
            restore(toy.directory, recipe.finished)
            path = toy.directory / name
            path.unlink() if way == "lost" else os.truncate(path, path.stat().st_size // 2)
            ended, said = toy.run(9, 9), [""]
            if ended.code == 1 and path.parent.name in ended.said:
                ended, said = follow(Command(toy, 9, 9), ended)
            if ended.code or differences(outputs(toy.directory), recipe.made[9]):
                faults.append(f"{name} {way}: {' -> '.join(said)} {ended.said or 'other bytes'}")
    assert faults == [], "\n".join(faults)
