"""Find the experiments under an experiment directory whose trainings have been tested."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from cfia import marker
from cfia.errors import UserError
from cfia.experiment import NAME, Experiment, in_brackets
from cfia.experiment import read as read_experiment
from cfia.files import read_yaml
from cfia.naming import training_name
from cfia.shapes import ShapeError, fit
from cfia.training.inputs import check_tested, validation_shared
from cfia.training.tested import POSTERIORS, has_posteriors
from cfia.training.training import Training

log = logging.getLogger(__name__)


class Encoder(TypedDict):
    """What provenance.yaml says of an encoder, as frontend.yaml does, and more."""

    name: str
    exposure: NotRequired[str]


class Provenance(TypedDict, total=False):
    """The keys of provenance.yaml (`cfia.provenance`)."""

    command: str
    commit: str
    environment: dict[str, Any]
    audio: Encoder | None
    text: Encoder | None


@dataclass(frozen=True)
class TestedTraining:
    """A training, one fold and one seed, that has posteriors, and what made it."""

    directory: Path
    fold: int
    seed: int
    provenance: Provenance

    @property
    def name(self) -> str:
        """Name of the directory, as in `fold1_seed2`."""
        return self.directory.name


@dataclass(frozen=True)
class TrainedExperiment:
    """An experiment and its tested trainings.

    Attributes:
        trainings: every fold of every seed that has all its folds, by seed and fold.
        missing: names of the trainings without posteriors, as in `fold3_seed2`.
        partial: whether `trainings` lack a fold, for the caller wanted what there is.
    """

    experiment: Experiment
    trainings: list[TestedTraining]
    missing: list[str]
    partial: bool = False

    @property
    def directory(self) -> Path:
        """exp/<system>/<scheme>."""
        return self.experiment.directory

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.directory.parent.name

    @property
    def scheme(self) -> str:
        """Name of the scheme: folds, validation, selection, labels."""
        return self.directory.name

    @property
    def protocol(self) -> dict[str, Any]:
        """The options of training and test, the corpus, and the number of folds."""
        facts = {"corpus": self.experiment.corpus, "folds": self.experiment.folds.number}
        return {**self.experiment.protocol, **facts}

    @property
    def data(self) -> Path:
        """The data directory of the test part."""
        return self.experiment.parts["test"].data

    @property
    def oracle(self) -> bool:
        """Whether the epoch was selected on the test fold."""
        return self.experiment.oracle

    @cached_property
    def validation_shared(self) -> bool:
        """Whether validation parts have speakers of the training parts, as test parts have not."""
        return validation_shared(self.experiment)

    @property
    def label(self) -> str:
        """The system's name, with the words that must go with every score of it."""
        return self.system + self.words

    @property
    def words(self) -> str:
        """What must be said with every score of it: ` (oracle, partial: folds 1 2 of 5)`."""
        folds = " ".join(str(fold) for fold in sorted({t.fold for t in self.trainings}))
        partial = [f"partial: folds {folds} of {self.experiment.folds.number}"] * self.partial
        return in_brackets([*self.experiment.words, *partial])

    @property
    def title(self) -> str:
        """Label and scheme, the heading of its figures: `cfia_net_fbank_bert, session`."""
        return f"{self.label}, {self.scheme}"

    @property
    def finished(self) -> bool:
        """Whether at least one seed has the posteriors of all folds."""
        return bool(self.trainings)

    @property
    def exposure(self) -> dict[str, str]:
        """The exposure of each encoder to the corpus (conf/exposure.yaml), by its name."""
        encoders = self.trainings[0].provenance
        return {
            encoder["name"]: encoder.get("exposure", "unknown")
            for encoder in (encoders.get("audio"), encoders.get("text"))
            if encoder
        }

    @property
    def exposure_text(self) -> str:
        """The exposure as a cell of a table, `emotion2vec: audio, bert: none`."""
        seen = ", ".join(f"{name}: {seen}" for name, seen in self.exposure.items())
        return "unknown" if self.experiment.imported else seen

    @property
    def lacks(self) -> str:
        """The missing posteriors in words, and what is left out for them."""
        effect = "these seeds are left out" if self.finished else "left out of the tables"
        effect = "the other folds are scored" if self.partial else effect
        return f"no posteriors of {' '.join(self.missing)}; {effect}"


def begun_experiments(expdir: Path) -> set[Path]:
    """Find the directories of experiments of which a training has begun."""
    # Names that begin with a dot are of directories that a killed process was removing.
    markers = expdir.glob(f"[!.]*/[!.]*/fold*_seed*/{marker.NAME}")
    return {path.parents[1] for path in markers}


def find_trained(expdir: Path, *, partial: bool = False) -> list[TrainedExperiment]:
    """Find all experiments of which a training has begun, by scheme and system.

    Those of an earlier version, which wrote no experiment.yaml, are left out with a warning, and
    so are posteriors that somebody has put there.

    Args:
        partial: of an experiment without a seed that has all its folds, take what folds there are.

    Raises:
        UserError: `expdir` is not there or holds no training; an experiment.yaml is broken.
    """
    if not expdir.is_dir():
        raise UserError(f"{expdir} is not there; run stages 5 and 6 (training, posteriors) first")
    _warn_of_strays(expdir)
    begun = begun_experiments(expdir)
    for directory in sorted(begun):
        if not (directory / NAME).exists():
            begun.remove(directory)
            log.warning(
                "%s is left out: it has no %s, for an earlier version of cfia trained it; train it "
                "again (stage 5 with --force true)", directory, NAME,
            )  # fmt: skip
    if not begun:
        raise UserError(f"{expdir} holds no training; run stages 5 and 6 first")
    order = sorted(begun, key=lambda path: (path.name, path.parent.name))
    return [_trained(read_experiment(directory), partial=partial) for directory in order]


def _warn_of_strays(expdir: Path) -> None:
    """Name posteriors in directories that no stage has made, which no table would show."""
    found = sorted(
        path
        for path in expdir.rglob(POSTERIORS)
        if not (path.parent / marker.NAME).exists()
        and not any(part.startswith(".") for part in path.relative_to(expdir).parts)
    )
    if found:
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        log.warning(
            "%s%s is left out, for no stage has made it; move it out of %s and import it with "
            "`cfia import_posteriors`", found[0], more, expdir,
        )  # fmt: skip


def _trained(experiment: Experiment, *, partial: bool = False) -> TrainedExperiment:
    check_tested(experiment)
    begun = experiment.trainings()
    tested = {
        (seed, fold) for seed, fold in begun if has_posteriors(Training(experiment, fold, seed))
    }
    all_folds = experiment.fold_numbers
    seeds = sorted({seed for seed, _ in begun})
    lacking = {seed: [fold for fold in all_folds if (seed, fold) not in tested] for seed in seeds}
    missing = [training_name(fold, seed) for seed in seeds for fold in lacking[seed]]
    # All seeds that are taken have the same folds: all of them, or as many as a seed has.
    fewest = min(lacking.values(), key=len)
    if fewest and not (partial and tested):
        return TrainedExperiment(experiment, [], missing)
    trainings = [
        _tested(experiment.training(fold, seed), fold, seed)
        for seed in seeds
        for fold in all_folds
        if lacking[seed] == fewest and fold not in fewest
    ]
    return TrainedExperiment(experiment, trainings, missing, partial=bool(fewest))


def _tested(directory: Path, fold: int, seed: int) -> TestedTraining:
    path = directory / "provenance.yaml"
    again = "run stage 5 (training) with --force true"
    try:
        values = read_yaml(path, again) if path.exists() else {}
        provenance: Provenance = fit(Provenance, values)
    except ShapeError as error:
        raise UserError(f"{path} is not as cfia writes it ({error}); {again}") from None
    return TestedTraining(directory, fold, seed, provenance)


def read_trained(directory: Path) -> TrainedExperiment:
    """Find the trainings of one experiment, exp/<system>/<scheme>.

    Raises:
        UserError: it is no directory of an experiment; its experiment.yaml is broken.
    """
    if not (directory / NAME).exists():
        raise UserError(f"{directory} has no {NAME}; name a directory exp/<system>/<scheme>")
    return _trained(read_experiment(directory))
