"""The finished runs under an experiment directory: exp/<system>/<scheme>/fold<k>_seed<s>/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.kaldi.table import read_table
from cfia.metrics import Counts
from cfia.posteriors import Posteriors, average, concatenate, read_posteriors, select

_PART = re.compile(r"fold([1-9][0-9]*)_seed([0-9]+)")

# Keys of config.yaml that must be the same in all folds and seeds of one run.
PROTOCOL = ("cv", "validation", "selection", "labels", "corpus", "folds", "text_tags")


@dataclass(frozen=True)
class Part:
    """One fold of one seed: its directory, and the files that say how it was made."""

    directory: Path
    fold: int
    seed: int
    config: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the directory, as in `fold1_seed2`."""
        return self.directory.name


@dataclass(frozen=True)
class Run:
    """One system under one scheme.

    Attributes:
        protocol: the keys PROTOCOL of config.yaml.
        data: the data directory.
        parts: every fold of every seed that has all its folds, by seed and fold.
        missing: names of the parts that other seeds lack, as in `fold3_seed2`.
    """

    directory: Path
    protocol: dict[str, Any]
    data: Path
    parts: list[Part]
    missing: list[str]

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.directory.parent.name

    @property
    def scheme(self) -> str:
        """Name of the scheme: folds, validation, selection, labels."""
        return self.directory.name

    @property
    def oracle(self) -> bool:
        """Whether the epoch was selected on the test fold."""
        return bool(self.protocol["selection"] == "test")

    @property
    def label(self) -> str:
        """The system's name, with the word that must go with every score of an oracle."""
        return f"{self.system} (oracle)" if self.oracle else self.system

    @property
    def finished(self) -> bool:
        """Whether at least one seed has the posteriors of all folds."""
        return bool(self.parts)

    @property
    def exposure(self) -> dict[str, str]:
        """What each encoder had seen of the corpus (conf/exposure.yaml), by its name."""
        made = self.parts[0].provenance
        return {
            made[modality]["name"]: made[modality].get("exposure", "unknown")
            for modality in ("audio", "text")
            if made.get(modality)
        }

    @property
    def exposure_text(self) -> str:
        """The same as a cell of a table, `emotion2vec: audio, bert: none`."""
        return ", ".join(f"{name}: {seen}" for name, seen in self.exposure.items())

    @property
    def lacks(self) -> str:
        """What a run, or some of its seeds, lack, in words."""
        what = "these seeds are left out" if self.finished else "left out of the tables"
        return f"no posteriors of {' '.join(self.missing)}; {what}"


@dataclass(frozen=True)
class Outputs:
    """Posteriors of a finished run.

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

    def by_speaker(self, utts: Sequence[str] | None = None) -> Counts:
        """Confusion matrix of each speaker, (G, K, K), of all utterances or of `utts`, sorted."""
        return self._by_speaker(self.pooled, utts)

    def by_seed_and_speaker(self, utts: Sequence[str] | None = None) -> Counts:
        """The same for each seed's own posteriors, (S, G, K, K)."""
        pooled = [concatenate(list(folds.values())) for folds in self.seeds.values()]
        return np.array([self._by_speaker(one, utts) for one in pooled])

    def _by_speaker(self, posteriors: Posteriors, utts: Sequence[str] | None) -> Counts:
        if utts is None:
            return posteriors.confusion(self.groups, len(self.speakers))
        group = dict(zip(self.pooled.utts, self.groups.tolist(), strict=True))
        chosen = select(posteriors, utts)
        return chosen.confusion([group[utt] for utt in utts], len(self.speakers))


def find_runs(expdir: Path) -> list[Run]:
    """All runs that have begun, by scheme and system.

    Raises:
        UserError: `expdir` is not there or holds no run; parts of one run were made differently.
    """
    if not expdir.is_dir():
        raise UserError(f"{expdir} is not there; run stages 5 and 6 (training, posteriors) first")
    found: dict[Path, list[tuple[int, int, Path]]] = {}
    for path in expdir.glob("*/*/fold*_seed*/config.yaml"):
        match = _PART.fullmatch(path.parent.name)
        if match:
            seed_and_fold = (int(match[2]), int(match[1]), path.parent)
            found.setdefault(path.parent.parent, []).append(seed_and_fold)
    if not found:
        raise UserError(f"{expdir} holds no training; run stages 5 and 6 first")
    order = sorted(found, key=lambda path: (path.name, path.parent.name))
    return [_run(directory, sorted(found[directory])) for directory in order]


def _run(directory: Path, found: list[tuple[int, int, Path]]) -> Run:
    parts = [_part(fold, seed, path) for seed, fold, path in found]
    for part in parts[1:]:
        _check_same(parts[0], part)
    n_folds = parts[0].config["folds"]
    done = {(p.seed, p.fold) for p in parts if (p.directory / "posteriors.tsv").exists()}
    seeds = sorted({part.seed for part in parts})
    lacking = {
        seed: [fold for fold in range(1, n_folds + 1) if (seed, fold) not in done] for seed in seeds
    }
    return Run(
        directory=directory,
        protocol={key: parts[0].config[key] for key in PROTOCOL},
        data=Path(parts[0].config["data"]),
        parts=[p for p in parts if not lacking[p.seed] and p.fold <= n_folds],
        missing=[f"fold{fold}_seed{seed}" for seed in seeds for fold in lacking[seed]],
    )


def _part(fold: int, seed: int, directory: Path) -> Part:
    config = read_yaml(directory / "config.yaml")
    for key in (*PROTOCOL, "data"):
        if key not in config:
            raise UserError(f"{directory / 'config.yaml'} lacks the key {key!r}; train again")
    if not isinstance(config["folds"], int):
        raise UserError(f"{directory / 'config.yaml'}: folds must be a number; train again")
    provenance = directory / "provenance.yaml"
    made = read_yaml(provenance) if provenance.exists() else {}
    return Part(directory, fold, seed, config, made)


def _check_same(a: Part, b: Part) -> None:
    for key in PROTOCOL:
        if a.config[key] != b.config[key]:
            raise UserError(
                f"{b.directory / 'config.yaml'} has {key} {b.config[key]}, but {a.name} beside it "
                f"has {a.config[key]}; delete one and train it again"
            )


def load(run: Run) -> Outputs:
    """Read the posteriors of a finished run.

    Raises:
        UserError: a file is broken; seeds differ in their utterances; folds overlap; an utterance
            has no speaker.
    """
    seeds: dict[int, dict[int, Posteriors]] = {}
    for part in run.parts:
        posteriors = read_posteriors(part.directory / "posteriors.tsv")
        seeds.setdefault(part.seed, {})[part.fold] = posteriors
    numbers = sorted(next(iter(seeds.values())))
    folds = {fold: average([seeds[seed][fold] for seed in sorted(seeds)]) for fold in numbers}
    pooled = concatenate([folds[fold] for fold in numbers])
    speakers, groups = clusters(pooled, run.data / "utt2spk")
    return Outputs(seeds, folds, pooled, speakers, groups)


def clusters(posteriors: Posteriors, utt2spk: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The clusters (speakers) of a table, and the index of each utterance's, (N,).

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
