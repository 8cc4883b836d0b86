r"""Confidence intervals for scores whose utterances come in clusters, such as speakers.

Utterances of one speaker are alike, so the speakers are the sample: with ten of them, intervals
that count utterances, or resample speakers by a percentile bootstrap, are too short. Here the
standard error is the delete-one-cluster jackknife's, taken with Student's t on G - 1 degrees of
freedom (Efron and Stein 1981; Cameron and Miller 2015 call it CV3), on the logit scale, which
keeps the interval within 0 to 100 and makes it lean the right way near the ends:

    V = (G-1)/G \sum_g (\theta_{-g} - mean)^2,
    logit(\theta) \pm t_{G-1} \sqrt{V} / (\theta (1 - \theta)).

With several seeds theta is the mean over the seeds of what single networks score. Its jackknife
has the variance of the speakers and most of that of the seeds; what the speakers of a fold share
of their networks' luck is added (`cfia.scoring.luck`), from the jackknife's pseudo-values.

tests/slow/test_coverage.py holds the simulation that it was chosen by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cfia.metrics import METRICS, Array, Counts
from cfia.scoring.luck import Indices, reach, shared_freedom, shared_variance

# A variance that is none but for rounding: of clusters that do not differ, a sum of squares of
# about 1e-16 each; one utterance of a million that differs makes it 1e-18.
_NONE = 1e-24

Score = Callable[[npt.ArrayLike], Array]  # such as a Metric


def intervals(
    counts: Counts, blocks: Indices | None = None, level: float = 0.95
) -> dict[str, list[float] | None]:
    """Compute the intervals of all scores of one system, in percent: {"wa": [lo, hi], ...}.

    Args:
        counts: confusion matrix of each seed and cluster, (S, G, K, K); clusters that are empty
            are ignored.
        blocks: as for `interval`.
        level: how often the interval is to cover.

    Returns:
        None in place of an interval where there are fewer than two clusters, or where each
        network always answers the same class, so that its score cannot vary.
    """
    filled = counts.sum((0, -2, -1)) > 0
    if filled.sum() < 2 or answers_one_class(counts):
        return dict.fromkeys(METRICS)
    own = np.arange(len(filled)) if blocks is None else blocks
    numbers = np.unique(own[filled], return_inverse=True)[1]
    ends = {
        name: interval(score, counts[:, filled], numbers, level) for name, score in METRICS.items()
    }
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def answers_one_class(counts: Counts) -> bool:
    """Whether each seed's networks answer one class alone, by their counts (S, G, K, K)."""
    answered = counts.sum((1, 2)) > 0
    return bool((answered.sum(-1) == 1).all())


def interval(
    score: Score, counts: Counts, blocks: Indices, level: float = 0.95
) -> tuple[Array, Array]:
    """Compute the interval of the mean over seeds of one score, in percent, over leading axes.

    Args:
        score: a function of confusion matrices (..., K, K), from 0 to 100.
        counts: confusion matrices of single networks, (..., S, G, K, K), G >= 2. For one seed
            what another would change is unknown.
        blocks: for each cluster the number of the block that shares networks, (G,), from 0.
        level: how often the interval is to cover.

    Returns:
        Low and high ends, each (...).
    """
    n_clusters = counts.shape[-3]
    found = _jackknifed(score, counts, blocks)
    theta, variance = found.theta, jackknife_variance(found.left_out)
    inside = (variance > _NONE) & (theta > 0) & (theta < 1)
    p = np.where(inside, theta, 0.5)
    freedom = (n_clusters - 1, found.freedom)
    width = reach(variance, found.shared, freedom, level) / (p * (1 - p))
    centre = np.log(p / (1 - p))
    low, high = _exact(theta, n_clusters, level)
    return (
        100 * np.where(inside, 1 / (1 + np.exp(width - centre)), low),
        100 * np.where(inside, 1 / (1 + np.exp(-width - centre)), high),
    )


def difference_interval(
    score: Score,
    a: Counts,
    b: Counts,
    blocks: tuple[Indices, Indices],
    level: float = 0.95,
) -> tuple[Array, Array]:
    """Compute the interval of the difference a - b of one score of two systems, in points.

    Both are of the same utterances, so what a speaker is to both is not in it: the clusters are
    left out of both at once. What speakers of a fold share of their networks' luck is added of each
    system. A difference may be 0 or negative, so it has no logit scale.

    Args:
        score: as for `interval`.
        a, b: confusion matrices, as for `interval`, of the same clusters; each with its own seeds.
        blocks: as for `interval`, of each system.
        level: how often the interval is to cover.

    Returns:
        Low and high ends, each (...).
    """
    one, other = (_jackknifed(score, *system) for system in zip((a, b), blocks, strict=True))
    variance = jackknife_variance(one.left_out - other.left_out)
    freedom = (a.shape[-3] - 1, one.freedom + other.freedom)
    width = 100 * reach(variance, one.shared + other.shared, freedom, level)
    difference = 100 * (one.theta - other.theta)
    return difference - width, difference + width


@dataclass(frozen=True)
class _Jackknifed:
    """The mean over seeds of one score, from 0 to 1, over leading axes.

    Attributes:
        theta: the mean, (...).
        left_out: the same without each cluster, (..., G).
        shared: the variance that it has besides, (...), and `freedom` its degrees of freedom.
    """

    theta: Array
    left_out: Array
    shared: Array
    freedom: int


def _jackknifed(score: Score, counts: Counts, blocks: Indices) -> _Jackknifed:
    n_seeds, n_clusters = counts.shape[-4:-2]
    of_seeds = score(counts.sum(-3)) / 100
    left_out = score(counts.sum(-3, keepdims=True) - counts) / 100
    pseudo = n_clusters * of_seeds[..., None] - (n_clusters - 1) * left_out
    # Of a mean; the spread about it hides a part of what is shared, which makes G-1 of G.
    shared = shared_variance(pseudo, blocks) / (n_clusters * (n_clusters - 1))
    freedom = shared_freedom(n_seeds, blocks)
    return _Jackknifed(of_seeds.mean(-1), left_out.mean(-2), shared, freedom)


def jackknife_variance(left_out: Array) -> Array:
    """Compute the variance (...) of an estimate from its values (..., G) without each cluster."""
    n_clusters = left_out.shape[-1]
    deviations: Array = left_out - left_out.mean(-1, keepdims=True)
    return np.asarray((n_clusters - 1) / n_clusters * (deviations**2).sum(-1))


def _exact(theta: Array, n_clusters: int, level: float) -> tuple[Array, Array]:
    """Compute the Clopper-Pearson interval with the clusters as trials, from 0 to 1.

    For clusters that do not differ at all, as at 100 %, the jackknife knows no variance. Taking
    each cluster for one trial holds whatever its utterances have in common.
    """
    from scipy import special  # `stats` calls this, and takes a second to load

    hits = theta * n_clusters
    tail = (1 - level) / 2
    low = special.betaincinv(np.maximum(hits, 1e-9), n_clusters - hits + 1, tail)
    high = special.betaincinv(hits + 1, np.maximum(n_clusters - hits, 1e-9), 1 - tail)
    return np.where(hits > 0, low, 0.0), np.where(hits < n_clusters, high, 1.0)
