"""Official splits: which official fold has an utterance in which part."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection

from cfia.corpus.columns import UNKNOWN
from cfia.corpus.rows import Row
from cfia.errors import UserError

WORDS = ("train", "valid", "test", "-")
_NUMBERS = re.compile(r"(\d+)")


def check_split(split: str, row: Row) -> str:
    """Require the words of utt2split: a part for each official fold.

    Raises:
        UserError: there is another word.
    """
    words = split.split()
    for word in words:
        if word not in WORDS:
            raise UserError(
                f"{row.source}: the split is {word!r}, not {', '.join(WORDS)}; say in corpus.yaml "
                f"what it is, codes: {{split: {{{word}: train}}}}"
            )
    return sys.intern(" ".join(words))


def splits_of_folds(folds: Collection[str]) -> dict[str, str]:
    """Give utt2split's words for the fold in which an utterance is tested: it trains the others.

    Folds stand in the order of the numbers in their names. One of the fold `-` is never tested.

    Raises:
        UserError: there is one fold only.
    """
    names = sorted(set(folds) - {UNKNOWN}, key=_natural)
    if len(names) < 2:
        raise UserError(
            f"corpus.yaml: the column fold is {', '.join(names) or UNKNOWN} in all rows; a fold "
            "tests what others train, so two are needed: use the column split"
        )
    return {
        fold: " ".join("test" if name == fold else "train" for name in names)
        for fold in (*names, UNKNOWN)
    }


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in _NUMBERS.split(name)]
