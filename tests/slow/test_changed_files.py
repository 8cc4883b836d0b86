"""Every file of a finished recipe, changed: it is noticed by name, or made again as it was.

Of each file that stages have made: it is cut, emptied, changed by a byte, lost, replaced with the
one of another fold or of another run, or with an earlier version of itself. The stages that follow
must stop with a sentence that names it, or end with the bytes of before. What a sentence advises
is done, and must end with the bytes of before, too.

All changes take a quarter of an hour (marked driver); the slow tests make every third one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from tests.support.advice import Command, follow, kind
from tests.support.changes import Finished
from tests.support.outputs import NOT_PROMISED, differences, matches, outputs
from tests.support.stages import FAULT, Outcome

pytestmark = pytest.mark.slow

# What may be changed without a word, and why.
ALLOWED = {**NOT_PROMISED}
OWNERS = (".done.json", "experiment.yaml")  # what makes a directory one that a sentence names
COMMON_WORDS = ("train", "valid", "test", "text")  # names of files that prove nothing

# What cfia calls its inputs, where that is not the name of a file.
INPUTS = {
    "data/folds": "fold lists", "data/all/wav.scp": "audio",
    "dump/fbank": "audio features", "dump/bert": "text features",
}  # fmt: skip

OFTEN = 2  # a message of one kind is followed, in each group

NUMBERS = ("best.pt", "posteriors.tsv", "scores.json")


@dataclass(frozen=True)
class Group:
    """Some of the files, and the stages that run after a change.

    Attributes:
        files: a regular expression of paths in the recipe.
        first, last: the stages. Pictures, of stage 8, take longer to draw than networks to train.
        whole: whether these stages look after the files themselves too. Otherwise they only read
            them, and what counts are the bytes of the files that they make.
        before: takes a finished recipe back to where a stage was cut off, or had not begun.
    """

    files: str
    first: int
    whole: bool = True
    before: Callable[[Finished], None] = Finished.restore
    last: int = 8


TRAININGS = r"exp/[^/]*/session/fold\d_seed1"
FIRST = r"exp/[^/]*/session/fold1_seed1"
EXPERIMENTS = r"exp(?!/[^/]*/session/fold)"
GROUPS = {
    "data": Group("data/all|data", 1),
    "folds": Group("data/folds", 2),
    "dumps": Group("dump", 2),
    "experiments": Group(EXPERIMENTS, 2),
    "trainings": Group(TRAININGS, 2),
    "data before stage 5": Group("data/all", 5, False, Finished.take_back_to_features, 7),
    "folds before stage 5": Group(
        "data/folds/session", 5, False, Finished.take_back_to_features, 7
    ),
    "dumps before stage 5": Group("dump", 5, False, Finished.take_back_to_features, 7),
    "experiments, read by stage 6": Group(EXPERIMENTS, 6, whole=False),
    "trainings in the middle": Group(FIRST, 5, before=Finished.take_back_to_first_epoch),
    "trainings without posteriors": Group(
        FIRST, 6, whole=False, before=Finished.take_back_to_training
    ),
    "trainings, read by stage 6": Group(FIRST, 6, whole=False),
    "data, read by stage 7": Group("data/all", 7, whole=False),
    "trainings, read by stage 7": Group(FIRST, 7, whole=False),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("changed"))


def test_nothing_changed_changes_nothing(finished: Finished) -> None:
    assert finished.toy.run(1, 8) == Outcome(0)
    assert differences(outputs(finished.toy.directory), finished.outputs) == []


@pytest.mark.parametrize(
    ("back", "first"),
    [
        (Finished.take_back_to_features, 5),
        (Finished.take_back_to_first_epoch, 5),
        (Finished.take_back_to_training, 6),
    ],
)
def test_a_stage_that_was_cut_off_ends_with_the_same_bytes(
    finished: Finished, back: Callable[[Finished], None], first: int
) -> None:
    back(finished)
    assert differences(outputs(finished.toy.directory), finished.outputs)
    assert finished.toy.run(first, 8) == Outcome(0)
    assert differences(outputs(finished.toy.directory), finished.outputs) == []


def test_versions_of_files_are_known(finished: Finished) -> None:
    """The driver has something to put in the place of what matters most."""
    training = "exp/cfia_net_fbank_bert/session/fold1_seed1"
    for name in ("checkpoint.pt", ".done.json", "history.csv"):
        assert finished.earlier[f"{training}/{name}"]
    for name in ("best.pt", "posteriors.tsv"):
        assert "of another fold" in dict(finished.changes(Path(training, name)))


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.driver)])
@pytest.mark.parametrize("name", GROUPS)
def test_a_change_is_noticed_or_undone(finished: Finished, name: str, every: int) -> None:
    group, followed = GROUPS[name], Counter[str]()
    faults = [
        f"({path}, {way}): {fault}"
        for path, way, ended in trials(finished, group, every)
        for fault in judge(finished, group, path, ended)
        + heed(finished, group, way, ended, followed)
    ]
    assert not faults, "\n" + "\n".join([f"{len(faults)} changes are not noticed:", *faults])


def trials(finished: Finished, group: Group, every: int) -> Iterator[tuple[Path, str, Outcome]]:
    """Make the changes to a group's files and directories, one in so many, and run the stages."""
    for turn, path in enumerate(finished.paths()):
        if re.match(rf"({group.files})(/|$)", str(path)) is None or matches(path, ALLOWED):
            continue
        for way, change in islice(finished.changes(path), turn % every, None, every):
            # A whole experiment with other options is one that may be scored.
            if not group.whole and way == "of another run" and holds_experiment(finished, path):
                continue
            group.before(finished)
            if not (finished.toy.directory / path).exists():
                break
            change()
            yield path, way, finished.toy.run(group.first, group.last)
    finished.restore()


def holds_experiment(finished: Finished, path: Path) -> bool:
    """Whether a path is the directory of an experiment, or above one."""
    return any((finished.copy / path).rglob("experiment.yaml"))


def judge(finished: Finished, group: Group, path: Path, ended: Outcome) -> list[str]:
    """What is wrong with how the stages ended after a change to a path, if anything is."""
    if ended.code == FAULT:
        return [f"no sentence, but {ended.said.splitlines()[-1]}"]
    if ended.code:
        return [] if is_named(finished, path, ended.said) else [f"not named: {ended.said!r}"]
    different = differing(finished, group)
    if not group.whole:
        different = [name for name in different if not Path(name).is_relative_to(path)]
    return [f"used; {len(different)} files differ: {', '.join(different[:4])}"] if different else []


def differing(finished: Finished, group: Group) -> list[str]:
    """The files that are not as they were, of those that the group's stages make."""
    different = differences(outputs(finished.toy.directory), finished.outputs)
    if group.last < 8:
        return [name for name in different if Path(name).name in NUMBERS]
    return different


def heed(
    finished: Finished, group: Group, way: str, ended: Outcome, followed: Counter[str]
) -> list[str]:
    """What is wrong with advice, if anything is, when it is followed."""
    if ended.code != 1:
        return []
    sort = kind(ended.said.splitlines()[0])
    followed[sort] += 1
    if followed[sort] > OFTEN:
        return []
    last, said = follow(Command(finished.toy, group.first, group.last), ended)
    if last.code:
        return [f"advice that does not help: {' -> '.join(said)} -> {last.said!r}"]
    # Data of another run, with its marker, is data to go on with.
    different = [] if way == "of another run" else differing(finished, group)
    return [f"after {' -> '.join(said)}: {', '.join(different[:4])}"] if different else []


def is_named(finished: Finished, path: Path, said: str) -> bool:
    """Whether a sentence names a file, or the directory that it was made in."""
    called = next((name for where, name in INPUTS.items() if path.is_relative_to(where)), "")
    if called and f"its input {called} has changed" in said:
        return True
    before = "its input " if path.name in COMMON_WORDS else r"(?<![\w.])"
    if re.search(rf"{before}{re.escape(path.name)}\b", said):
        return True
    for directory in (path, *path.parents):
        if re.search(rf"{re.escape(str(directory))}(?![\w.]*\w)", said):
            return True
        if directory != path and any(f"{directory}/{o}" in finished.outputs for o in OWNERS):
            break
    return False
