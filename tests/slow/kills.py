"""Kills at random moments of the mini recipe, in the real shell: the end has the same bytes.

    . egs/TEMPLATE/path.sh
    python -m tests.slow.kills --kills 100 --seed 1 DIR    # some 35 minutes on two cores
    python -m tests.slow.kills --toy DIR                   # the same driver, stages 0 to 3

A plain run of stages 0 to 9, and a study, are run undisturbed, once. Then each is run again and
again: at a random moment SIGKILL ends one process of the run, whichever, or all at once, and the
same command is given again, which may be killed in its turn. What it has made in the end is
compared with what the undisturbed run has made. After a kill of one process the run must end, with
an error or because that process had done its work, and leave nothing behind that goes on beside
the next. DIR is new or empty; where something differs, it keeps what was made and all that was
said. The exit status is 1 then.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.shell.recipes import Recipe
from tests.slow.killed_run import Attempt, Killed, Moment
from tests.slow.timeless import made
from tests.support.outputs import MADE, differences, restore

TINY = ("--train_args", "epochs=2 hidden=8 channels=4 features=4", "--nj", "2")
# As many utterances as the classes need; of one time, for the times of audio are in the markers.
CORPUS = """\
#!/usr/bin/env bash
set -euo pipefail
local/corpus.sh --utterances_per_speaker 10 "$@"
find "${@: -1}" -exec touch -d @1767225600 {} +
"""
SHARE_OF_ALL = 0.4  # of kills that are of all processes
SHARE_OF_COPIES = 0.1  # of the others; without these, which keep watch, a run goes on to its end
MOST = 6  # kills of one comparison


@dataclass
class Kind:
    """A command that is killed.

    Attributes:
        after: the kind whose data and features it begins with; "" if it begins with nothing.
        moments: when each stage began in the undisturbed run, in seconds; and -1, its end.
        made: what the undisturbed run has made.
    """

    name: str
    arguments: tuple[str, ...]
    after: str = ""
    moments: dict[int, float] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict)

    def begin(self, recipe: Recipe, undisturbed: Path) -> None:
        """Take a recipe to where this command begins."""
        restore(recipe.directory, undisturbed / (self.after or "nothing"))
        shutil.rmtree(recipe.corpus, ignore_errors=True)
        if self.after:
            shutil.rmtree(recipe.directory / "exp")
            shutil.copytree(undisturbed / self.after / "corpus", recipe.corpus)

    def length(self, stage: int) -> float:
        """How long a stage took, in seconds."""
        return (
            min(t for t in self.moments.values() if t > self.moments[stage]) - self.moments[stage]
        )

    def stages(self) -> list[int]:
        """Those that the command has run."""
        return [stage for stage in self.moments if stage >= 0]


PLAIN = ("--stage", "0", "--stop_stage", "9", "--systems", "audio_text", *TINY)
STUDY = ("--stage", "1", "--stop_stage", "8", "--study", "smoke", "--nj", "2")
TOY = ("--stage", "0", "--stop_stage", "3", *TINY)


def draw(kind: Kind, rng: random.Random, turns: Iterator[int]) -> list[Moment]:
    """Draw the kills of a comparison: over its length, or in a stage whose turn it is."""
    moments = []
    for _ in range(rng.randint(2, MOST)):
        lengths = [kind.length(stage) for stage in kind.stages()]
        (by_length,) = rng.choices(kind.stages(), lengths)
        stage = rng.choice([by_length, next(turns)])
        everything = rng.random() < SHARE_OF_ALL
        copies = rng.random() < SHARE_OF_COPIES
        after, which = rng.uniform(0, kind.length(stage)), rng.random()
        moments.append(Moment(stage, after, everything, copies, which))
    # Forward, each is in what is left to do; as drawn, many are in what is done already.
    return sorted(moments, key=lambda moment: moment.stage) if rng.random() < 0.5 else moments


class Driver:
    """All comparisons, and what was found."""

    def __init__(self, work: Path, kills: int, seed: int, kinds: list[Kind]):
        self.work, self.kills, self.kinds = work, kills, kinds
        self.rng = random.Random(seed)
        self.recipe = Recipe(work / "project", "mini_iemocap", ())
        self.recipe.corpus = work / "corpus"
        script = self.recipe.directory / "local" / "small.sh"
        script.write_text(CORPUS)
        script.chmod(0o755)
        self.killed: list[Killed] = []
        self.compared: Counter[str] = Counter()
        self.faults: list[str] = []

    def attempt(self, kind: Kind) -> Attempt:
        """Start a run."""
        log = self.work / "said" / f"{sum(self.compared.values()):03}.{len(self.killed):03}.log"
        log.parent.mkdir(exist_ok=True)
        return Attempt(self.recipe.command(*kind.arguments), log, corpus_script="local/small.sh")

    def undisturbed(self) -> None:
        """Run each kind to its end."""
        for kind in self.kinds:
            kind.begin(self.recipe, self.work / "undisturbed")
            run = self.attempt(kind)
            kind.moments = run.moments()
            if run.process.wait() != 0:
                sys.exit(f"the undisturbed run has failed: {run.last_line()}; see {run.log}")
            kind.made = made(self.recipe)
            kept = self.work / "undisturbed" / kind.name
            self.keep(kept)
            shutil.copytree(self.recipe.corpus, kept / "corpus")
            stages = ", ".join(f"{stage}: {kind.length(stage):.1f} s" for stage in kind.stages())
            files = f"{len(kind.made)} files"
            say(f"{kind.name}, undisturbed: {kind.moments[-1]:.0f} s, {files}; stages {stages}")

    def keep(self, directory: Path) -> None:
        """Copy what the recipe has made."""
        for name in MADE:
            if (self.recipe.directory / name).exists():
                shutil.copytree(self.recipe.directory / name, directory / name)

    def compare_all(self) -> None:
        """Kill until there are enough kills: three plain runs, then a study."""
        turns = {}
        for kind in self.kinds:
            stages = kind.stages()
            self.rng.shuffle(stages)
            turns[kind.name] = itertools.cycle(stages)
        for number in itertools.count():
            kind = self.kinds[-1] if number % 4 == 3 else self.kinds[0]
            moments = draw(kind, self.rng, turns[kind.name])
            if len(self.killed) >= self.kills:
                return
            self.compare(kind, moments[: self.kills - len(self.killed)])

    def compare(self, kind: Kind, moments: list[Moment]) -> None:
        """Run one kind with these kills, and see what it has made in the end."""
        kind.begin(self.recipe, self.work / "undisturbed")
        fault = self.run_to_the_end(kind, moments)
        self.compared[kind.name] += 1
        if not fault:
            different = differences(made(self.recipe), kind.made)
            fault = f"{len(different)} files differ: {', '.join(different)}" if different else ""
        number = sum(self.compared.values())
        if fault:
            kept = self.work / "kept" / str(number)
            self.keep(kept)
            self.faults.append(f"comparison {number} ({kind.name}): {fault}; see {kept}")
        say(f"comparison {number} ({kind.name}): {fault or 'identical'}")

    def run_to_the_end(self, kind: Kind, moments: list[Moment]) -> str:
        """Run a command, as often as it is killed and once more; returns what was wrong."""
        for moment in [*moments, None]:
            run = self.attempt(kind)
            killed = run.kill_at(moment) if moment else None
            if killed:
                self.killed.append(killed)
                say(f"kill {len(self.killed)} ({kind.name}): {killed}")
                if killed.fault:
                    return killed.fault
            elif run.process.wait() != 0:
                return f"a run that nothing has killed has failed: {run.last_line()} ({run.log})"
            if run.process.returncode == 0:
                break
        return ""

    def summary(self, seconds: float) -> str:
        """What was done, and what came of it."""
        stages = Counter(killed.stage for killed in self.killed)
        whole = sum(killed.what.startswith("all") for killed in self.killed)
        lines = [
            f"{len(self.killed)} kills, {whole} of all processes, in {seconds / 60:.1f} minutes; "
            + "by stage: " + ", ".join(f"{stage}: {stages[stage]}" for stage in sorted(stages)),
            f"the longest that anything outlived a killed run: "
            f"{max((killed.outlived for killed in self.killed), default=0):.1f} s",
            "comparisons: " + ", ".join(f"{n} of {name}" for name, n in self.compared.items()),
            *(self.faults or ["all identical"]),
        ]  # fmt: skip
        return "\n".join(lines)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> None:
    """Run undisturbed, kill, compare, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="for all that it makes")
    parser.add_argument("--kills", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and processes (1)")
    parser.add_argument("--toy", action="store_true", help="stages 0 to 3 alone, and no study")
    arguments = parser.parse_args()
    work = arguments.directory.resolve()
    if work.exists() and any(work.iterdir()):
        parser.error(f"{work} is not empty; give another directory")
    work.mkdir(parents=True, exist_ok=True)
    plain = [Kind("plain", PLAIN), Kind("study", STUDY, after="plain")]
    kinds = [Kind("toy", TOY)] if arguments.toy else plain
    began = time.monotonic()
    driver = Driver(work, arguments.kills, arguments.seed, kinds)
    driver.undisturbed()
    driver.compare_all()
    say(f"seed {arguments.seed}: {driver.summary(time.monotonic() - began)}")
    sys.exit(1 if driver.faults else 0)


if __name__ == "__main__":
    main()
