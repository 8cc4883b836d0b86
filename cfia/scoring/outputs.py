"""The posteriors of a finished experiment, by seed, by fold and by speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.kaldi.table import read_table
from cfia.metrics import Counts
from cfia.posteriors import Posteriors, average, concatenate, read_posteriors, select
from cfia.scoring.trained import TrainedExperiment


@dataclass(frozen=True)
class Outputs:
    """The posteriors of a finished experiment.

    Attributes:
        seeds: posteriors by seed and fold.
        folds: posteriors averaged over the seeds, by fold.
        pooled: those of all folds together.
        speakers: names of the speakers, sorted; groups: the speaker of each pooled utterance, (N,).
    """

    seeds: dict[int, dict[int, Posteriors]]
    folds: dict[int, Posteriors]
    pooled: Posteriors
    speakers: list[str]
    groups: npt.NDArray[np.int64]

    def by_speaker(self, utts: Sequence[str]) -> Counts:
        """Count the confusion matrix of each speaker, (G, K, K), of some utterances, sorted."""
        return self._by_speaker(self.pooled, utts)

    def by_seed_and_speaker(self, utts: Sequence[str]) -> Counts:
        """Count the same for each seed's own posteriors, (S, G, K, K)."""
        pooled = [concatenate(list(folds.values())) for folds in self.seeds.values()]
        return np.array([self._by_speaker(posteriors, utts) for posteriors in pooled])

    def _by_speaker(self, posteriors: Posteriors, utts: Sequence[str]) -> Counts:
        group = dict(zip(self.pooled.utts, self.groups.tolist(), strict=True))
        groups = [group[utt] for utt in utts]
        return select(posteriors, utts).confusion(groups, len(self.speakers))


def load(trained: TrainedExperiment) -> Outputs:
    """Read the posteriors of a finished experiment.

    Raises:
        UserError: a file is broken; seeds differ in their utterances; folds overlap; an utterance
            has no speaker.
    """
    seeds: dict[int, dict[int, Posteriors]] = {}
    for training in trained.trainings:
        posteriors = read_posteriors(training.directory / "posteriors.tsv")
        seeds.setdefault(training.seed, {})[training.fold] = posteriors
    numbers = sorted(next(iter(seeds.values())))
    folds = {fold: average([seeds[seed][fold] for seed in sorted(seeds)]) for fold in numbers}
    pooled = concatenate([folds[fold] for fold in numbers])
    speakers, groups = clusters(pooled, trained.data / "utt2spk")
    return Outputs(seeds, folds, pooled, speakers, groups)


def clusters(posteriors: Posteriors, utt2spk: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """List the clusters (speakers) of the utterances, and the index of each one's, (N,).

    Raises:
        UserError: an utterance is not in the table.
    """
    table = read_table(utt2spk)
    for utt in posteriors.utts:
        if utt not in table:
            raise UserError(
                f"{utt2spk} lacks {utt}, which {posteriors.source} has; name the table of that data"
            )
    names = [table[utt] for utt in posteriors.utts]
    unique, groups = np.unique(names, return_inverse=True)
    return [str(name) for name in unique], groups
