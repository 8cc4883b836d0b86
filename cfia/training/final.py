"""The final network of an experiment, which is packed: what trains it, and for how many epochs.

Cross-validation makes a network for each fold, and none to give away. The final one trains on the
utterances of all folds, so that nothing is left to select its epoch or to test it.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cfia.config import Config
from cfia.errors import UserError
from cfia.experiment import PARTS, Experiment
from cfia.training.folds import Fold, read_folds


def lists(experiment: Experiment) -> Fold:
    """List its utterances: those of any list of any fold, but for tests on another corpus.

    Raises:
        UserError: there are no folds, or a list is missing or damaged.
    """
    parts, folds = experiment.parts, read_folds(experiment.folds.directory)
    taken = PARTS if parts["test"].data == parts["train"].data else ("train", "valid")
    every = (getattr(fold, part) for fold in folds.values() for part in taken)
    return Fold(sorted(set().union(*every)), [], [])


def config(experiment: Experiment, epochs: Sequence[int]) -> Config:
    """Give its configuration: it trains for the median of the epochs that the folds have selected.

    Raises:
        UserError: the schedule needs validation.
    """
    config = experiment.config
    if config.train.schedule == "plateau":
        raise UserError(
            f"{experiment.directory}: `schedule: plateau` needs validation scores, and the final "
            "network trains on all utterances; give --pack folds, or train with another schedule"
        )
    return replace(config, train=replace(config.train, epochs=math.ceil(statistics.median(epochs))))


def selected_epoch(history: Path) -> int:
    """Read the epoch that a finished training has selected, from 1, in its history.csv."""
    with open(history, encoding="utf-8", newline="") as handle:
        return next(int(r["epoch"]) for r in csv.DictReader(handle) if r["selected"] == "1")
