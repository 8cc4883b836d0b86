"""What a training computes: its parts are opened; its network is trained, or its probe fitted."""

from __future__ import annotations

import logging

from cfia.errors import UserError
from cfia.files import write_yaml
from cfia.provenance import provenance
from cfia.training import probe
from cfia.training.dataset import Dataset, keep_together
from cfia.training.determinism import set_up
from cfia.training.inputs import skipped, validation_shared
from cfia.training.trainer import Trainer, TrainerInputs
from cfia.training.training import Training

log = logging.getLogger(__name__)


def fit(training: Training, checkpoint_seconds: float) -> None:
    """Train a network, or go on where an earlier job was killed; or fit a probe.

    Raises:
        UserError: a part has no utterance, or as `Trainer.fit`.
    """
    experiment, selection = training.experiment, training.selection
    device = set_up(experiment.run["num_threads"], experiment.run["ngpu"])
    origin = provenance(experiment.run["num_threads"], str(device))
    values = {**origin, "audio": None, "text": None, **training.encoders()}
    write_yaml(training.directory / "provenance.yaml", values)
    parts = {part: training.dataset(part, "none") for part in training.parts}
    if experiment.seeded:  # a probe reads each utterance once
        parts = keep_together(parts, experiment.run["feature_cache"])
    _check_parts(training, parts)
    inputs = TrainerInputs(
        directory=training.directory,
        identity=training.identity(),
        config=training.config,
        seed=training.seed,
        selection=selection,
        classes=list(experiment.classes),
        train=parts["train"],
        select=parts.get("test" if selection == "test" else "valid"),
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
            f"{name} {4e-9 * features.dim * int(features.lengths.sum()):.2f} GB {features.kept}"
            for name, features in data.features.items()
        )
        log.info("%s: %d utterances; %s", part, len(data), kept)
        if not len(data):
            raise UserError(f"{training.list_directory / part} names no utterance with features")
        missing = set(range(len(classes))) - set(data.targets.tolist())
        if missing:
            names = ", ".join(classes[i] for i in sorted(missing))
            log.warning("%s: no utterance of the class %s; UA is over the others", part, names)
