"""Scores of a classifier as functions of its confusion matrix, in percent.

A confusion matrix counts utterances: rows are references, columns are hypotheses. Every score
takes an array of shape (..., K, K) and returns one of shape (...), so that the scores of all
folds, speakers or resamples come from one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


def confusion(refs: npt.ArrayLike, hyps: npt.ArrayLike, n_classes: int) -> Counts:
    """Count the confusion matrix (K, K) of class indices `refs` and `hyps`, both (N,)."""
    one_group = np.zeros(np.shape(refs), int)
    return grouped_confusion(refs, hyps, one_group, n_classes, 1).reshape(n_classes, n_classes)


def grouped_confusion(
    refs: npt.ArrayLike,
    hyps: npt.ArrayLike,
    groups: npt.ArrayLike,
    n_classes: int,
    n_groups: int,
) -> Counts:
    """Count one confusion matrix per group: (G, K, K), `groups` (N,) holding 0 ... G-1."""
    counts = np.zeros((n_groups, n_classes, n_classes), np.int64)
    np.add.at(counts, (np.asarray(groups), np.asarray(refs), np.asarray(hyps)), 1)
    return counts


def wa(counts: npt.ArrayLike) -> Array:
    """Compute weighted accuracy, the share of right utterances; 0 where there are none."""
    n = np.asarray(counts, float)
    return 100 * _ratio(_hits(n).sum(-1), n.sum((-2, -1)))


def ua(counts: npt.ArrayLike) -> Array:
    """Compute unweighted accuracy, the mean recall over the classes that have references."""
    n = np.asarray(counts, float)
    present = n.sum(-1) > 0
    return 100 * _ratio(_ratio(_hits(n), n.sum(-1)).sum(-1), present.sum(-1))


def wf1(counts: npt.ArrayLike) -> Array:
    """Compute weighted F1, the mean of the classes' F1 weighted by their references."""
    n = np.asarray(counts, float)
    return 100 * _ratio((f1(n) * n.sum(-1)).sum(-1), n.sum((-2, -1)))


def macro_f1(counts: npt.ArrayLike) -> Array:
    """Compute the mean F1 over the classes that occur, as a reference or as a hypothesis.

    As `sklearn.metrics.f1_score(average="macro")` does when no labels are named.
    """
    n = np.asarray(counts, float)
    present = n.sum(-1) + n.sum(-2) > 0
    return 100 * _ratio(f1(n).sum(-1), present.sum(-1))


def f1(counts: npt.ArrayLike) -> Array:
    """Compute F1 of each class, (..., K), from 0 to 1; 0 for a class that does not occur."""
    n = np.asarray(counts, float)
    return _ratio(2 * _hits(n), n.sum(-1) + n.sum(-2))


def recall(counts: npt.ArrayLike) -> Array:
    """Compute recall of each class, (..., K), from 0 to 1; 0 for a class without references."""
    n = np.asarray(counts, float)
    return _ratio(_hits(n), n.sum(-1))


def precision(counts: npt.ArrayLike) -> Array:
    """Compute precision of each class, (..., K), from 0 to 1; 0 for one without hypotheses."""
    n = np.asarray(counts, float)
    return _ratio(_hits(n), n.sum(-2))


@dataclass(frozen=True)
class Metric:
    """A score, as a function of confusion matrices (..., K, K), and its place in the tables.

    Attributes:
        title: the heading of its columns.
        meaning: a definition in words, which completes "<title> is".
        headline: whether the tables of RESULTS.md show it; files of numbers have all metrics.
        in_studies: whether it is in those tables of a study that the paper does not have.
    """

    title: str
    score: Callable[[npt.ArrayLike], Array]
    meaning: str
    headline: bool = False
    in_studies: bool = False

    def __call__(self, counts: npt.ArrayLike) -> Array:
        """Compute the score (...), in percent."""
        return self.score(counts)


# The one table of metrics; tables and files have them in this order.
METRICS = {
    "wa": Metric("WA", wa, "the share of utterances that are right",
                 headline=True, in_studies=True),
    "ua": Metric("UA", ua, "the mean recall over the classes (what guessing gives is in the last "
                 "row)", headline=True, in_studies=True),
    "wf1": Metric("WF1", wf1, "the mean F1 of the classes weighted by their frequency",
                  headline=True),
    "macro_f1": Metric("macro F1", macro_f1, "the mean F1 of the classes"),
}  # fmt: skip
HEADLINES = {name: metric for name, metric in METRICS.items() if metric.headline}


UNBALANCED = 2  # how many times the smallest class the largest may be, and be called balanced


def unbalanced(references: npt.ArrayLike) -> bool:
    """Whether classes with so many references, (K,), are unbalanced; those without do not count."""
    n = np.asarray(references)
    return bool(n.max(initial=0) > UNBALANCED * n[n > 0].min(initial=n.max(initial=0)))


def _hits(n: Array) -> Array:
    return np.diagonal(n, axis1=-2, axis2=-1)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; 0 where the denominator is 0."""
    return np.divide(
        numerator, denominator, out=np.zeros(np.shape(numerator)), where=np.asarray(denominator) > 0
    )
