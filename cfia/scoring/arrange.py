"""Which of several posteriors.tsv are seeds of one system, and which are its folds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.posteriors import Posteriors, in_order


def arrange(files: Sequence[Posteriors]) -> dict[int, dict[int, Posteriors]]:
    """Arrange files by seed and fold, both numbered from 1 in the order in which they are named.

    Files of the same utterances are seeds of one fold, files without a common utterance are folds.

    Raises:
        UserError: a file is named twice; two overlap in part; folds have different numbers of
            seeds.
    """
    for a, b in itertools.combinations(files, 2):
        if Path(a.source).resolve() == Path(b.source).resolve():
            raise UserError(f"{a.source} is named twice; name each file once")
    folds: dict[tuple[str, ...], list[Posteriors]] = {}
    for file in files:
        folds.setdefault(tuple(file.utts), []).append(in_order(file, files[0].classes))
    for (a, *_), (b, *_) in itertools.combinations(folds.values(), 2):
        _check_apart(a, b)
    first, *others = folds.values()
    for other in others:
        if len(other) != len(first):
            raise UserError(
                f"{len(first)} of the files test the utterances of {first[0].source}, but "
                f"{len(other)} those of {other[0].source}; name as many, one for each seed, for "
                "every fold"
            )
    return {
        seed: dict(enumerate(of_seed, start=1))
        for seed, of_seed in enumerate(zip(*folds.values(), strict=True), start=1)
    }


def _check_apart(a: Posteriors, b: Posteriors) -> None:
    """Refuse two files that have some, but not all, of their utterances in common."""
    both = sorted(set(a.utts) & set(b.utts))
    if both:
        whose, alone = (a, b) if set(a.utts) - set(b.utts) else (b, a)
        only = min(set(whose.utts) - set(alone.utts))
        raise UserError(
            f"{a.source} and {b.source} overlap in part: both have {both[0]}, but only "
            f"{whose.source} has {only}; name files of the same utterances (seeds) or of none in "
            "common (folds)"
        )
