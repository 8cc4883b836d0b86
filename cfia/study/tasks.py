"""The steps of `cfia plan`: variables of ser.sh, a description, experiments, task lists."""

from __future__ import annotations

import dataclasses
import logging
import math
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence

from cfia import experiment, lock, marker
from cfia.directories import obstacle
from cfia.errors import UserError
from cfia.experiment import Experiment, results_held
from cfia.naming import JOB
from cfia.options import NEUTRAL
from cfia.report.studies import write_list as write_experiment_list
from cfia.study.costs import Finished, reckoned
from cfia.study.cross import check_sources
from cfia.study.plan_lines import describe_plan
from cfia.study.planned import PlannedExperiment
from cfia.study.request import numbers
from cfia.study.study_plan import StudyPlan
from cfia.study.times import duration
from cfia.training.inputs import check_lists, check_unchanged
from cfia.training.record import record
from cfia.training.task_list import Task, write_list
from cfia.training.tested import POSTERIORS_MARKER, has_posteriors, remove_posteriors
from cfia.training.training import Training, is_trained

log = logging.getLogger(__name__)

JOBS = 16  # at most for each one at a time: with many, none is idle for long at the end
WORTH = 120  # seconds that a job should take at least, since starting one takes a few
NAMED = 3  # systems, at most, whose trainings' time is not known


def variables(plan: StudyPlan) -> dict[str, str | list[str]]:
    """List the variables of ser.sh that a plan decides: words of the shell, or lists of words.

    Raises:
        UserError: what stages would write to cannot be a directory.
    """
    request, names, dumps = plan.request, plan.request.names(), plan.dumps
    written = [request.datadir / names.data, plan.directory]
    written += [dump.directory for dump in dumps]
    written += [dump.text.parent for dump in dumps if dump.text]
    written += [planned.directory for planned in plan.experiments]
    for wrong in filter(None, map(obstacle, written)):
        raise UserError(wrong)
    words = {
        "nj": request.nj,
        "corpus_dir": request.options["corpus_dir"],
        "audio_dir": request.options["audio_dir"],
        "corpus_name": request.corpus,
        "text_file": request.options["text_file"],
        "asr_model": request.options["asr_model"],
        "recognised": plan.recognised or "",
        "data": request.datadir / names.data,
        "folds_dir": request.datadir / "folds",
        "dumps": request.dumpdir,
        "exp": request.expdir,
        "label_suffix": names.label_suffix,
        "needed_scheme": "" if plan.study.name else plan.schemes[0],
        "work": plan.directory,
        "pack_dir": request.options["pack_dir"],
        "job": JOB,
        "first_seed": request.first_seed,
        "skip_stages": " ".join(map(str, numbers(request.options["skip_stages"]))),
    }
    return {
        **{name: shlex.quote(str(value)) for name, value in words.items()},
        "schemes": plan.schemes,
        "experiments": [str(planned.directory) for planned in plan.experiments],
        "dump_modalities": [dump.modality for dump in dumps],
        "dump_upstreams": [dump.upstream for dump in dumps],
        "dump_models": [dump.model for dump in dumps],
        "dump_layers": [dump.layer for dump in dumps],
        "dump_dirs": [str(dump.directory) for dump in dumps],
        "dump_texts": [str(dump.text or "") for dump in dumps],
        "error_dirs": [str(directory) for directory in plan.corrupted],
        "error_percents": [str(percent) for percent in plan.corrupted.values()],
    }


def describe(plan: StudyPlan) -> None:
    """Log what a plan trains, what of it is finished, and what is not trained and why.

    Of a study also what the rest costs, reckoned.
    """
    done = trained(plan)
    directories = [training.directory for training in done]
    lines = describe_plan(plan, directories)
    if plan.study.name:
        lines += reckoned(plan, Finished(directories, usual_seconds(done)))
    for line in lines:
        log.info("%s", line)


def write_experiments(plan: StudyPlan) -> None:
    """Write experiment.yaml of every experiment of a plan; the first step of stage 5.

    Where the request forces them, the trainings that are there are removed, once all that can be
    checked has been checked.

    Raises:
        UserError: an experiment of a plain run cannot be trained (a study goes on without it);
            one has trainings that were made differently, and the request does not force them; or
            its inputs are missing, or not as they were made.
    """
    for entry in plan.entries:
        if entry.reason and not plan.study.name:
            raise UserError(entry.reason)
    if plan.request.corpora:
        check_sources(plan)
    resolved = [planned.resolve(plan.request.corpus) for planned in plan.experiments]
    for planned, new in zip(plan.experiments, resolved, strict=True):
        check_lists(new)
        for fold, seed in _chosen(plan, planned, new):
            marker.refuse_unknown(new.training(fold, seed))
    for planned, new in zip(plan.experiments, resolved, strict=True):
        record(new, force=plan.request.force, again=_chosen(plan, planned, new))
        if planned.options["tune"] != "0":
            log.info("%s: %s", new.directory, _tried(new))
    write_experiment_list(plan.directory, [planned.directory for planned in plan.experiments])


def _tried(new: Experiment) -> str:
    """Say how many settings --tune tries: of those that are asked for, which are different."""
    asked, differ = new.protocol["tune"], len(new.trials)
    if not new.seeded:
        return f"--tune {asked} does not change the probe, whose C is chosen on validation anyway"
    same = "" if differ == int(asked) else f", of {asked} that are asked for, for others are equal"
    return f"each fold takes the best of {differ} settings on validation (--tune){same}"


def trainings(plan: StudyPlan) -> list[Training]:
    """List the trainings of all experiments of a plan, by their experiment.yaml.

    Raises:
        UserError: an experiment.yaml is missing.
    """
    return [
        Training(recorded, fold, seed)
        for planned in plan.experiments
        for recorded in [experiment.read(planned.directory)]
        for fold, seed in _chosen(plan, planned, recorded)
    ]


def _chosen(
    plan: StudyPlan, planned: PlannedExperiment, recorded: Experiment
) -> list[tuple[int, int]]:
    """List the trainings of an experiment that are asked for, as fold and seed."""
    folds = plan.request.folds(recorded.folds.directory, recorded.folds.number)
    own = set(recorded.fold_numbers)
    return [(fold, seed) for seed in planned.seeds for fold in folds if fold in own]


def trained(plan: StudyPlan) -> list[Training]:
    """List the trainings that are finished and tested, whatever the options are now."""
    begun = []
    for planned in plan.experiments:
        if planned.trained_in is None and (planned.directory / experiment.NAME).exists():
            recorded = experiment.read(planned.directory)
            begun += [Training(recorded, fold, seed) for seed, fold in recorded.trainings()
                          if seed in planned.seeds]  # fmt: skip
    return [t for t in begun if (t.directory / POSTERIORS_MARKER).exists()]


def list_trainings(plan: StudyPlan) -> int:
    """Write the list of trainings to be done; return the number of jobs for it.

    A plain run has one training in each job. A study, whose trainings may be short, has as many in
    a job as make it worth its start; before any has finished, from which the time could be
    estimated, its list has one for each processor. Those of --refit and --tune come after the
    others (cfia/training/same_training.py).

    Raises:
        UserError: a training was made differently.
    """
    done, missing = _split(plan, is_trained)
    nj, usual = plan.request.nj, usual_seconds(done)
    own = [training for training in missing if training.experiment.trained_in is None]
    if missing and not own:  # once all are trained whose networks they are
        log.info("%d networks are taken, to be tested with other text", len(missing))
        return _write(plan, "train", missing, min(len(missing), nj))
    missing = own
    if not plan.study.name:
        _say_where(plan, missing, len(done))
        return _write(plan, "train", missing, len(missing))
    times = [_seconds(training, usual) for training in missing]
    others = {_system(t): 0 for t, taken in zip(missing, times, strict=True) if math.isnan(taken)}
    log.info("%s", outlook(times, list(others), len(done), nj))
    # What those of --refit and --tune have in common with others they take from them.
    now = [t for t in missing if not (t.refitted or t.tuned)] or missing
    if not usual:
        now = now[:nj]
    times = [_seconds(training, usual) for training in now]
    seconds = sum(WORTH if math.isnan(taken) else taken for taken in times)
    return _write(plan, "train", now, n_jobs(len(now), nj, seconds))


def list_posteriors(plan: StudyPlan) -> int:
    """Write the list of trainings without posteriors; return the number of jobs for it.

    Raises:
        UserError: a training or its posteriors were made differently, or are not as they were
            made; or what they were made from has changed.
    """
    for planned in plan.experiments:
        take_run_options(planned)
    if plan.request.force:
        for planned in plan.experiments:
            check_unchanged(experiment.read(planned.directory), archives=True)
        with results_held(plan.request.expdir):
            for training in filter(is_trained, trainings(plan)):
                with lock.alone(training.directory, wait=False):
                    remove_posteriors(training)
    done, missing = _split(plan, has_posteriors)
    if not missing:
        log.info("posteriors of %s are there", _trainings(len(done)))
    by_directory = {training.experiment.directory: training.experiment for training in missing}
    for recorded in by_directory.values():
        check_unchanged(recorded, archives=True)
    return _write(plan, "posteriors", missing, min(len(missing), plan.request.nj))


def take_run_options(planned: PlannedExperiment) -> None:
    """Record what stages 6 and 9 may do otherwise than stage 5, such as where features are kept.

    Raises:
        UserError: it would compute on another kind of device.
    """
    recorded, run = experiment.read(planned.directory), planned.run_options()
    if recorded.run["ngpu"] != run["ngpu"]:
        raise UserError(
            f"{planned.directory} was trained with --ngpu {recorded.run['ngpu']}; give the same "
            "for stages 6 and 9"
        )
    run = {key: value for key, value in recorded.run.items() if key not in NEUTRAL} | {
        key: run[key] for key in NEUTRAL if key in run
    }
    if run != recorded.run:
        dataclasses.replace(recorded, run=run).write()


def _split(
    plan: StudyPlan, is_done: Callable[[Training], bool]
) -> tuple[list[Training], list[Training]]:
    """Split the trainings of a plan into those that are done, and the others."""
    done: list[Training] = []
    missing: list[Training] = []
    for training in trainings(plan):
        (done if is_done(training) else missing).append(training)
    return done, missing


def _say_where(plan: StudyPlan, missing: Sequence[Training], done: int) -> None:
    """Log how many trainings each experiment lacks, and where their logs are."""
    for planned in plan.experiments:
        lacking = sum(t.experiment.directory == planned.directory for t in missing)
        if lacking:
            log.info(
                "%s; logs are %s/fold*_seed*/train.log", _trainings(lacking), planned.directory
            )
    if done:
        log.info("%s finished%s", _trainings(done), " before" if missing else "")


def _trainings(n: int) -> str:
    return "1 training" if n == 1 else f"{n} trainings"


def _write(plan: StudyPlan, name: str, missing: Sequence[Training], jobs: int) -> int:
    tasks = [Task(t.experiment.directory, t.fold, t.seed) for t in missing]
    write_list(plan.directory / f"{name}.list", tasks)
    return jobs


def n_jobs(n_tasks: int, nj: int, seconds: float) -> int:
    """Choose the number of jobs for tasks of `seconds` in all, `nj` jobs at a time."""
    return min(n_tasks, nj * JOBS, max(nj, int(seconds / WORTH)))


def usual_seconds(finished: Sequence[Training]) -> dict[str, float]:
    """Estimate by system the time of a training without --tune: the median of finished ones.

    By their files' times; where several settings were tried, by their share. Of probes, which take
    seconds, it is not known.
    """
    times: dict[str, list[float]] = {}
    for training in finished:
        if training.experiment.trained_in is None and training.experiment.seeded:
            taken = duration(training.directory)
            if taken is not None:
                times.setdefault(_system(training), []).append(taken / _size(training))
    return {system: statistics.median(of) for system, of in times.items()}


def _seconds(training: Training, usual: Mapping[str, float]) -> float:
    """Estimate the time of a training: nan where none of its system is finished, 0 of a probe."""
    if not training.experiment.seeded:
        return 0.0
    return usual.get(_system(training), math.nan) * _size(training)


def _system(training: Training) -> str:
    """Name the network and its inputs, which decide how long a training takes."""
    return training.experiment.directory.parent.name


def _size(training: Training) -> int:
    """Count the networks that a training trains."""
    return len(training.experiment.trials) or 1


def outlook(times: Sequence[float], others: Sequence[str], done: int, nj: int) -> str:
    """Say in one line how many trainings are to be done, and how long they will take.

    Args:
        times: what `_seconds` says of each.
        others: the systems of which it is not known.
    """
    trainings = f"{len(times)} of {len(times) + done} trainings are to be done"
    known = [taken for taken in times if taken > 0]
    if not known:
        return f"{trainings}{'; the first will tell how long it takes' if times else ''}"
    minutes, each = sum(known) / min(nj, len(known)) / 60, f"{min(known):.0f}"
    if f"{max(known):.0f}" != each:
        each += f" to {max(known):.0f}"
    took = f"in about {minutes:.0f} min: {each} s each, {nj} at a time"
    if not others:
        return f"{trainings}, {took}"
    names = ", ".join(others) if len(others) <= NAMED else f"{len(others)} systems"
    return f"{trainings}, {len(known)} of them {took}; {names} will tell as they are trained"
