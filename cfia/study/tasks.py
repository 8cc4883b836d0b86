"""Write the experiments of a plan, and the lists of trainings that are still to be done."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence

from cfia import experiment
from cfia.errors import UserError
from cfia.experiment import record
from cfia.study.study_plan import StudyPlan
from cfia.training.task_list import Task, write_list
from cfia.training.training import POSTERIORS, Training, has_posteriors, is_trained

log = logging.getLogger(__name__)

# Of each processor: more jobs than processors, so that none is idle for long at the end.
JOBS = 8
# Seconds that a job should take at least, since starting one takes a few.
WORTH = 120
# The files that a training begins and ends with.
FIRST, LAST = "provenance.yaml", "checkpoint.pt"


def write_experiments(plan: StudyPlan) -> None:
    """Write experiment.yaml of every experiment of a plan; the first thing that stage 5 does.

    Raises:
        UserError: one has trainings that were made differently, and the request does not force
            them; or what it reads is not there.
    """
    _refuse_impossible(plan)
    for planned in plan.experiments:
        record(planned.resolve(plan.request.recipe.name), force=plan.request.force)


def _refuse_impossible(plan: StudyPlan) -> None:
    """A study goes on without what it cannot train, and says so; a plain run does not."""
    for entry in plan.entries if not plan.study.name else ():
        if entry.reason:
            raise UserError(entry.reason)


def tasks(plan: StudyPlan) -> list[Task]:
    """List the trainings of all experiments of a plan that are written.

    Raises:
        UserError: an experiment.yaml is not there.
    """
    return [
        Task(planned.directory, fold, seed)
        for planned in plan.experiments
        for seed in planned.seeds
        for fold in range(1, experiment.read(planned.directory).folds.number + 1)
    ]


def trained(plan: StudyPlan) -> list[Training]:
    """List the trainings that are finished, and tested, whatever the options are now."""
    written = [p for p in plan.experiments if (p.directory / experiment.NAME).exists()]
    trainings = [
        Training(read, fold, seed)
        for planned in written
        for read in [experiment.read(planned.directory)]
        for seed, fold in read.trainings()
        if seed in planned.seeds
    ]
    return [t for t in trainings if (t.directory / POSTERIORS).exists()]


def list_trainings(plan: StudyPlan) -> int:
    """Write the list of trainings to be done; return over how many jobs it is spread.

    A plain run has one training in each job. A study, whose trainings may be short, has as many in
    a job as make it worth its start; where none is there to tell how long they take, its first
    list has one for each processor.

    Raises:
        UserError: a training was made differently.
    """
    done, missing = _split(plan, lambda t: is_trained(t, force=plan.request.force))
    nj, seconds = plan.request.nj, usual_seconds(done)
    if not plan.study.name:
        _say_where(plan, missing, len(done))
        return _write(plan, "train", missing, len(missing))
    log.info("%s", outlook(len(missing), len(done), nj, seconds))
    if seconds is None:
        missing = missing[:nj]
    return _write(plan, "train", missing, n_jobs(len(missing), nj, seconds or WORTH))


def list_posteriors(plan: StudyPlan) -> int:
    """Write the list of trainings without posteriors; return over how many jobs it is spread.

    Raises:
        UserError: a training or its posteriors were made differently.
    """
    done, missing = _split(plan, lambda t: has_posteriors(t, force=plan.request.force))
    if not missing:
        log.info("all %d posteriors are there", len(done))
    return _write(plan, "posteriors", missing, min(len(missing), plan.request.nj))


def _split(
    plan: StudyPlan, is_done: Callable[[Training], bool]
) -> tuple[list[Training], list[Task]]:
    """What is done, and what is not."""
    done, missing = [], []
    for task in tasks(plan):
        training = task.training()
        if is_done(training):
            done.append(training)
        else:
            missing.append(task)
    return done, missing


def _say_where(plan: StudyPlan, missing: Sequence[Task], done: int) -> None:
    """Say how many trainings each experiment lacks, and where their logs are."""
    for planned in plan.experiments:
        lacking = sum(task.experiment == planned.directory for task in missing)
        if lacking:
            log.info("%d trainings; logs are %s/fold*_seed*/train.log", lacking, planned.directory)
    if done:
        log.info("%s %d trainings are there", "other" if missing else "all", done)


def _write(plan: StudyPlan, name: str, missing: Sequence[Task], jobs: int) -> int:
    write_list(plan.directory / f"{name}.list", missing)
    return jobs


def n_jobs(n_tasks: int, nj: int, seconds: float = WORTH) -> int:
    """Over how many jobs so many tasks of about `seconds` are spread, `nj` of them at a time."""
    worth = max(nj, int(n_tasks * seconds / WORTH))
    return min(n_tasks, nj * JOBS, worth)


def usual_seconds(finished: Sequence[Training]) -> float | None:
    """How long a training takes: the median of those that are there, by their files' times."""
    directories = [training.directory for training in finished]
    times = [(d / LAST).stat().st_mtime - (d / FIRST).stat().st_mtime for d in directories]
    return statistics.median(times) if times else None


def outlook(missing: int, done: int, nj: int, seconds: float | None) -> str:
    """Say in one line how many trainings are to be done, and how long they will take."""
    trainings = f"{missing} of {missing + done} trainings are to be done"
    if not missing or seconds is None:
        return f"{trainings}{'; the first will tell how long it takes' if missing else ''}"
    minutes = missing * seconds / min(nj, missing) / 60
    return f"{trainings}, in about {minutes:.0f} min: {seconds:.0f} s each, {nj} at a time"
