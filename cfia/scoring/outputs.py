"""The posteriors of a system's networks, by seed, by fold and by speaker."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cfia.errors import UserError
from cfia.kaldi.data_dir import speakers_known
from cfia.kaldi.table import read_table
from cfia.metrics import Counts, grouped_confusion
from cfia.posteriors import Posteriors, average, concatenate, read_posteriors, same_utterances
from cfia.scoring.luck import Indices, shared_networks
from cfia.scoring.significance import UTTERANCE, Answers
from cfia.scoring.trained import TrainedExperiment
from cfia.training.folds import read_folds
from cfia.training.inputs import skipped
from cfia.training.tested import POSTERIORS

# What the tables of Kaldi and of this project are of, where their names are no words.
_CLUSTERS = {"spk": "speaker", "emo": "emotion", "dur": "duration", "uniq": "original"}
MOST_NAMES = 6  # of the speakers that a fold tests, where they are named


@dataclass(frozen=True)
class Outputs:
    """The posteriors of a finished experiment, or of files from elsewhere.

    Attributes:
        seeds: those of each network, by seed and fold; all seeds have the same folds.
        speakers: names of the speakers, sorted, or of other clusters.
        groups: the speaker of each utterance of `utts`, (N,).
        cluster: what they are in a word, `speaker`; where nobody knows who speaks, `utterance`.
        seeded: whether another seed would give other posteriors; if not, `seeds` has one.
    """

    seeds: Mapping[int, Mapping[int, Posteriors]]
    speakers: list[str]
    groups: Indices
    cluster: str = "speaker"
    seeded: bool = True

    @cached_property
    def pooled(self) -> dict[int, Posteriors]:
        """The posteriors of all folds together, by seed."""
        return {seed: concatenate(list(folds.values())) for seed, folds in self.seeds.items()}

    @property
    def first(self) -> Posteriors:
        """The posteriors of one seed, which has the utterances and references of all."""
        return next(iter(self.pooled.values()))

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.first.classes

    @property
    def utts(self) -> list[str]:
        """The utterances, sorted, N."""
        return self.first.utts

    @property
    def refs(self) -> Indices:
        """Indices of the reference classes, (N,)."""
        return self.first.refs

    @cached_property
    def hyps(self) -> Indices:
        """Indices of the classes that each seed answers, (S, N)."""
        return np.array([posteriors.hyps for posteriors in self.pooled.values()])

    @property
    def folds(self) -> dict[int, list[str]]:
        """The utterances of each fold, sorted, by its number."""
        one_seed = next(iter(self.seeds.values()))
        return {fold: posteriors.utts for fold, posteriors in one_seed.items()}

    @property
    def tested(self) -> dict[int, list[str]]:
        """The speakers whose utterances each fold tests, sorted, by its number."""
        of_fold = {fold: np.unique(self.groups[self.rows(u)]) for fold, u in self.folds.items()}
        return {fold: [self.speakers[i] for i in found] for fold, found in of_fold.items()}

    def whom_tests(self) -> dict[int, str]:
        """Name in words whom each fold tests, as far as there is room: `Ses01F, Ses01M`."""
        if self.independent:  # nobody knows the speakers
            return {fold: f"{len(utts)} utterances" for fold, utts in self.folds.items()}
        return {
            fold: ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} speakers"
            for fold, names in self.tested.items()
        }

    @cached_property
    def fold_of(self) -> Indices:
        """The fold of each utterance, (N,), as its place in `folds`."""
        found = np.empty(len(self.utts), int)
        for place, utts in enumerate(self.folds.values()):
            found[self.rows(utts)] = place
        return found

    @property
    def blocks(self) -> Indices:
        """The block of each speaker, (G,): speakers of one block share networks."""
        return shared_networks(self.groups, self.fold_of)

    @property
    def independent(self) -> bool:
        """Whether intervals and tests take utterances as independent: speakers are not known."""
        return self.cluster == UTTERANCE

    def confusions(self, utts: Sequence[str]) -> Counts:
        """Count the confusions of each seed and speaker, (S, G, K, K), of some utterances."""
        rows, k, n = self.rows(utts), len(self.classes), len(self.speakers)
        refs, groups = self.refs[rows], self.groups[rows]
        return np.array([grouped_confusion(refs, h, groups, k, n) for h in self.hyps[:, rows]])

    def answers(self, utts: Sequence[str]) -> Answers:
        """List which of some utterances each seed has right."""
        rows = self.rows(utts)
        return Answers((self.hyps == self.refs)[:, rows], self.fold_of[rows], self.seeded)

    def rows(self, utts: Sequence[str]) -> Indices:
        """Find the places of some utterances in `utts`, (N,); `KeyError` if one is missing."""
        return np.array([self._places[utt] for utt in utts], int)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {utt: i for i, utt in enumerate(self.utts)}

    @property
    def in_words(self) -> str:
        """Name the seeds: `seeds 1 2 3`, `seed 1`, or `no seeds` where they change nothing."""
        if not self.seeded:
            return "no seeds"
        return f"seed{'s' * (len(self.seeds) > 1)} {' '.join(map(str, self.seeds))}"

    @property
    def times_seeds(self) -> str:
        """The number of utterances, and of the seeds over which counts are summed: `180 x 3`."""
        n, seeds = len(self.utts), len(self.seeds)
        return f"{n} × {seeds} seeds" if seeds > 1 else str(n)

    def only(self, seeds: Sequence[int]) -> Outputs:
        """Keep some of the seeds."""
        return replace(self, seeds={seed: self.seeds[seed] for seed in seeds})

    def ensemble(self) -> Outputs:
        """Average the posteriors over the seeds: another system, as one network of one fold."""
        return replace(self, seeds={1: {1: average(list(self.pooled.values()))}})


def load(trained: TrainedExperiment) -> Outputs:
    """Read the posteriors of a finished experiment.

    Raises:
        UserError: a file is broken; or as for `gather`.
    """
    outputs = gather(read_seeds(trained), speakers_table(trained))
    return replace(outputs, seeded=trained.experiment.seeded)


def read_seeds(trained: TrainedExperiment) -> dict[int, dict[int, Posteriors]]:
    """Read the posteriors of a finished experiment's networks, by seed and fold.

    Raises:
        UserError: a file is broken, or is not of the utterances and labels of its fold's test.
    """
    seeds: dict[int, dict[int, Posteriors]] = {}
    experiment = trained.experiment
    labels, left_out = read_table(trained.data / "utt2emo"), skipped(experiment.dumps("test"))
    folds = read_folds(experiment.folds.directory)
    for training in trained.trainings:
        posteriors = read_posteriors(training.directory / POSTERIORS)
        tested = {u: labels[u] for u in folds[training.fold].test if u not in left_out}
        made_by = experiment.made_by("stage 6")
        check_utterances(posteriors, tested, f"run {made_by} with --force true")
        seeds.setdefault(training.seed, {})[training.fold] = posteriors
    return seeds


def check_utterances(posteriors: Posteriors, labels: Mapping[str, str], way_out: str) -> None:
    """Check that posteriors are of the utterances that a fold tests, and of their labels.

    Args:
        labels: the class of each utterance that is tested.

    Raises:
        UserError: they are of others; `way_out` ends the message.
    """
    refs = (posteriors.classes[i] for i in posteriors.refs)
    found = dict(zip(posteriors.utts, refs, strict=True))
    wrong = sorted(utt for utt in {*found, *labels} if found.get(utt) != labels.get(utt))
    if wrong:
        raise UserError(
            f"{posteriors.source}: {wrong[0]} is {found.get(wrong[0], 'not there')}, but of the "
            f"fold's test it is {labels.get(wrong[0], 'not one')}; {way_out}"
        )


def speakers_table(trained: TrainedExperiment) -> Path:
    """Name the table of utterance and speaker of what an experiment tested."""
    return trained.data / "utt2spk"


def gather(
    seeds: Mapping[int, Mapping[int, Posteriors]], utt2cluster: Path | None = None
) -> Outputs:
    """Put the posteriors of networks together.

    Without a table, or where it names no speakers, each utterance is a cluster.

    Raises:
        UserError: seeds differ in their utterances or references; folds overlap; an utterance has
            no speaker.
    """
    first = next(iter(seeds.values()))
    for folds in seeds.values():
        for fold, posteriors in folds.items():
            same_utterances(first[fold], posteriors)
    pooled = concatenate(list(first.values()))
    if utt2cluster is None:
        return _unclustered(seeds, pooled.utts)
    table = read_table(utt2cluster)
    if not speakers_known(table):
        return _unclustered(seeds, pooled.utts)
    return Outputs(seeds, *_clusters(pooled, table, utt2cluster), cluster_name(utt2cluster))


def cluster_name(table: Path | None) -> str:
    """Name what a table divides the utterances into: what an interval leaves out one by one."""
    if table is None:
        return UTTERANCE
    kind = re.fullmatch("utt2([a-z]+)", table.stem)
    return _CLUSTERS.get(kind[1], kind[1]) if kind else "cluster"


def _unclustered(seeds: Mapping[int, Mapping[int, Posteriors]], utts: list[str]) -> Outputs:
    return Outputs(seeds, utts, np.arange(len(utts)), UTTERANCE)


def _clusters(
    posteriors: Posteriors, table: Mapping[str, str], utt2cluster: Path
) -> tuple[list[str], Indices]:
    for utt in posteriors.utts:
        if utt not in table:
            raise UserError(
                f"{utt2cluster} lacks {utt}, which {posteriors.source} has; name the table of that "
                "data"
            )
    names = [table[utt] for utt in posteriors.utts]
    unique, groups = np.unique(names, return_inverse=True)
    return [str(name) for name in unique], groups
