"""Count the folds that a corpus will have, and their training utterances, before they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cfia.corpus.corpus_conf import CorpusConf
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.options import scheme_kind
from cfia.training.folds import MissingClassError, make_folds
from cfia.training.schemes import ImpossibleError


@dataclass(frozen=True)
class FoldCount:
    """How many folds there can be, 0 where nobody knows yet, or where `reason` says why none.

    `train` is the number of training utterances of a fold, on average.
    """

    number: int
    reason: str = ""
    train: float = 0.0


def count(data: Path, cv: str, validation: str) -> FoldCount:
    """Count those of a data directory, whether or not it has been made."""
    try:
        folds = make_folds(DataDir.load(data, needed=()), cv, validation).values()
    except (ImpossibleError, MissingClassError) as error:
        return FoldCount(0, str(error))
    except UserError:  # no data directory yet, or one that stage 1 has to make again
        return FoldCount(0)
    return FoldCount(len(folds), train=sum(len(fold.train) for fold in folds) / len(folds))


def expected(page: CorpusConf, labels: str, cv: str, validation: str) -> FoldCount:
    """Reckon those of a corpus that is not there yet, by the counts that its page expects."""
    found = {str(name): counts or {} for name, counts in (page.get("expect") or {}).items()}
    counts = found.get(labels, {})
    total = counts.get("total", 0)
    groups = {
        "session": len(counts.get("sessions", ())),
        "speaker": len(counts.get("speakers", ())),
    }
    kind = scheme_kind(cv)
    number = groups.get(kind, 0)
    if kind in ("kfold", "utterance"):
        number = int(cv.removeprefix(kind))
    held = _held_out(validation, number, groups)
    if not (total and number) or held is None:
        return FoldCount(0)
    return FoldCount(number, train=total * (1 - 1 / number) * (1 - held))


def _held_out(validation: str, folds: int, groups: dict[str, int]) -> float | None:
    """Give the share of what is not tested that validates; None where it cannot be reckoned."""
    if match := re.fullmatch(r"random(\d+)", validation):
        return int(match[1]) / 100
    if validation == "none":
        return 0.0
    by = {"partner": "speaker", "next_speaker": "speaker", "next_session": "session"}
    one_in = groups.get(by.get(validation, ""), 0)
    if not one_in or folds < 2:
        return None
    return 1 / one_in / (1 - 1 / folds)
