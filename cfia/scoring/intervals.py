r"""Confidence intervals for scores whose utterances come in clusters, such as speakers.

Utterances of one speaker are alike, so the speakers are the sample: with ten of them, intervals
that count utterances, or resample speakers by a percentile bootstrap, are too short. Here the
standard error is the delete-one-cluster jackknife's, taken with Student's t on G - 1 degrees of
freedom (Efron and Stein 1981; Cameron and Miller 2015 call it CV3), on the logit scale, which
keeps the interval within 0 to 100 and makes it lean the right way near the ends:

    V = (G-1)/G \sum_g (\theta_{-g} - mean)^2,
    logit(\theta) \pm t_{G-1} \sqrt{V} / (\theta (1 - \theta)).

tests/slow/test_coverage.py holds the simulation that it was chosen by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cfia.metrics import METRICS, Array, Counts

Score = Callable[[npt.ArrayLike], Array]  # such as a Metric


def intervals(
    counts: Counts, seeds: Counts | None = None, level: float = 0.95
) -> dict[str, list[float] | None]:
    """Compute the intervals of all scores of one system, in percent: {"wa": [lo, hi], ...}.

    Args:
        counts: confusion matrix of each cluster, (G, K, K); empty clusters are ignored.
        seeds: the same for each seed alone, (S, G, K, K), where `counts` is of the mean
            of their posteriors.
        level: how often the interval is to cover.

    Returns:
        None in place of an interval where there are fewer than two clusters.
    """
    filled = counts.sum((-2, -1)) > 0
    if filled.sum() < 2:
        return dict.fromkeys(METRICS)
    by_seed = seeds[:, filled] if seeds is not None and len(seeds) > 1 else None
    ends = {
        name: interval(score, counts[filled], by_seed, level) for name, score in METRICS.items()
    }
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def interval(
    score: Score, counts: Counts, seeds: Counts | None = None, level: float = 0.95
) -> tuple[Array, Array]:
    """Compute the interval of one score of METRICS, in percent, over any leading axes.

    Args:
        score: a function of confusion matrices (..., K, K).
        counts: (..., G, K, K), G >= 2.
        seeds: (..., S, G, K, K), S >= 2, or None for one seed, whose variance is unknown.
        level: how often the interval is to cover.

    Returns:
        Low and high ends, each (...).
    """
    from scipy import stats

    n_clusters = counts.shape[-3]
    theta = score(counts.sum(-3)) / 100
    variance = jackknife_variance(_leave_one_out(score, counts))
    inside = (variance > 0) & (theta > 0) & (theta < 1)
    p = np.where(inside, theta, 0.5)
    variance = variance / (p * (1 - p)) ** 2
    if seeds is not None:
        variance = variance + _seed_variance(score, seeds)
    reach = stats.t.ppf((1 + level) / 2, n_clusters - 1) * np.sqrt(variance)
    centre = np.log(p / (1 - p))
    low, high = _exact(theta, n_clusters, level)
    return (
        100 * np.where(inside, 1 / (1 + np.exp(reach - centre)), low),
        100 * np.where(inside, 1 / (1 + np.exp(-reach - centre)), high),
    )


def jackknife_variance(left_out: Array) -> Array:
    """Compute the variance (...) of an estimate from its values (..., G) without each cluster."""
    n_clusters = left_out.shape[-1]
    deviations: Array = left_out - left_out.mean(-1, keepdims=True)
    return np.asarray((n_clusters - 1) / n_clusters * (deviations**2).sum(-1))


def _leave_one_out(score: Score, counts: Counts) -> Array:
    """Compute scores (..., G), from 0 to 1, with each cluster left out."""
    return np.asarray(score(counts.sum(-3, keepdims=True) - counts) / 100)


def _seed_variance(score: Score, seeds: Counts) -> Array:
    """Estimate the variance (...), in logits, that seeds add to the score of mean posteriors.

    The variance component of the seed, in a two-way analysis of variance without replication of
    the jackknife's pseudo-values (seeds by clusters), over the number of seeds. What a seed does
    differently to each cluster is in the jackknife's variance already. In logits, because mean
    posteriors can be far better than those of one seed.
    """
    n_seeds, n_clusters = seeds.shape[-4:-2]
    whole = np.asarray(score(seeds.sum(-3)) / 100)[..., None]
    pseudo = n_clusters * whole - (n_clusters - 1) * _leave_one_out(score, seeds)
    by_seed = pseudo.mean(-1, keepdims=True)
    by_cluster = pseudo.mean(-2, keepdims=True)
    rest = pseudo - by_seed - by_cluster + pseudo.mean((-2, -1), keepdims=True)
    mixed = (rest**2).sum((-2, -1)) / ((n_seeds - 1) * (n_clusters - 1))
    between = by_seed[..., 0].var(-1, ddof=1) - mixed / n_clusters
    single = np.asarray(whole.mean((-2, -1)))
    slope = np.maximum(single * (1 - single), 1e-9)  # 0 where all seeds are without an error
    return np.asarray(np.maximum(between, 0) / n_seeds / slope**2)


def _exact(theta: Array, n_clusters: int, level: float) -> tuple[Array, Array]:
    """Compute the Clopper-Pearson interval with the clusters as trials, from 0 to 1.

    For clusters that do not differ at all, as at 100 %, the jackknife knows no variance. Taking
    each cluster for one trial holds whatever its utterances have in common.
    """
    from scipy import stats

    hits = theta * n_clusters
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, np.maximum(hits, 1e-9), n_clusters - hits + 1)
    high = stats.beta.ppf(1 - tail, hits + 1, np.maximum(n_clusters - hits, 1e-9))
    return np.where(hits > 0, low, 0.0), np.where(hits < n_clusters, high, 1.0)
