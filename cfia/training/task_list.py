"""Write and work off lists of trainings: a line has the arguments of one training.

A job takes many trainings, one after the other in one process, since to start a process costs as
much as a small training.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cfia import checks, experiment
from cfia.cli import explain
from cfia.errors import UserError
from cfia.files import naming, write_if_changed
from cfia.naming import EVERY_FOLD, fold_of, fold_word, training_name
from cfia.options import LARGEST_SEED
from cfia.training.training import Training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A training by the directory of its experiment, which is not read yet; see `Training`."""

    experiment: Path
    fold: int | None
    seed: int

    def words(self) -> list[str]:
        """Give the arguments of `cfia train` and `cfia posteriors`."""
        return [str(self.experiment), "--fold", fold_word(self.fold), "--seed", str(self.seed)]

    def training(self) -> Training:
        """Read experiment.yaml, and give the training."""
        return Training(experiment.read(self.experiment), self.fold, self.seed)


def write_list(path: Path, tasks: Sequence[Task]) -> None:
    """Write a list of tasks, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_if_changed(path, "".join(f"{shlex.join(task.words())}\n" for task in tasks))


def read_list(path: Path, job: int, jobs: int) -> list[Task]:
    """Read the tasks of one of several jobs: every `jobs`-th line, from the `job`-th (from 1) on.

    Raises:
        UserError: there is no such list.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; run the stage again")
    lines = path.read_text(encoding="utf-8").splitlines()[job - 1 :: jobs]
    rows = [shlex.split(line) for line in lines]
    return [Task(Path(directory), fold_of(fold), int(seed)) for directory, _, fold, _, seed in rows]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which training, or which list of them, a program works on."""
    parser.add_argument("experiment", type=Path, nargs="?", help="exp/<system>/<scheme>")
    parser.add_argument(
        "--fold", type=_fold, help=f"the fold, from 1; {EVERY_FOLD}: the final network (stage 9)"
    )
    parser.add_argument("--seed", type=seed, help="the seed")
    parser.add_argument("--list", type=Path, help="instead: a list that `cfia plan` wrote")
    parser.add_argument("--job", type=int, default=1, help="which job of the list this is [1]")
    parser.add_argument("--jobs", type=int, default=1, help="how many jobs there are [1]")


def _fold(text: str) -> str:
    """Read a fold, as a type of argparse, for which None is what was not given."""
    wrong = checks.number(1, 9999)(text)
    if wrong and text != EVERY_FOLD:
        raise argparse.ArgumentTypeError(f"{wrong}, or {EVERY_FOLD}, not {text!r}")
    return text


def seed(text: str) -> int:
    """Read a seed, as a type of argparse."""
    wrong = checks.number(0, LARGEST_SEED)(text)
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong}, not {text!r}")
    return int(text)


def run(
    parser: argparse.ArgumentParser, args: argparse.Namespace, work: Callable[[Training], None]
) -> None:
    """Do the work of one training, or of a job's share of a list.

    Of a list, a training that fails does not keep the others from running; the program exits with
    1 after the last.

    Raises:
        UserError: as `work`, for a training that is named alone.
    """
    if args.list is not None:
        if args.force:
            parser.error("--force goes with one training; of a list, run.sh removes what it forces")
        name = parser.prog.removeprefix("cfia ")
        if _work_off(read_list(args.list, args.job, args.jobs), name, work):
            sys.exit(1)
    elif None in (args.experiment, args.fold, args.seed):
        parser.error("give an experiment, --fold and --seed, or --list")
    else:
        work(Task(args.experiment, fold_of(args.fold), args.seed).training())


def _work_off(tasks: Sequence[Task], name: str, work: Callable[[Training], None]) -> int:
    """Run tasks one after the other, each with a log of its own; return how many failed."""
    failed = 0
    for number, task in enumerate(tasks, start=1):
        started, directory = time.monotonic(), task.experiment / training_name(task.fold, task.seed)
        command = shlex.join(["python", "-m", f"cfia.bin.{name}", *task.words()])
        with _logged(directory / f"{name}.log", command):
            try:
                work(task.training())
            except Exception as error:
                sentence = explain(error)
                if sentence is None:
                    raise
                failed += 1
                log.error("error: %s", sentence)
        seconds = time.monotonic() - started
        log.info("%d of %d: %s took %.1f s", number, len(tasks), directory, seconds)
    return failed


class _TaskLog(logging.FileHandler):
    """A log that cannot be written, as on a full disk, ends the task, whose files could not."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging has it
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename)
        super().handleError(record)


@contextmanager
def _logged(path: Path, command: str) -> Iterator[None]:
    """Append all that is logged in the block to a file, under the command for this task alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "a", encoding="utf-8") as handle:
        handle.write(f"# {command}\n")
    handler = _TaskLog(path, encoding="utf-8")
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with naming(path):
            handler.close()
