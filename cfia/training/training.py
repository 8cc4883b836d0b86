"""Train one fold and seed of an experiment, and write the posteriors of its test part.

Imports torch only where something is computed, so that a finished training says so at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import directories, marker
from cfia.errors import UserError
from cfia.experiment import NAME, PARTS, Experiment
from cfia.files import digest, write_yaml
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table
from cfia.training.folds import Fold, read_folds
from cfia.training.inputs import check_lists, check_unchanged, skipped, validation_shared

if TYPE_CHECKING:
    from torch import nn

    from cfia.training.dataset import Dataset

log = logging.getLogger(__name__)

NETWORK = "best.pt"
PRODUCTS = (NETWORK, "checkpoint.pt", "history.csv", "provenance.yaml")
POSTERIORS = "posteriors.tsv"
POSTERIORS_MARKER = ".posteriors.json"


@dataclass(frozen=True)
class Training:
    """A training: one fold and one seed of an experiment."""

    experiment: Experiment
    fold: int
    seed: int

    @property
    def directory(self) -> Path:
        """Name the directory of checkpoints and posteriors."""
        return self.experiment.training(self.fold, self.seed)

    @property
    def list_directory(self) -> Path:
        """Name the directory of the fold's lists."""
        return self.experiment.folds.directory / str(self.fold)

    @cached_property
    def lists(self) -> Fold:
        """Read the fold's lists of utterances."""
        folds = read_folds(self.experiment.folds.directory)
        if self.fold not in folds:
            raise UserError(
                f"{self.experiment.folds.directory} has no fold {self.fold}; its folds are 1 to "
                f"{len(folds)}"
            )
        return folds[self.fold]

    def marked(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Give its marker's options and inputs: fold and seed, and the digest of its experiment."""
        return {"fold": self.fold, "seeds": self.seed}, {NAME: self.experiment.digest()}

    def identity(self) -> str:
        """Digest what tells it from other trainings, wherever it is; its checkpoints bear it.

        Not of the dumps' own digests, since those know where audio lies.
        """
        experiment = self.experiment
        encoders = {m: [f.name, f.weights, f.layer, f.dim] for m, f in self.frontends().items()}
        inputs = {k: v for k, v in experiment.inputs().items() if not k.endswith(" features")}
        return digest([self.fold, self.seed, experiment.options(), inputs, encoders])

    def dataset(self, part: str) -> Dataset:
        """Open the features of the fold's "train", "valid" or "test" list."""
        from cfia.training.dataset import load

        experiment = self.experiment
        labels = read_table(experiment.parts[part].data / "utt2emo")
        utts, cache = getattr(self.lists, part), experiment.run["feature_cache"]
        dumps, config = experiment.dumps(part), experiment.config
        return load(utts, labels, experiment.classes, dumps, config, cache)

    def layers(self) -> dict[str, int]:
        """Count the layers of a frozen encoder side by side in each modality's features."""
        return {name: frontend.layers for name, frontend in self.frontends().items()}

    def frontends(self, part: str = "train") -> dict[str, Frontend]:
        """Read the frontend.yaml of each modality's features."""
        return {name: Frontend.read(path) for name, path in self.experiment.dumps(part).items()}

    def encoders(self) -> dict[str, dict[str, Any]]:
        """Describe the encoder of each modality, and what it saw of all corpora of the parts."""
        encoders = {name: frontend.values() for name, frontend in self.frontends().items()}
        for name, tested in self.frontends("test").items():
            seen = [encoders[name].get("exposure"), tested.exposure]
            if self.experiment.dumps("test")[name] != self.experiment.dumps()[name]:
                encoders[name]["exposure"] = ", ".join(filter(None, seen))
        return encoders


def train(training: Training, checkpoint_seconds: float, *, force: bool) -> None:
    """Train a network, or go on where an earlier job was killed, or skip what is finished.

    Args:
        checkpoint_seconds: how often to write a checkpoint within an epoch.
        force: train again, whatever is there.

    Raises:
        UserError: its inputs have changed, or it was made differently, or is not as it was made,
            and `force` is false.
    """
    directory, (options, inputs) = training.directory, training.marked()
    # All that can be checked is checked before anything is removed.
    training.experiment.config  # noqa: B018 - of one that was imported there is none
    check_unchanged(training.experiment)
    check_lists(training.experiment)
    training.lists  # noqa: B018 - the number of a fold that is not there must leave no directory
    state = marker.check(directory, options, inputs, force=force, suggest_tag=True)
    if state is marker.State.DONE:
        log.info("%s: already trained, skipping", directory)
        return
    if state is marker.State.FRESH:
        if (directory / marker.NAME).exists():
            directories.remove(directory)
        marker.start(directory, options, inputs)
    _fit(training, checkpoint_seconds)
    marker.finish(directory, options, inputs, files=PRODUCTS)


def is_trained(training: Training) -> bool:
    """Whether a training is finished.

    Raises:
        UserError: it was made differently, or is not as it was made.
    """
    options, inputs = training.marked()
    made_by = training.experiment.made_by("stage 5 (training)")
    state = marker.check(training.directory, options, inputs, made_by=made_by, suggest_tag=True)
    return state is marker.State.DONE


def check_trained(training: Training) -> None:
    """Refuse a training that is not finished, or whose inputs have changed since.

    Raises:
        UserError: it names what changed, and the way out.
    """
    if not is_trained(training):
        raise UserError(
            f"{training.directory} is not there or not finished; run stage 5 (training) first"
        )
    check_unchanged(training.experiment)


def _fit(training: Training, checkpoint_seconds: float) -> None:
    from cfia.provenance import provenance
    from cfia.training.determinism import set_up
    from cfia.training.trainer import Trainer, TrainerInputs

    experiment = training.experiment
    selection = str(experiment.protocol["selection"])
    device = set_up(experiment.run["num_threads"], experiment.run["ngpu"])
    origin = provenance(experiment.run["num_threads"], str(device))
    values = {**origin, "audio": None, "text": None, **training.encoders()}
    write_yaml(training.directory / "provenance.yaml", values)
    empty = ("valid",) if experiment.protocol["validation"] == "none" else ()
    parts = {part: training.dataset(part) for part in PARTS if part not in empty}
    _check_parts(training, parts)
    inputs = TrainerInputs(
        directory=training.directory,
        identity=training.identity(),
        config=experiment.config,
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
    Trainer(inputs).fit()


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


def write_posteriors(training: Training, *, force: bool) -> None:
    """Write the posteriors of a training's test part, or skip those that are there.

    Args:
        force: write them again, whatever is there.

    Raises:
        UserError: it is not trained, its inputs have changed, or the posteriors were made
            differently, or are not as they were made, and `force` is false.
    """
    directory, experiment = training.directory, training.experiment
    config = experiment.config
    check_trained(training)
    if force:
        remove_posteriors(training)
    if _has_made_posteriors(training):
        log.info("%s: posteriors already made, skipping", directory)
        return
    import torch

    from cfia import posteriors
    from cfia.training.determinism import set_up
    from cfia.training.evaluate import logits

    device = set_up(experiment.run["num_threads"], experiment.run["ngpu"])
    data = training.dataset("test")
    model = trained_network(training, data.dims()).to(device)
    scores = logits(model, data, config.train.batch_size, device)
    posteriors.write_posteriors(
        directory / POSTERIORS,
        list(experiment.classes),
        data.utts,
        [experiment.classes[i] for i in data.targets.tolist()],
        torch.softmax(scores, dim=1).numpy(),
    )
    options, inputs = posteriors_marked(training)
    marker.finish(directory, options, inputs, name=POSTERIORS_MARKER, files=[POSTERIORS])


def remove_posteriors(training: Training) -> None:
    """Remove the posteriors of a training, if there are any; its network stays."""
    for name in (POSTERIORS_MARKER, POSTERIORS):  # without the marker nobody takes them for made
        (training.directory / name).unlink(missing_ok=True)


def has_posteriors(training: Training) -> bool:
    """Whether the posteriors of a finished training are there.

    Raises:
        UserError: the training or they were made differently, or are not as they were made.
    """
    return is_trained(training) and _has_made_posteriors(training)


def _has_made_posteriors(training: Training) -> bool:
    """Whether the posteriors of a training, which is finished, are there."""
    options, inputs = posteriors_marked(training)
    made_by = training.experiment.made_by("stage 6 (posteriors)")
    state = marker.check(
        training.directory, options, inputs, name=POSTERIORS_MARKER, made_by=made_by
    )
    return state is marker.State.DONE


def posteriors_marked(training: Training) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the options and inputs of the posteriors' marker."""
    options, inputs = training.marked()
    if training.experiment.imported:
        return options, inputs
    trained = marker.read(training.directory)
    assert trained is not None
    network = trained.files[NETWORK]["sha256"]
    return (
        {**options, "num_threads": training.experiment.run["num_threads"]},
        {**inputs, NETWORK: network},
    )


def trained_network(training: Training, dims: dict[str, int]) -> nn.Module:
    """Load the network that a training has selected, for features of these widths.

    Raises:
        UserError: there is none, or it was made by another network or for other classes.
    """
    from cfia.model import registry
    from cfia.model.pretrained import load_state
    from cfia.training import checkpoint

    path = training.directory / NETWORK
    best = checkpoint.load(path, checkpoint.Network)
    classes = list(training.experiment.classes)
    if best["classes"] != classes:
        raise UserError(f"{path} was trained on {best['classes']}, the data has {classes}")
    config = training.experiment.config.model
    model = registry.build(dims, len(classes), config, training.layers())
    load_state(model, best["model"], path)
    return model
