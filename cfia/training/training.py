"""Train a network of an experiment, of a fold or the final one.

Imports torch only where something is computed, so that a finished training says so at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import directories, lock, marker
from cfia.errors import UserError
from cfia.experiment import NAME, PARTS, Experiment
from cfia.experiment import read as read_experiment
from cfia.files import digest, write_if_changed
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table
from cfia.naming import EVERY_FOLD
from cfia.training import final, tuned
from cfia.training.folds import Fold, count_folds, read_fold
from cfia.training.history import HISTORY, selected
from cfia.training.inputs import check_lists, check_unchanged

if TYPE_CHECKING:
    from torch import nn

    from cfia.config import Config
    from cfia.training.dataset import Dataset

log = logging.getLogger(__name__)

NETWORK = "best.pt"
CHECKPOINT = "checkpoint.pt"
PROVENANCE = "provenance.yaml"
PRODUCTS = (NETWORK, CHECKPOINT, HISTORY, PROVENANCE)
FITTED = (NETWORK, HISTORY, PROVENANCE)  # of a probe, which no killed job goes on with
SELECTION = "selection"  # in a training that is done again: what has selected its epoch, or its C
TAKEN = (
    NETWORK,
    PROVENANCE,
)  # and what was chosen, of a training whose network is tested on something else


@dataclass(frozen=True)
class Training:
    """A training of an experiment: one seed, and one fold or the utterances of all.

    Attributes:
        fold: from 1; None for the final network, which nothing validates or tests: all utterances
            train it, for as many epochs as is the median of those that the folds' networks of its
            seed have selected; where these were tuned, with the settings that most have chosen.
    """

    experiment: Experiment
    fold: int | None
    seed: int

    @property
    def directory(self) -> Path:
        """Name the directory of checkpoints and posteriors."""
        return self.experiment.training(self.fold, self.seed)

    @property
    def stage(self) -> str:
        """Name the stage that makes it, for messages."""
        stage = "stage 5 (training)"
        return "stage 9 (pack)" if self.fold is None else self.experiment.made_by(stage)

    @property
    def list_directory(self) -> Path:
        """Name the directory of its lists."""
        folds = self.experiment.folds.directory
        return folds if self.fold is None else folds / str(self.fold)

    @cached_property
    def lists(self) -> Fold:
        """Read the lists of utterances."""
        if self.fold is None:
            return final.lists(self.experiment)
        folds = self.experiment.folds.directory
        number = count_folds(folds)
        if not 1 <= self.fold <= number:
            raise UserError(f"{folds} has no fold {self.fold}; its folds are 1 to {number}")
        return read_fold(folds, self.fold)

    @property
    def parts(self) -> tuple[str, ...]:
        """Name its parts that have utterances."""
        if self.fold is None:
            return ("train",)
        validated = self.experiment.protocol["validation"] != "none"
        return tuple(part for part in PARTS if validated or part != "valid")

    @property
    def refitted(self) -> bool:
        """Whether its network is trained again, on training and validation part (--refit)."""
        return self.fold is not None and self.experiment.refit

    @property
    def tuned(self) -> bool:
        """Whether it takes the best of several settings on validation (--tune)."""
        return self.fold is not None and bool(self.experiment.trials)

    @property
    def trained_on(self) -> list[str]:
        """List the utterances that train its network."""
        lists = self.lists
        return sorted([*lists.train, *lists.valid]) if self.refitted else lists.train

    @property
    def products(self) -> tuple[str, ...]:
        """Name the files that it makes, for its marker."""
        chosen = [tuned.TUNED] * self.tuned
        if self.experiment.trained_in:
            return (*TAKEN, *chosen)
        made = PRODUCTS if self.experiment.seeded else FITTED
        again = [name for name in made if self.refitted and name != PROVENANCE]
        tried = range(1, len(self.experiment.trials) + 1) if self.tuned else ()
        chosen += [f"{tuned.trial_directory(Path(), number) / HISTORY}" for number in tried]
        return (*made, *(f"{SELECTION}/{name}" for name in again), *chosen)

    @property
    def selection(self) -> str:
        """Say which epoch is taken, as `--selection` does."""
        return "last" if self.fold is None else str(self.experiment.protocol["selection"])

    @cached_property
    def config(self) -> Config:
        """The configuration, of a tuned network with what its fold has chosen.

        That of the final network has a number of epochs of its own, and what most folds have
        chosen; the epochs are then those that the same settings had there.

        Raises:
            UserError: nothing was trained here; nothing has been chosen yet; of the final network,
                as `final.config`, or a fold is not trained, and so does not say for how long.
        """
        if self.fold is not None:
            return self._with(tuned.read(self.directory).settings if self.tuned else {})
        folds = of_folds(self.experiment, self.seed)
        for fold in folds:
            if not is_trained(fold):
                raise not_trained(fold)
        if not self.experiment.trials:
            found = [selected(fold.directory / HISTORY) for fold in folds]
            return final.config(self.experiment.directory, self.experiment.config, found)
        choices = [tuned.read(fold.directory) for fold in folds]
        number = tuned.most_chosen(choices)
        epochs = [choice.trials[number - 1].epoch for choice in choices]
        chosen = self._with(self.experiment.trials[number - 1])
        return final.config(self.experiment.directory, chosen, epochs)

    def _with(self, settings: Mapping[str, Any]) -> Config:
        config = self.experiment.config
        return config.changed(settings, f"{self.directory}") if settings else config

    @property
    def settings(self) -> dict[str, Any]:
        """What --tune has set in its configuration, by key; empty where nothing was tuned.

        Raises:
            UserError: as `config`.
        """
        keys = [key for settings in self.experiment.trials for key in settings]
        flat = self.config.flat() if keys else {}
        return {key: flat[key] for key in dict.fromkeys(keys)}

    @property
    def source(self) -> Training | None:
        """The training whose network it tests with other text; None: it has its own."""
        trained_in = self.experiment.trained_in
        return Training(read_experiment(trained_in), self.fold, self.seed) if trained_in else None

    @contextmanager
    def held(self, *, force: bool) -> Iterator[None]:
        """Hold its directory, and what it reads, while it is trained or tested (`cfia.lock`).

        Waits where another program trains or tests it; not if it is forced.
        """
        read, source = self.experiment.read_by_trainings(), self.source
        if source:
            read |= {source.experiment.directory, source.directory}
        with directories.reading(*read):
            self.lists  # noqa: B018 - the number of a fold that is not there must leave no file
            with lock.making(self.directory, force=force):
                yield

    def marked(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Give its marker's options and inputs: fold and seed, and the digest of its experiment."""
        inputs = {NAME: self.experiment.digest()}
        if self.fold is None:
            values = {f"train_args {key}": value for key, value in self._selected().items()}
            return {"fold": EVERY_FOLD, "seeds": self.seed, **values}, inputs
        return {"fold": self.fold, "seeds": self.seed}, inputs

    def _selected(self) -> dict[str, Any]:
        """Give the keys of its configuration that the folds have selected, and their values."""
        key = final.selected_key(self.config)
        return {key: self.config.flat()[key], **self.settings}

    def identity(self) -> str:
        """Digest what tells it from other trainings, wherever it is; its checkpoints bear it.

        Not of the dumps' own digests, since those know where audio lies.
        """
        experiment = self.experiment
        encoders = {m: [f.name, f.weights, f.layer, f.dim] for m, f in self.frontends().items()}
        inputs = {k: v for k, v in experiment.inputs().items() if not k.endswith(" features")}
        which = self.fold or [EVERY_FOLD, *self._selected().values()]
        return digest([which, self.seed, experiment.options(), inputs, encoders])

    def dataset(
        self,
        part: str,
        cache: str = "",
        utts: Sequence[str] | None = None,
        config: Config | None = None,
    ) -> Dataset:
        """Open the features of the "train", "valid" or "test" list.

        Args:
            utts: other utterances of the part's data than those of its list.
            cache: where they are kept, if not as --feature_cache says.
            config: says how they are cut and averaged, if not its own.
        """
        from cfia.training.dataset import load

        experiment = self.experiment
        labels = read_table(experiment.parts[part].data / "utt2emo")
        utts = getattr(self.lists, part) if utts is None else utts
        dumps, config = experiment.dumps(part), config or self.config
        cache = cache or experiment.run["feature_cache"]
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
                encoders[name]["exposure"] = ", ".join(dict.fromkeys(filter(None, seen)))
        return encoders


def of_folds(experiment: Experiment, seed: int) -> list[Training]:
    """List the trainings of an experiment's folds with one seed."""
    return [Training(experiment, fold, seed) for fold in experiment.fold_numbers]


def train(training: Training, checkpoint_seconds: float, *, force: bool) -> None:
    """Train a network, or go on where an earlier job was killed, or skip what is finished.

    Args:
        checkpoint_seconds: how often to write a checkpoint within an epoch, and at least at the
            ends of epochs.
        force: train again, whatever is there.

    Raises:
        UserError: its inputs have changed, or it was made differently, or is not as it was made,
            and `force` is false.
    """
    with training.held(force=force):
        _train(training, checkpoint_seconds, force=force)


def _train(training: Training, checkpoint_seconds: float, *, force: bool) -> None:
    directory, (options, inputs) = training.directory, training.marked()
    # All that can be checked is checked before anything is removed.
    training.experiment.config  # noqa: B018 - of one that was imported there is none
    check_unchanged(training.experiment)
    check_lists(training.experiment)
    source = training.source
    if source:
        _check_source(training, source)
    _check_seed(training)
    state = marker.check(directory, options, inputs, force=force, suggest_tag=True)
    if state is marker.State.DONE:
        log.info("%s: already trained, skipping", directory)
        return
    if state is marker.State.FRESH:
        if (directory / marker.NAME).exists():
            directories.remove(directory)
        marker.start(directory, options, inputs)
    if source:
        _take(training, source)
    else:
        from cfia.training.fitting import fit

        fit(training, checkpoint_seconds)
    marker.finish(directory, options, inputs, files=training.products)


def _check_seed(training: Training) -> None:
    """Refuse a second seed of what no seed changes, which would pass for another result."""
    only = training.experiment.own_seed(training.seed)
    if training.seed != only:
        raise UserError(
            f"{training.directory}: nothing of the probe is drawn, so that every seed gives the "
            f"same; give --seed {only}"
        )


def _check_source(training: Training, source: Training) -> None:
    """Refuse to take a network that is not finished, or was made from something else."""
    check_trained(source)
    if source.experiment.trained_from() != training.experiment.trained_from():
        raise UserError(
            f"{training.directory} tests the network of {source.directory}, which was made "
            "differently; run stage 5 (training) with --force true"
        )


def _take(training: Training, source: Training) -> None:
    """Copy a network, and what made it, so that it stays where the other training goes."""
    for name in training.products:
        write_if_changed(training.directory / name, (source.directory / name).read_bytes())
    log.info("%s: its network is that of %s", training.directory, source.directory)


def is_trained(training: Training) -> bool:
    """Whether a training is finished.

    Raises:
        UserError: it was made differently, or is not as it was made.
    """
    options, inputs = training.marked()
    state = marker.check(
        training.directory, options, inputs, made_by=training.stage, suggest_tag=True
    )
    return state is marker.State.DONE


def not_trained(training: Training) -> UserError:
    """Word the refusal of a training that is not finished."""
    return UserError(
        f"{training.directory} is not there or not finished; run {training.stage} first"
    )


def check_trained(training: Training) -> None:
    """Refuse a training that is not finished, or whose inputs have changed since.

    Raises:
        UserError: it names what changed, and the way out.
    """
    if not is_trained(training):
        raise not_trained(training)
    check_unchanged(training.experiment)


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
    config = training.config.model
    model = registry.build(dims, len(classes), config, training.layers())
    load_state(model, best["model"], path)
    return model
