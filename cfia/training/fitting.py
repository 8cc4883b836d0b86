"""What a training computes: its parts are opened; its network is trained, or its probe fitted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cfia.config import Config
from cfia.errors import UserError
from cfia.files import write_yaml
from cfia.provenance import provenance
from cfia.training import final, probe, same_training, tuned
from cfia.training.dataset import Dataset, keep_together
from cfia.training.determinism import set_up
from cfia.training.feature_cache import Room
from cfia.training.history import HISTORY, selected
from cfia.training.inputs import skipped, validation_shared
from cfia.training.trainer import Trainer, TrainerInputs
from cfia.training.training import PROVENANCE, SELECTION, Training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pass:
    """What is trained once: all of a training, or a pass of --refit or of --tune.

    Attributes:
        directory: where checkpoints and history go.
        utts: the utterances of each part.
    """

    directory: Path
    identity: str
    config: Config
    selection: str
    utts: Mapping[str, Sequence[str]]


def fit(training: Training, checkpoint_seconds: float) -> None:
    """Train a network, or go on where an earlier job was killed; or fit a probe.

    With --refit this is done twice, with --tune for each of its settings. A pass that an earlier
    job has finished is at its end at once.

    Raises:
        UserError: a part has no utterance, or as `Trainer.fit`.
    """
    experiment = training.experiment
    device = set_up(experiment.run["num_threads"], experiment.run["ngpu"])
    origin = provenance(experiment.run["num_threads"], str(device))
    values = {**origin, "audio": None, "text": None, **training.encoders()}
    write_yaml(training.directory / PROVENANCE, values)
    for one in _passes(training):
        one.directory.mkdir(exist_ok=True)
        first = one.directory != training.directory and one.config == experiment.config
        if first and experiment.seeded:  # a probe has no checkpoint to go on from
            same_training.take(training, one.directory, one.identity, device)
        _fit(training, one, device, checkpoint_seconds)


def _passes(training: Training) -> Iterator[_Pass]:
    """Give the passes of a training; the second of --refit is known when the first is done.

    The first selects the epoch, or C; with --tune there is one for each of its settings. The second
    has no part but what trains: it is what --selection last makes with this number of epochs, from
    the same seed.
    """
    experiment, place = training.experiment, training.directory
    utts = {part: getattr(training.lists, part) for part in training.parts}
    config = experiment.config if training.tuned else training.config
    whole = first = _Pass(place, training.identity(), config, training.selection, utts)
    if training.refitted:
        first = replace(
            whole, directory=place / SELECTION, identity=f"{whole.identity} {SELECTION}"
        )
    if training.tuned:
        yield from _trials(training, first)
        tuned.take(place, first.directory)
    else:
        yield first
    if not training.refitted:
        return
    config = final.fixed(training.config, [selected(first.directory / HISTORY)])
    key = final.selected_key(config)
    log.info(
        "%s: again, on training and validation part, with %s %g",
        place, key, config.flat()[key],
    )  # fmt: skip
    yield replace(whole, config=config, selection="last", utts={"train": training.trained_on})


def _trials(training: Training, first: _Pass) -> Iterator[_Pass]:
    """Give a pass for each of the settings of --tune, and choose one when all are done.

    They open no test part; nothing is trained where an earlier job has chosen.
    """
    if (training.directory / tuned.TUNED).exists():
        return
    utts = {part: some for part, some in first.utts.items() if part != "test"}
    for number, config in enumerate(training.experiment.tried(), 1):
        directory = tuned.trial_directory(training.directory, number)
        identity = f"{training.identity()} {directory.name}"
        yield replace(first, directory=directory, identity=identity, config=config, utts=utts)
    tuned.choose(training.directory, training.experiment.trials)


def _fit(training: Training, one: _Pass, device: torch.device, checkpoint_seconds: float) -> None:
    experiment = training.experiment
    parts = {
        part: training.dataset(part, "none", utts, one.config) for part, utts in one.utts.items()
    }
    if experiment.seeded:  # a probe reads each utterance once
        room = Room.on(device, experiment.run.get("jobs_per_gpu", 1))
        parts = keep_together(parts, experiment.run["feature_cache"], room)
    _check_parts(training, parts)
    inputs = TrainerInputs(
        directory=one.directory,
        identity=one.identity,
        config=one.config,
        seed=training.seed,
        selection=one.selection,
        classes=list(experiment.classes),
        train=parts["train"],
        select=parts.get("test" if one.selection == "test" else "valid"),
        device=device,
        checkpoint_seconds=checkpoint_seconds,
        layers=training.layers(),
        validation_shared=validation_shared(experiment),
    )
    if experiment.seeded:
        Trainer(inputs).fit()
    else:
        probe.fit(inputs)


def _check_parts(training: Training, parts: dict[str, Dataset]) -> None:
    """Log the size of each part, and refuse one without an utterance."""
    experiment = training.experiment
    left_out = skipped(experiment.dumps()) | skipped(experiment.dumps("test"))
    if left_out:
        log.warning(
            "%d utterances have no features and are left out: %s",
            len(left_out), ", ".join(sorted(left_out)),
        )  # fmt: skip
    classes = experiment.classes
    for part, data in parts.items():
        kept = ", ".join(
            f"{name} {features.size() / 1e9:.2f} GB {features.kept}"
            for name, features in data.features.items()
        )
        log.info("%s: %d utterances; %s", part, len(data), kept)
        if not len(data):
            raise UserError(f"{training.list_directory / part} names no utterance with features")
        missing = set(range(len(classes))) - set(data.targets.tolist())
        if missing:
            names = ", ".join(classes[i] for i in sorted(missing))
            log.warning("%s: no utterance of the class %s; UA is over the others", part, names)
