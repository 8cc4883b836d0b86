"""An experiment, one system under one scheme, as exp/<system>/<scheme>/experiment.yaml records it.

`cfia plan` writes the file when stage 5 begins; training, posteriors, scores and gates read it. It
names no fold and no seed: these make a training of an experiment.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from cfia import directories, lock, marker
from cfia.config import Config, build
from cfia.errors import UserError
from cfia.files import digest, read_yaml, write_yaml
from cfia.naming import (
    EVERY_FOLD,
    ONLY_FOLDS,
    ONLY_SEED,
    fold_and_seed,
    training_name,
    without_choices,
)
from cfia.options import NEUTRAL
from cfia.shapes import ShapeError, fit

NAME = directories.EXPERIMENT
PARTS = ("train", "valid", "test")
ORACLE = "oracle"  # said with every score of an epoch that was selected on the test fold
SPEAKERS_SHARED = "speakers in training and test"  # said with every score of such folds
SHARES_SPEAKERS = "shares speakers with training"  # of validation, where its scores are read
ELSEWHERE = "elsewhere"  # the selection of an experiment that was not trained here
SCORES = "scores.json"  # beside it, of its trainings
RESULTS = "RESULTS.md"  # of all experiments, in exp
_SHA256 = "sha256"
_CHOICES = ("refit", "tune")  # options that choose a network, or train it again
_OF_TEST = ("systems", "tested_text")  # options that say where it is, or how it is tested alone


@dataclass(frozen=True)
class Dump:
    """Features of one modality: their directory, and the digest of what made them."""

    directory: Path
    digest: str


@dataclass(frozen=True)
class Part:
    """The data and features from which the utterances of one part of a fold come.

    Attributes:
        data: the data directory.
        tables: the digest of each table that trainings or scores read.
        dumps: by modality.
    """

    data: Path
    tables: Mapping[str, str]
    dumps: Mapping[str, Dump]


class _Protocol(TypedDict):
    """What `protocol` in experiment.yaml has at least."""

    labels: str
    text_tags: str
    cv: str
    validation: str
    selection: str
    refit: NotRequired[bool]
    tune: NotRequired[str]
    speakers_shared: NotRequired[bool]
    text_source: NotRequired[str]
    asr_model: NotRequired[str]
    tested_text: NotRequired[str]
    only_folds: NotRequired[str]


class _Run(TypedDict):
    """What `run` in experiment.yaml has at least, of what was trained here."""

    ngpu: int
    num_threads: int
    feature_cache: str
    jobs_per_gpu: NotRequired[int]


class _Parts(TypedDict):
    """The parts in experiment.yaml, by PARTS."""

    train: Part
    valid: Part
    test: Part


@dataclass(frozen=True)
class Folds:
    """The fold lists of a scheme: their directory, how many there are, and their digest."""

    directory: Path
    number: int
    digest: str


@dataclass(frozen=True)
class Experiment:
    """All that was decided for the trainings of one system under one scheme.

    Attributes:
        directory: exp/<system>/<scheme>; not in the file.
        protocol: options of run.sh that say how it is trained and tested: cv, selection, ...; and
            `speakers_shared`, true, where speakers of a fold's test stand in its training, and
            `asr_model`, the name of the recogniser whose transcripts it reads; `tested_text` the
            name of those that it is tested with, where they are others; and `only_folds` the
            numbers of the folds that are trained, where not all are.
        run: options that say how it is computed, such as num_threads.
        classes: in the order of the network's outputs.
        parts: by their names, PARTS.
        trained_with: the resolved configuration, `config` in the file; None where the posteriors
            are from elsewhere (cfia/scoring/import_posteriors.py).
        trained_in: the experiment whose networks it tests with other text; None: it trains its own.
        trials: the settings of its configuration of which each fold takes the best on validation
            (--tune); none: the configuration as it is.
    """

    directory: Path
    system: str
    scheme: str
    corpus: str
    protocol: Mapping[str, str | bool]
    run: Mapping[str, Any]
    classes: tuple[str, ...]
    folds: Folds
    parts: Mapping[str, Part]
    trained_with: Config | None
    trained_in: Path | None = None
    trials: tuple[Mapping[str, Any], ...] = ()

    @property
    def imported(self) -> bool:
        """Whether its posteriors are from elsewhere: nothing was trained here."""
        return self.trained_with is None

    @property
    def config(self) -> Config:
        """The resolved configuration.

        Raises:
            UserError: its posteriors are from elsewhere.
        """
        if self.trained_with is None:
            raise UserError(
                f"{self.directory} was imported: it has posteriors, and no network; name an "
                "experiment that was trained here"
            )
        return self.trained_with

    def made_by(self, stage: str) -> str:
        """Name what makes its trainings and posteriors, for messages."""
        return "`cfia import_posteriors`" if self.imported else stage

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the system takes: "audio", "text" or both."""
        return tuple(self.parts["train"].dumps)

    @property
    def seeded(self) -> bool:
        """Whether its trainings depend on their seed; of one that was imported nobody knows."""
        return self.trained_with is None or self.trained_with.seeded

    def own_seed(self, seed: int) -> int:
        """Give the seed in the names of its trainings, where `seed` is asked for."""
        return seed if self.seeded else ONLY_SEED

    @property
    def oracle(self) -> bool:
        """Whether the epoch is selected on the test fold."""
        return self.protocol["selection"] == "test"

    @property
    def refit(self) -> bool:
        """Whether a fold's network is trained again, on training and validation part."""
        return bool(self.protocol.get("refit"))

    @property
    def fold_numbers(self) -> list[int]:
        """The folds that are trained and tested: all of its lists, or those that it names."""
        alone = str(self.protocol.get(ONLY_FOLDS, ""))
        return [int(word) for word in alone.split()] or [*range(1, self.folds.number + 1)]

    @property
    def best_of(self) -> int:
        """Of how many settings each fold takes the best, as --tune says; 0: none are tried."""
        return int(self.protocol["tune"]) if self.trials else 0

    def tried(self) -> list[Config]:
        """Give the configurations of `trials`.

        Raises:
            UserError: one is not legal.
        """
        return [self.config.changed(settings, f"{self.directory}") for settings in self.trials]

    @property
    def speakers_shared(self) -> bool:
        """Whether speakers of a fold's test stand in its training."""
        return bool(self.protocol.get("speakers_shared"))

    @property
    def recogniser(self) -> str:
        """The name of the recogniser whose transcripts it reads; "" for gold ones, or none."""
        return str(self.protocol.get("asr_model", ""))

    @property
    def validated(self) -> bool:
        """Whether every epoch is scored on utterances that it is not trained on."""
        return self.oracle or self.protocol["validation"] != "none"

    @property
    def scheme_words(self) -> list[str]:
        """What must be said with every score of its scheme, since it makes scores look better."""
        said = {ORACLE: self.oracle, SPEAKERS_SHARED: self.speakers_shared}
        return [word for word, holds in said.items() if holds]

    @property
    def words(self) -> list[str]:
        """What must be said with every score of it."""
        alone = f"fold {self.protocol.get(ONLY_FOLDS)} of {self.folds.number} alone"
        return [
            *self.scheme_words,
            *([alone] if ONLY_FOLDS in self.protocol else []),
            *(["imported"] if self.imported else []),
        ]

    def dumps(self, part: str = "train") -> dict[str, Path]:
        """Give the dump directories of a part, by modality."""
        return {name: dump.directory for name, dump in self.parts[part].dumps.items()}

    def read_by_trainings(self) -> set[Path]:
        """Name the directories that its trainings read: its own, data, dumps, fold lists."""
        dumps = (dump.directory for part in self.parts.values() for dump in part.dumps.values())
        data = (part.data for part in self.parts.values())
        return {self.directory, self.folds.directory, *data, *dumps}

    def training(self, fold: int | None, seed: int) -> Path:
        """Name the directory of one training; without a fold, of the final network's."""
        return self.directory / training_name(fold, seed)

    def trainings(self) -> list[tuple[int, int]]:
        """List seed and fold of the folds' trainings that have begun, sorted."""
        markers = self.directory.glob(f"fold*_seed*/{marker.NAME}")
        names = (fold_and_seed(path.parent.name) for path in markers)
        return sorted((seed, fold) for fold, seed in filter(None, names))

    def final_trainings(self) -> list[Path]:
        """List the directories of the final networks whose trainings have begun, sorted."""
        markers = self.directory.glob(f"{EVERY_FOLD}_seed*/{marker.NAME}")
        return sorted(path.parent for path in markers)

    def options(self) -> dict[str, Any]:
        """Give the options that can change a result, by the names of run.sh's flags."""
        keys = self.trained_with.in_use() if self.trained_with else {}
        values = {f"train_args {key}": value for key, value in keys.items()}
        run = {key: value for key, value in self.run.items() if key not in NEUTRAL}
        return {**values, **self.protocol, **run, "systems": self.system}

    def inputs(self) -> dict[str, str]:
        """Give the digest of each file and directory that the trainings read."""
        inputs = {"fold lists": self.folds.digest, "classes": digest(self.classes)}
        if self.trials:
            inputs["conf/tune.yaml"] = digest(self.trials)
        for name, part in self.parts.items():
            prefix = "" if part == self.parts["train"] else f"{name} "
            inputs |= {f"{prefix}{table}": value for table, value in part.tables.items()}
            for modality, dump in part.dumps.items():
                inputs[f"{prefix}{modality} features"] = dump.digest
        return inputs

    def digest(self) -> str:
        """Digest all that can change a result."""
        return digest([self.options(), self.inputs()])

    def trained_from(self) -> str:
        """Digest all that can change its networks, whatever their epochs are not selected on."""
        options = {key: v for key, v in self.options().items() if key not in _OF_TEST}
        inputs = {key: v for key, v in self.inputs().items() if not key.startswith("test ")}
        return digest([options, inputs])

    def without_choices(self) -> Experiment:
        """Give this experiment as it is without --refit and --tune, in a directory of its own."""
        protocol = {key: v for key, v in self.protocol.items() if key not in _CHOICES}
        directory = without_choices(self.directory)
        return dataclasses.replace(self, directory=directory, protocol=protocol, trials=())

    def difference(self, other: Experiment) -> str | None:
        """Name the first difference that can change a result; None if there is none."""
        return marker.first_difference(
            self.options(), self.inputs(), other.options(), other.inputs()
        )

    def write(self) -> None:
        """Write experiment.yaml into the experiment's directory, its own digest at the end."""
        values = _plain(dataclasses.asdict(self))
        del values["directory"], values["trained_with"]
        for later in ("trained_in", "trials"):  # which earlier experiments had not
            if not values[later]:
                del values[later]
        values["config"] = _plain(self.trained_with.flat()) if self.trained_with else None
        self.directory.mkdir(parents=True, exist_ok=True)
        write_yaml(self.directory / NAME, {**values, _SHA256: digest(values)})


def in_brackets(words: Iterable[str]) -> str:
    """Put words behind a name: ` (oracle, imported)`; "" where there are none."""
    said = ", ".join(words)
    return f" ({said})" if said else ""


def _plain(value: Any) -> Any:
    """Turn a value into what YAML can hold: paths into strings, tuples into lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def read(directory: Path) -> Experiment:
    """Read the experiment.yaml of a directory.

    Raises:
        UserError: it is not there, or not as it was written.
    """
    path = directory / NAME
    if not path.exists():
        raise UserError(f"{path} is not there; run stage 5 (training) first")
    again = "run stage 5 (training) with --force true"
    values = read_yaml(path, again)
    if values.pop(_SHA256, None) != _digest(values):
        raise UserError(f"{path} was cut or edited, or is of another version of cfia; {again}")
    try:
        values["parts"] = fit(_Parts, values.get("parts"), "parts")
        config = values.pop("config", None)
        if config is not None:  # of posteriors from elsewhere it is
            config = build(fit(dict[str, Any], config, "config"), str(path))
            fit(_Run, values.get("run"), "run")
        values |= {"directory": directory, "trained_with": config}
        experiment: Experiment = fit(Experiment, values)
        fit(_Protocol, experiment.protocol, "protocol")
    except ShapeError as error:
        raise UserError(f"{path} is not as cfia writes it ({error}); {again}") from None
    return experiment


def _digest(values: Mapping[str, Any]) -> str:
    """Digest values of YAML; "" where there is a date or the like, which cfia never writes."""
    try:
        return digest(values)
    except TypeError:
        return ""


@contextlib.contextmanager
def results_held(expdir: Path) -> Iterator[None]:
    """Hold the scores and tables of all experiments, and what they are made from, finished.

    Waits for a program that writes them, or removes an experiment.
    """
    with lock.making(expdir / RESULTS) if expdir.is_dir() else contextlib.nullcontext():
        yield
