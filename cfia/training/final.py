"""The final network of an experiment, which is packed: what trains it, and for how many epochs.

Cross-validation makes a network for each fold, and none to give away. The final one trains on the
utterances of all folds, so that nothing is left to select its epoch or to test it. `fixed` is also
of a fold's network that is trained again (--refit).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cfia.config import Config
from cfia.errors import UserError
from cfia.experiment import PARTS, Experiment
from cfia.networks import ProbeConfig
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


def selected_key(config: Config) -> str:
    """Name the key of the configuration that the folds have a value of their own for."""
    return "epochs" if config.seeded else "probe_c"


def config(place: Path, config: Config, selected: Sequence[float]) -> Config:
    """Give its configuration, as `fixed` does of what the folds have selected.

    Args:
        place: the directory of its experiment, for the message.
        config: the experiment's, or what the folds have chosen.

    Raises:
        UserError: the schedule needs validation.
    """
    if config.train.schedule == "plateau":
        raise UserError(
            f"{place}: `schedule: plateau` needs validation scores, and the final "
            "network trains on all utterances; give --pack folds, or train with another schedule"
        )
    return fixed(config, selected)


def fixed(config: Config, selected: Sequence[float]) -> Config:
    """Give a configuration that trains for the median of some numbers of epochs, rounded up.

    Of a probe it has the median C; of an even number of them the smaller one in the middle.
    """
    if isinstance(config.model, ProbeConfig):
        c = statistics.median_low(selected)
        return replace(config, model=replace(config.model, probe_c=c))
    epochs = math.ceil(statistics.median(selected))
    return replace(config, train=replace(config.train, epochs=epochs))
