"""What --tune has chosen in a fold: tuned.yaml, its choice on validation, and what follows of it.

A fold tries each of the experiment's `trials` on its training part, in `tune<i>/`, and takes the
one of the best validation UA; nothing here has seen what the fold tests. The network of that one is
the training's own as it stands, for a second training would give the same bytes.
"""

from __future__ import annotations

import logging
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfia.config import in_words
from cfia.errors import UserError
from cfia.files import read_yaml, write_if_changed, write_yaml
from cfia.shapes import ShapeError, fit
from cfia.training.history import HISTORY, selected_row

log = logging.getLogger(__name__)

TUNED = "tuned.yaml"
NETWORK_FILES = ("best.pt", "checkpoint.pt")  # which only the best of the trials keeps


@dataclass(frozen=True)
class Trial:
    """What one of the settings has come to: the epoch selected, and its UA on validation."""

    settings: Mapping[str, Any]
    epoch: int
    valid_ua: float


@dataclass(frozen=True)
class Tuned:
    """The contents of tuned.yaml.

    Attributes:
        chosen: the number of the trial that is taken, from 1.
        settings: its settings.
        trials: all of them, in their order.
    """

    chosen: int
    settings: Mapping[str, Any]
    trials: tuple[Trial, ...]

    def write(self, directory: Path) -> None:
        """Write tuned.yaml into the directory of a training."""
        values = asdict(self)
        write_yaml(directory / TUNED, {**values, "trials": list(values["trials"])})


def read(directory: Path) -> Tuned:
    """Read the tuned.yaml of a training.

    Raises:
        UserError: it is not there, or not as it was written.
    """
    path = directory / TUNED
    if not path.exists():
        raise UserError(f"{path} is not there; run stage 5 (training) first")
    again = "run stage 5 (training) with --force true"
    try:
        tuned: Tuned = fit(Tuned, read_yaml(path, again))
    except ShapeError as error:
        raise UserError(f"{path} is not as cfia writes it ({error}); {again}") from None
    return tuned


def trial_directory(training: Path, number: int) -> Path:
    """Name the directory of a trial, from 1, in that of its training."""
    return training / f"tune{number}"


def choose(training: Path, settings: Sequence[Mapping[str, Any]]) -> None:
    """Write tuned.yaml of a training whose trials are finished: the first of the best UA."""
    trials = []
    for number, one in enumerate(settings, 1):
        row = selected_row(trial_directory(training, number) / HISTORY)
        trials.append(Trial(one, int(row["epoch"]), row["valid_ua"]))
    uas = [trial.valid_ua for trial in trials]
    best = uas.index(max(uas))
    Tuned(best + 1, trials[best].settings, tuple(trials)).write(training)
    log.info(
        "%s: of %d settings the best on validation is %s: UA %.2f",
        training, len(trials), in_words(trials[best].settings), uas[best],
    )  # fmt: skip


def take(training: Path, place: Path) -> None:
    """Make the files of the trial that was chosen those of `place`, and remove all networks there.

    Killed, it is done again. Of what is gone from the trial, `place` has it: networks are removed
    when all is copied.
    """
    from cfia.training.checkpoint import remove_unfinished

    tuned = read(training)
    place.mkdir(exist_ok=True)
    remove_unfinished(training)
    remove_unfinished(place)
    source = trial_directory(training, tuned.chosen)
    for name in (*NETWORK_FILES, HISTORY):
        if (source / name).exists():
            write_if_changed(place / name, (source / name).read_bytes())
    for number in range(1, len(tuned.trials) + 1):
        for name in NETWORK_FILES:
            (trial_directory(training, number) / name).unlink(missing_ok=True)


def most_chosen(folds: Sequence[Tuned]) -> int:
    """Give the number of the trial that most folds have chosen, for a network of all of them.

    Of equally many it is that of the best UA on validation, mean over the folds; of equals the
    first.
    """
    votes = Counter(fold.chosen for fold in folds)

    def rank(number: int) -> tuple[float, ...]:
        ua = statistics.fmean(fold.trials[number - 1].valid_ua for fold in folds)
        return (-votes[number], -ua, number)

    return min(votes, key=rank)
