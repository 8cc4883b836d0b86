"""What a pass of --refit or --tune need not train, since a finished training is the same.

The first pass of --refit is the training without it, and so is the trial of --tune whose settings
are the configuration's own. Where that one is finished its files are taken: to train it again would
give the same bytes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cfia import directories
from cfia.errors import UserError
from cfia.experiment import NAME, read
from cfia.files import read_yaml, write_if_changed
from cfia.training import checkpoint
from cfia.training.board import DIRECTORY as BOARD
from cfia.training.history import HISTORY
from cfia.training.training import CHECKPOINT, NETWORK, PROVENANCE, Training, is_trained

log = logging.getLogger(__name__)


def take(training: Training, place: Path, identity: str, device: torch.device) -> None:
    """Fill the directory of a pass that has not begun, if there is a training that is the same.

    It must be finished, and made by the same commit in the same environment.

    Args:
        training: that of which it is a pass; its provenance is written.
        identity: what the pass's checkpoints bear.
    """
    if any(place.glob("*.pt")):
        return
    experiment, wanted = training.experiment, training.experiment.without_choices()
    if wanted.directory == experiment.directory or not (wanted.directory / NAME).exists():
        return
    with directories.reading(wanted.directory, wanted.training(training.fold, training.seed)):
        try:
            other = Training(read(wanted.directory), training.fold, training.seed)
            same = not other.refitted and not other.tuned and is_trained(other)
        except UserError as error:  # that is for stage 5 to say, when it comes to that one
            log.info("%s: trained, not taken: %s", place, error)
            return
        plain = other.experiment.without_choices()
        if not same or plain.trained_from() != wanted.trained_from():
            return
        if _origin(other.directory) != _origin(training.directory):
            return
        log.info("%s: it is that of %s", place, other.directory)
        for name in (HISTORY, NETWORK):
            write_if_changed(place / name, (other.directory / name).read_bytes())
        shutil.copytree(other.directory / BOARD, place / BOARD, dirs_exist_ok=True)
        # Last, for a pass goes on from it.
        state = checkpoint.load(other.directory / CHECKPOINT, checkpoint.State, device)
        state["training"] = identity
        checkpoint.save(place / CHECKPOINT, state)


def _origin(directory: Path) -> Mapping[str, Any]:
    """What of a training's provenance decides its bytes."""
    values = read_yaml(directory / PROVENANCE)
    return {key: values[key] for key in ("commit", "environment")}
