r"""Paired tests of two systems on the same utterances.

The primary test flips the signs of the clusters' (speakers') contributions to a difference. If
the two systems are equally good, which of them was called A on a speaker is arbitrary, so every
pattern of signs is as likely; all 2^G of them are tried. McNemar's test and the sign-flip over
utterances are common in the literature, but take the utterances of a speaker as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cfia.metrics import Array
from cfia.posteriors import Posteriors

# All patterns of signs are tried for up to so many contributions, else RESAMPLES random ones.
EXACT_UP_TO = 16
RESAMPLES = 9999
SEED = 1

INDEPENDENT = "takes utterances as independent"


@dataclass(frozen=True)
class Test:
    """A two-sided p-value; `exact` is false where the patterns of signs were sampled."""

    p: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """System A against system B, differences A - B in points of percent.

    Attributes:
        n, clusters: the numbers of utterances and of clusters.
        ua, wa: difference of the scores.
        p_ua, p_wa: sign-flip over the clusters.
        detectable: the smallest UA difference found with 80 % power at the level 0.05, by
            Student's t on the clusters' contributions.
        mcnemar, p_utterance: McNemar's exact test, and the sign-flip over utterances of UA;
            both take utterances as independent.
    """

    n: int
    clusters: int
    ua: float
    wa: float
    p_ua: Test
    p_wa: Test
    detectable: float | None
    mcnemar: float
    p_utterance: Test


def compare(a: Posteriors, b: Posteriors, clusters: npt.ArrayLike) -> Comparison:
    """Compare two systems.

    Args:
        a: posteriors of system A.
        b: posteriors of system B, of the same utterances and references
            (`cfia.posteriors.same_utterances`).
        clusters: cluster of each utterance, (N,), from 0.
    """
    groups = np.asarray(clusters)
    wa, ua = contributions(a, b)
    wa_clusters, ua_clusters = np.bincount(groups, wa), np.bincount(groups, ua)
    return Comparison(
        n=len(a.utts),
        clusters=len(np.unique(groups)),
        ua=float(ua.sum()),
        wa=float(wa.sum()),
        p_ua=sign_flip(ua_clusters),
        p_wa=sign_flip(wa_clusters),
        detectable=smallest_detectable(ua_clusters[np.unique(groups)]),
        mcnemar=mcnemar(a.hyps == a.refs, b.hyps == b.refs),
        p_utterance=sign_flip(ua),
    )


def contributions(a: Posteriors, b: Posteriors) -> tuple[Array, Array]:
    """Compute what each utterance adds to WA and to UA, A - B, both (N,), in points.

    An utterance of a class with n_c references, out of K classes present, adds 100 / (K n_c) to
    UA where it is right, so that the sums are the differences themselves.
    """
    right = (a.hyps == a.refs).astype(float) - (b.hyps == b.refs)
    references = np.bincount(a.refs, minlength=len(a.classes))
    present = (references > 0).sum()
    return 100 * right / len(right), 100 * right / (present * references[a.refs])


def sign_flip(values: npt.ArrayLike) -> Test:
    """Test whether the sum of `values`, (G,), is 0, two-sided, by flips of their signs.

    Exact for up to EXACT_UP_TO values that are not 0; beyond that RESAMPLES random patterns,
    always the same ones.
    """
    from scipy import stats

    moving = np.asarray(values, float)
    moving = moving[moving != 0]
    exact = len(moving) <= EXACT_UP_TO
    if len(moving) < 2:  # whatever the sign, the sum is as far from 0
        return Test(1.0, exact)
    result = stats.permutation_test(
        (moving,),
        _rounded_sum,
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=np.inf if exact else RESAMPLES,
        batch=1024,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    return Test(float(result.pvalue), exact)


def _rounded_sum(values: Array, axis: int) -> Array:
    """Add values so that equal differences are equal, whatever the order of the additions."""
    return np.asarray(np.round(values.sum(axis=axis), 9))


def smallest_detectable(values: Array, level: float = 0.05, power: float = 0.8) -> float | None:
    """Compute the smallest difference, a sum like that of `values` (G,), found with this power.

    By Student's t on the contributions; None for fewer than two.
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return None
    error = np.sqrt(n * np.var(values, ddof=1))
    return float((stats.t.ppf(1 - level / 2, n - 1) + stats.t.ppf(power, n - 1)) * error)


def mcnemar(a_right: npt.NDArray[np.bool_], b_right: npt.NDArray[np.bool_]) -> float:
    """Compute McNemar's exact p-value, two-sided, of (N,); it takes utterances as independent."""
    from scipy import stats

    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    one_sided = float(stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5))
    return min(1.0, 2 * one_sided)  # above 1 where as many are right on either side


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for all tests of one table (Holm 1979)."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    # The smallest of m counts m times, the next m - 1 times, and none less than those before it.
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected[order] = np.minimum(1, stepped)
    return [float(value) for value in corrected]
