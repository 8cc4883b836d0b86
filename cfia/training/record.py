"""Write an experiment.yaml, unless it would not describe the trainings that are there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from cfia import directories, lock, marker
from cfia.errors import UserError
from cfia.experiment import NAME, SCORES, Experiment, read, results_held


def record(experiment: Experiment, *, force: bool, again: Collection[tuple[int, int]] = ()) -> None:
    """Write an experiment.yaml, unless trainings are there that it would not describe.

    With `force` these, and what was made from them, are removed; and so are the trainings to be
    made `again`, pairs of fold and seed, whatever made them. A final network goes with those of the
    folds, which say for how many epochs it trains.

    Raises:
        UserError: the trainings were made differently, and `force` is false.
    """
    directory = experiment.directory
    with results_held(directory.parents[1]):
        difference = _difference(experiment)
        if difference and experiment.trainings() and not force:
            raise marker.made_differently(directory, difference, suggest_tag=True)
        _remove(experiment, difference, force=force, again=again)
        experiment.write()


def _remove(
    experiment: Experiment,
    difference: str | None,
    *,
    force: bool,
    again: Collection[tuple[int, int]],
) -> None:
    """Remove what an experiment is not to keep; all of it, or nothing where others are at work."""
    directory, begun = experiment.directory, experiment.trainings()
    if difference and begun and (directory / NAME).exists():
        directories.remove(directory)  # with figures and scores
    elif difference or force:
        gone = [experiment.training(fold, seed) for seed, fold in begun
                if difference or (fold, seed) in again]  # fmt: skip
        gone += experiment.final_trainings()
        with contextlib.ExitStack() as held:
            for training in gone:
                held.enter_context(lock.alone(training, wait=False))
            (directory / SCORES).unlink(missing_ok=True)
            for training in gone:
                directories.remove(training)


def _difference(experiment: Experiment) -> str | None:
    """Say how an experiment differs from the recorded one; None if it does not, or there is none.

    Trainings without an experiment.yaml are of an earlier version.
    """
    directory = experiment.directory
    if not (directory / NAME).exists():
        earlier = f"it has no {NAME}: an earlier version of cfia trained it"
        return earlier if experiment.trainings() else None
    try:
        return read(directory).difference(experiment)
    except UserError:
        return f"its {NAME} was cut or edited, or is of another version of cfia"
