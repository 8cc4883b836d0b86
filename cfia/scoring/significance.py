r"""Paired tests of two systems on the same utterances.

The primary test flips the signs of the clusters' (speakers') contributions to a difference. If
the two systems are equally good, which of them was called A on a speaker is arbitrary, so every
pattern of signs is as likely; all 2^G of them are tried. McNemar's test and the sign-flip over
utterances are common in the literature, but take the utterances of a speaker as independent.

With several seeds a contribution is the mean over a system's seeds of what single networks
contribute. What the two speakers of a session share of their network's luck has one sign for
both, which flips of speakers cannot know: in the simulation (tests/slow/test_coverage.py) they
err in up to 13 % of cases where 5 was asked. Flips of whole sessions would hold the level, but
with five of them p is never below 0.06. So the difference counts as less, by the ratio in which
that luck widens an interval (`cfia.scoring.luck`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.metrics import Array
from cfia.scoring.luck import Indices, reach, shared_freedom, shared_networks, shared_variance

# All patterns of signs are tried for up to so many contributions, else RESAMPLES random ones.
EXACT_UP_TO = 16
RESAMPLES = 9999
SEED = 1

UTTERANCE = "utterance"  # the cluster where nobody knows who speaks
INDEPENDENT = "takes utterances as independent"


@dataclass(frozen=True)
class Answers:
    """Which utterances the networks of a system had right.

    Attributes:
        right: for each seed and utterance, (S, N).
        folds: the fold of each utterance, (N,), from 0: whose networks tested it.
        seeded: whether another seed would give other networks.
    """

    right: npt.NDArray[np.bool_]
    folds: Indices
    seeded: bool = True


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
        cluster: what a cluster is, in a word.
        ua, wa: difference of the scores, each the mean over its system's seeds.
        p_ua, p_wa: sign-flip over the clusters.
        detectable: the smallest UA difference found with 80 % power at the level 0.05, by
            Student's t on the clusters' contributions.
        seeds: how much other seeds would change the UA difference, a standard deviation; None
            where a system has one seed, and where neither has any.
        mcnemar, p_utterance: McNemar's exact test, and the sign-flip over utterances of UA;
            both take utterances as independent, and are None where a system has several seeds.
    """

    n: int
    clusters: int
    cluster: str
    ua: float
    wa: float
    p_ua: Test
    p_wa: Test
    detectable: float | None
    seeds: float | None
    mcnemar: float | None
    p_utterance: Test | None


@dataclass(frozen=True)
class _Difference:
    """The contributions of the clusters to a difference, and what they share.

    Attributes:
        values: of each cluster that has utterances, (G,), mean over the seeds, A - B.
        shared: the variance that their sum has beyond them (`shared_variance`).
        freedom: its degrees of freedom.
        seeds: as of `Comparison`.
    """

    values: Array
    shared: float
    freedom: int
    seeds: float | None


def compare(
    refs: npt.NDArray[np.int64],
    a: Answers,
    b: Answers,
    clusters: npt.ArrayLike,
    cluster: str = "speaker",
    *,
    paired: bool = False,
) -> Comparison:
    """Compare two systems.

    Args:
        refs: class of each utterance, (N,), from 0.
        a: what system A had right.
        b: what system B had right, of the same utterances.
        clusters: cluster of each utterance, (N,), from 0.
        cluster: what a cluster is, in a word.
        paired: whether both are the same networks, seed by seed, tested with something else: what
            they have by luck is in both, and what a seed makes of the difference is luck alone.
    """
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
    weights = utterance_weights(refs)
    wa, ua = (_difference(weight, a, b, groups, paired=paired) for weight in weights)
    one_seed = len(a.right) == len(b.right) == 1
    by_utterance = weights[1] * (a.right.mean(0) - b.right.mean(0))
    return Comparison(
        n=len(refs),
        clusters=len(ua.values),
        cluster=cluster,
        ua=float(ua.values.sum()),
        wa=float(wa.values.sum()),
        p_ua=sign_flip(ua.values, ua.shared, ua.freedom),
        p_wa=sign_flip(wa.values, wa.shared, wa.freedom),
        detectable=smallest_detectable(ua.values, ua.shared),
        seeds=ua.seeds,
        mcnemar=mcnemar(a.right[0], b.right[0]) if one_seed else None,
        p_utterance=sign_flip(by_utterance) if one_seed else None,
    )


def utterance_weights(refs: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Compute what each utterance adds to WA and to UA where it is right, both (N,), in points.

    An utterance of a class with n_c references, out of K classes present, adds 100 / (K n_c) to
    UA, so that the sums are the scores themselves.
    """
    references = np.bincount(refs)
    present = (references > 0).sum()
    return np.full(len(refs), 100 / len(refs)), 100 / (present * references[refs])


def compare_losses(
    refs: npt.NDArray[np.int64],
    first: tuple[Answers, Answers],
    second: tuple[Answers, Answers],
    clusters: npt.ArrayLike,
) -> tuple[float, Test]:
    """Compare what two systems lose of UA where the same networks are tested otherwise.

    Args:
        refs, clusters: as for `compare`.
        first: what one system had right before and after, by the same seeds.
        second: the same of the other.

    Returns:
        The first system's loss less that of the second, in points, and whether it is 0.
    """
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
    weights = utterance_weights(refs)[1]
    a, b = (_difference(weights, *pair, groups, paired=True) for pair in (first, second))
    values = a.values - b.values
    test = sign_flip(values, a.shared + b.shared, a.freedom + b.freedom)
    return float(values.sum()), test


def _difference(
    weights: Array, a: Answers, b: Answers, groups: Indices, *, paired: bool
) -> _Difference:
    def by_cluster(right: npt.NDArray[Any]) -> Array:
        return np.bincount(groups, weights * right).astype(float)

    # Right or not, (S, N), of what has luck of its own: each system, or both together.
    one = [(a.right.astype(float) - b.right, a.folds)] if paired and a.seeded else []
    independent = one or [(system.right, system.folds) for system in (a, b) if system.seeded]
    shared, freedom, of_seeds = 0.0, 0, []
    for of_seed, folds in independent:
        blocks = shared_networks(groups, folds)
        by_seed = np.array([by_cluster(right) for right in of_seed])
        shared += float(shared_variance(by_seed, blocks))
        freedom += shared_freedom(len(by_seed), blocks)
        if len(by_seed) > 1:
            of_seeds.append(float(by_seed.sum(1).var(ddof=1)) / len(by_seed))
    known = of_seeds and len(of_seeds) == len(independent)
    seeds = float(np.sqrt(sum(of_seeds))) if known else None
    values = by_cluster(a.right.mean(0) - b.right.mean(0))
    return _Difference(values, shared, freedom, seeds)


def sign_flip(values: npt.ArrayLike, shared: float = 0.0, freedom: int = 0) -> Test:
    """Test whether the sum of `values`, (G,), is 0, two-sided, by flips of their signs.

    Exact for up to EXACT_UP_TO values that are not 0; beyond that RESAMPLES random patterns,
    always the same ones.

    Args:
        values: the contributions.
        shared: a variance that their sum has besides; the sum counts as less by the ratio in
            which it would widen an interval.
        freedom: the degrees of freedom of `shared`.
    """
    from scipy import stats

    moving = np.asarray(values, float)
    moving = moving[np.round(moving, 9) != 0]
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
    reached = np.round(result.statistic * lessened(moving, shared, freedom), 9)
    # scipy's own p-value but for `reached`: a pattern that was drawn counts itself among them.
    flipped, itself = result.null_distribution, int(not exact)
    one_sided = min((flipped >= reached).sum(), (flipped <= reached).sum()) + itself
    return Test(min(1.0, 2 * float(one_sided) / (len(flipped) + itself)), exact)


def lessened(values: Array, shared: npt.ArrayLike, freedom: int) -> Array:
    """Compute the ratio, (...), in which sums of `values` (..., G) count less for what they share.

    That is the reach of the spread of the values over the reach of both, and 1 where `shared`
    (...), of so many degrees of freedom, is 0.
    """
    own, both = np.square(values).sum(-1), np.asarray(shared, float)
    freedoms = (values.shape[-1] - 1, freedom)
    alone, together = (reach(own, part, freedoms, 0.95) for part in (0 * both, both))
    return np.asarray(np.where(both > 0, alone / together, 1.0))


def _rounded_sum(values: Array, axis: int) -> Array:
    """Add values so that equal differences are equal, whatever the order of the additions."""
    return np.asarray(np.round(values.sum(axis=axis), 9))


def smallest_detectable(
    values: Array, shared: float = 0.0, level: float = 0.05, power: float = 0.8
) -> float | None:
    """Compute the smallest difference, a sum like that of `values` (G,), found with this power.

    By Student's t on the contributions, and a variance that they share (as for `sign_flip`); None
    for fewer than two.
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return None
    error = np.sqrt(n * np.var(values, ddof=1) + n / (n - 1) * shared)
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
