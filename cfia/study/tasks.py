"""The runs of a study that are missing, as a list of tasks for jobs to work off.

A task is one fold and seed: a line with the arguments of `cfia train`. A job takes many, one after
the other in one process, since starting a process costs as much as a small training.
"""

from __future__ import annotations

import dataclasses
import logging
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cfia import marker
from cfia.errors import UserError
from cfia.files import atomic_write
from cfia.study.study_plan import Plan
from cfia.training.training import Job

log = logging.getLogger(__name__)

# Of each processor: more jobs than processors, so that none is idle for long at the end.
JOBS = 8
# Seconds that a job should take at least, since starting one takes a few.
WORTH = 120
# The files that a training begins and ends with, and that of its test, which takes moments, but
# may have been made much later.
FIRST, TRAINED, LAST = "config.yaml", "checkpoint.pt", "posteriors.tsv"

Arguments = Sequence[str]


@dataclasses.dataclass(frozen=True)
class Task:
    """One fold and seed of one system: its directory, and the arguments of its training."""

    directory: Path
    arguments: tuple[str, ...]


def tasks(plan: Plan) -> list[Task]:
    """All fold and seed runs of a study; folds are counted, so stages 1 and 2 come first."""
    return [
        Task(training.directory / f"fold{fold}_seed{seed}",
             training.arguments(fold, seed, plan.setting))
        for training in plan.trainings
        for seed in training.seeds
        for fold in range(1, plan.n_folds(training) + 1)
    ]  # fmt: skip


def looks_done(directory: Path) -> bool:
    """Whether a run has been trained and tested, by its files alone."""
    return all((directory / name).exists() for name in (marker.NAME, LAST))


class Checker:
    """Whether runs are finished with the options and inputs that they have now.

    `job` makes the `Job` of a task's arguments. What many runs have in common is read once.
    """

    def __init__(self, job: Callable[[Arguments], Job], *, force: bool):
        self._job, self._force = job, force
        self._inputs: dict[tuple[object, ...], dict[str, str]] = {}

    def missing(self, task: Task) -> bool:
        """Whether a run is still to be made.

        Raises:
            UserError: it was made with other options or inputs, and `force` is false.
        """
        if not (task.directory / marker.NAME).exists():
            return True
        job = self._job(task.arguments)
        try:
            state = marker.check(job.directory, job.options(), self._of(job), tag=True)
        except UserError:
            if self._force:
                return True
            raise
        return state is not marker.State.DONE or not looks_done(job.directory)

    def _of(self, job: Job) -> dict[str, str]:
        key = (job.data, job.folds, job.fold, *sorted(job.dumps.items()))
        if key not in self._inputs:
            self._inputs[key] = job.inputs()
        return self._inputs[key]


def write_list(path: Path, found: Sequence[Task]) -> None:
    """Write a task list, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as handle:
        handle.writelines(f"{shlex.join(task.arguments)}\n" for task in found)


def read_list(path: Path, job: int, jobs: int) -> list[Arguments]:
    """The tasks of one of several jobs: every `jobs`-th, from the `job`-th (from 1) on.

    Raises:
        UserError: there is no such list.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; run stage 5 of the study again")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [shlex.split(line) for line in lines[job - 1 :: jobs]]


def n_jobs(n_tasks: int, nj: int, seconds: float = WORTH) -> int:
    """Over how many jobs so many tasks of about `seconds` are spread, `nj` of them at a time."""
    worth = max(nj, int(n_tasks * seconds / WORTH))
    return min(n_tasks, nj * JOBS, worth)


def usual_seconds(finished: Sequence[Task]) -> float | None:
    """How long a run takes: the median of those that are there, by the times of their files."""
    found = [
        (task.directory / TRAINED).stat().st_mtime - (task.directory / FIRST).stat().st_mtime
        for task in finished
    ]
    return statistics.median(found) if found else None


def outlook(missing: int, done: int, nj: int, seconds: float | None) -> str:
    """What is said of the runs before they are made, in one line."""
    runs = f"{missing} of {missing + done} runs are to be made"
    if not missing or seconds is None:
        return f"{runs}{'; the first will tell how long it takes' if missing else ''}"
    minutes = missing * seconds / min(nj, missing) / 60
    return f"{runs}, in about {minutes:.0f} min: {seconds:.0f} s a run, {nj} at a time"


def work(found: Sequence[Arguments], run: Callable[[Arguments], None]) -> int:
    """Run tasks one after the other, each with its own train.log; returns how many failed.

    A task that fails is logged and does not keep the others from running.
    """
    failed = 0
    for number, arguments in enumerate(found, start=1):
        directory = Path(arguments[-1])
        started = time.monotonic()
        with _logged(directory / "train.log"):
            try:
                run(arguments)
            except UserError as error:
                failed += 1
                log.error("error: %s", error)
        log.info("%d of %d: %s took %.1f s", number, len(found), directory,
                 time.monotonic() - started)  # fmt: skip
    return failed


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """All that is logged meanwhile goes to `path` too, after what it has from an earlier try."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened with the first line: a training that is forced begins by removing the directory.
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
