"""Forced runs that are killed before each of their changes to files: no number under a lie.

`--force true` removes what was made with other options. Wherever that or what follows is cut off,
the same command without force, or the earlier command, ends with the bytes of an undisturbed run
or with one sentence; and a sentence is no dead end, since a forced run ends well.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from cfia.bin import train
from tests.support.changes import write_another_corpus
from tests.support.iemocap_tree import edit
from tests.support.killed_stages import KILLED, Work, killed_at
from tests.support.outputs import differences, keep, outputs, restore
from tests.support.stages import FAULT, NETWORK, Outcome, Toy

pytestmark = [pytest.mark.slow, pytest.mark.driver]

# Not numbers: a marker lists all files that were there when it was written.
MARKERS = (".done.json", ".posteriors.json")
WEIGHTS = ("best.pt", "checkpoint.pt", "history.csv")
EXPERIMENT = Path("exp", "cfia_net_fbank_bert", "session")
OTHER = {"train_args": f"{NETWORK} batch_size=4 lr=1e-1 epochs=1"}


def run_forced(first: int, last: int, options: Mapping[str, str], toy: Toy) -> Outcome:
    return toy.run(first, last, force="true", **options)


def train_alone(toy: Toy, *, force: bool) -> Outcome:
    """One training, of the experiment as it is."""
    words = ["--fold", "1", "--seed", "1", "--force", str(force).lower()]
    return toy.call(train.main, str(EXPERIMENT), *words)


def lose_history(toy: Toy) -> None:
    """A training that is not whole, so that force has something to make again."""
    (toy.directory / EXPERIMENT / "fold1_seed1" / "history.csv").unlink()


def edit_experiment(toy: Toy) -> None:
    """Another learning rate, by hand."""
    edit(toy.directory / EXPERIMENT / "experiment.yaml", "lr: 0.05", "lr: 0.1")


def nothing(toy: Toy) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """A forced run, and the plain one after it.

    Attributes:
        under: the directory whose changes are counted.
        forced: what is killed.
        first: the first of the stages, to 7, of the plain run.
        options: of the plain run, where they differ from those of the run before.
        before: a change to the finished recipe.
        alone: options that a training makes `experiment.yaml` of when it is trained alone, without
            force, after the kill; None: it is not.
        idle: the forced run may find nothing to make again, or refuse.
    """

    under: str
    forced: Work
    first: int
    options: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Toy], None] = nothing
    alone: Mapping[str, str] | None = None
    idle: bool = False


ANOTHER = {"corpus_dir": "../../another corpus"}
COMPRESSED = {"compression_method": "2"}
EDITED = {"train_args": f"{NETWORK} batch_size=4 lr=1e-1 epochs=2"}  # as `edit_experiment`
FORCED_ALONE = partial(train_alone, force=True)
CASES = {
    "other options of training": Case("exp", partial(run_forced, 5, 7, OTHER), 5, OTHER),
    "the same options": Case("exp", partial(run_forced, 5, 7, {}), 5, idle=True),
    "a training that lacks a file": Case(
        "exp", partial(run_forced, 5, 7, {}), 5, before=lose_history
    ),
    "one training alone": Case("exp", FORCED_ALONE, 5, before=lose_history, alone={}),
    "one of an edited experiment": Case(
        "exp", FORCED_ALONE, 5, before=edit_experiment, alone=EDITED, idle=True
    ),
    "other archives": Case("dump", partial(run_forced, 3, 4, COMPRESSED), 3, COMPRESSED),
    "the same archives": Case("dump", partial(run_forced, 3, 4, {}), 3, idle=True),
    "another corpus": Case("data", partial(run_forced, 1, 2, ANOTHER), 1, ANOTHER),
}


class Runs:
    """A recipe, and what undisturbed runs of stages 1 to 7 make of it, by their options."""

    def __init__(self, root: Path):
        self.root, self.toy = root, Toy(root)
        write_another_corpus(root / "another corpus")
        self._made: dict[str, Path] = {}

    def undisturbed(self, options: Mapping[str, str]) -> Path:
        """A copy of what an undisturbed run with these options has made."""
        name = str(sorted(options.items()))
        if name not in self._made:
            restore(self.toy.directory, self.root / "nothing")
            assert self.toy.run(1, 7, **options) == Outcome(0)
            self._made[name] = keep(self.toy.directory, self.root / f"run {len(self._made)}")
        return self._made[name]


def weights(recipe: Path) -> dict[str, bytes]:
    """What the first training is; a file that is not there is missing."""
    paths = (recipe / EXPERIMENT / "fold1_seed1" / name for name in WEIGHTS)
    return {path.name: path.read_bytes() for path in paths if path.exists()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("forced"))


def test_two_undisturbed_runs_have_the_same_bytes(runs: Runs) -> None:
    first = outputs(runs.undisturbed({}))
    restore(runs.toy.directory, runs.root / "nothing")
    assert runs.toy.run(1, 7) == Outcome(0)
    assert differences(outputs(runs.toy.directory), first) == []
    other = outputs(runs.undisturbed(OTHER))
    assert {Path(name).name for name in differences(first, other)} >= {"best.pt", "scores.json"}


@pytest.mark.parametrize("name", CASES)
def test_a_kill_before_any_change_leaves_no_lie(runs: Runs, name: str) -> None:
    trial = Trial(runs, CASES[name])
    faults: list[str] = []
    for number in count(1):
        if trial.kill(number) != KILLED:
            break
        faults += [f"killed before change {number}: {fault}" for fault in trial.faults()]
    assert faults == []
    assert number > 1 or CASES[name].idle


class Trial:
    """A killed run, and all that may follow it."""

    def __init__(self, runs: Runs, case: Case):
        self.runs, self.case, self.toy = runs, case, runs.toy
        self.old = runs.undisturbed({})
        runs_made = {"old": self.old, "new": runs.undisturbed(case.options)}
        self.expected = {name: numbers(made) for name, made in runs_made.items()}
        self.alone = None if case.alone is None else weights(runs.undisturbed(case.alone))
        self.killed = runs.root / "killed"

    def kill(self, number: int) -> int:
        """Start from the finished run before; kill; return the exit code."""
        restore(self.toy.directory, self.old)
        self.case.before(self.toy)
        under = self.toy.directory / self.case.under
        code = killed_at(number, self.runs.root, under, self.case.forced)
        keep(self.toy.directory, self.killed)
        return code

    def faults(self) -> list[str]:
        """What is wrong after the kill, with each of the commands that a user may give."""
        return [
            *self.scores_alone(),
            *self.train_alone(),
            *self.plain("old", {}),
            *(self.plain("new", self.case.options) if self.case.options else []),
        ]

    def scores_alone(self) -> list[str]:
        """Stage 7 on what the kill has left: scores go with their experiment.yaml."""
        ended = self.toy.run(7, 7)
        if ended.code:
            return sentence("stage 7 alone", ended)
        names = ("experiment.yaml", "scores.json")
        made = [read(self.toy.directory / EXPERIMENT / name) for name in names]
        known = [[run.get(str(EXPERIMENT / n)) for n in names] for run in self.expected.values()]
        if made[1] is None or made in known:
            return []
        return ["stage 7 alone: scores.json is of another run than experiment.yaml"]

    def train_alone(self) -> list[str]:
        """The same training without force: what its experiment.yaml makes, or a refusal."""
        if self.alone is None:
            return []
        restore(self.toy.directory, self.killed)
        ended = train_alone(self.toy, force=False)
        if ended.code:
            return sentence("cfia train without force", ended)
        different = differences(weights(self.toy.directory), self.alone)
        return [f"cfia train without force: not its experiment's: {different}"] if different else []

    def plain(self, which: str, options: Mapping[str, str]) -> list[str]:
        """The stages without force: a refusal, or the bytes of an undisturbed run."""
        restore(self.toy.directory, self.killed)
        ended = self.toy.run(self.case.first, 7, **options)
        if ended.code == 0:
            return self._compare(f"plain, {which} options", which)
        refusal = sentence(f"plain, {which} options", ended)
        if refusal:
            return refusal
        # A user follows the sentence.
        while match := re.search(r"(\S+) holds .* move it away or delete it", ended.said):
            shutil.rmtree(self.toy.directory / match[1])
            ended = self.toy.run(self.case.first, 7, force="true", **options)
        ended = self.toy.run(self.case.first, 7, force="true", **options)
        if ended.code:
            return [f"forced after the refusal, {which} options: {ended}"]
        return self._compare(f"forced after the refusal, {which} options", which)

    def _compare(self, what: str, which: str) -> list[str]:
        different = differences(numbers(self.toy.directory), self.expected[which])
        return [f"{what}: not the bytes of an undisturbed run: {different}"] if different else []


def numbers(recipe: Path) -> dict[str, bytes]:
    return outputs(recipe, without=MARKERS)


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def sentence(what: str, ended: Outcome) -> list[str]:
    """A fault where a refusal is none of cfia's own, or is not one sentence."""
    if ended.code == FAULT or not ended.said:
        return [f"{what}: no sentence but {ended.said!r}"]
    return []


@pytest.mark.parametrize("marker", [".done.json", ".posteriors.json", "experiment.yaml"])
@pytest.mark.parametrize("options", [{}, OTHER], ids=["the same options", "other options"])
def test_markers_removed_by_hand_leave_no_lie(
    runs: Runs, marker: str, options: dict[str, str]
) -> None:
    trial = Trial(runs, Case("exp", partial(run_forced, 5, 7, options), 5, options))
    restore(runs.toy.directory, trial.old)
    for path in (runs.toy.directory / EXPERIMENT).rglob(marker):
        path.unlink()
    keep(runs.toy.directory, trial.killed)
    assert trial.faults() == []
