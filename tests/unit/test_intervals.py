"""The cluster interval: worked examples, edges, and a quick look at how often it covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cfia.metrics import METRICS, Array, Counts, ua, wa
from cfia.scoring.intervals import (
    Score,
    difference_interval,
    interval,
    intervals,
    jackknife_variance,
)


def speakers(hits: npt.ArrayLike, n: int = 20) -> Counts:
    """Two classes of n / 2 utterances each per speaker, `hits` (..., G, 2) of them right."""
    right = np.asarray(hits)
    wrong = n // 2 - right
    rows = [
        np.stack([right[..., 0], wrong[..., 0]], -1),
        np.stack([wrong[..., 1], right[..., 1]], -1),
    ]
    return np.stack(rows, -2)


def one_seed(counts: Counts) -> dict[str, list[float] | None]:
    return intervals(counts[None])


def ends(score: Score, counts: Counts, level: float = 0.95) -> tuple[Array, Array]:
    """The interval of one network's score, counts (..., G, 2, 2)."""
    return interval(score, counts[..., None, :, :, :], np.arange(counts.shape[-3]), level)


def test_equal_speakers_give_the_t_interval_of_their_mean_on_the_logit_scale() -> None:
    # With equal sizes WA is the mean over speakers, and its jackknife the usual standard error.
    hits = [[8, 7], [9, 9], [6, 8], [7, 7], [10, 9]]
    accuracies = np.sum(hits, axis=1) / 20
    theta = accuracies.mean()
    error = accuracies.std(ddof=1) / np.sqrt(5) / (theta * (1 - theta))
    reach = stats.t.ppf(0.975, 4) * error
    logit = np.log(theta / (1 - theta))
    expected = [100 / (1 + np.exp(-(logit - reach))), 100 / (1 + np.exp(-(logit + reach)))]
    assert ends(wa, speakers(hits)) == pytest.approx(tuple(expected))


def test_a_wider_level_and_more_varied_speakers_make_it_wider() -> None:
    alike, varied = [[8, 8], [9, 7], [7, 9], [9, 8]], [[10, 10], [4, 6], [9, 9], [7, 8]]

    def width(hits: list[list[int]], level: float = 0.95) -> float:
        low, high = ends(ua, speakers(hits), level)
        return float(high - low)

    assert width(alike) < width(varied) < width(varied, 0.99)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=12))
def test_it_stays_within_0_and_100_and_holds_the_score(hits: list[tuple[int, int]]) -> None:
    counts = speakers(hits)
    assume(counts.sum((0, 1)).all())  # who answers one class alone has no interval
    for name, found in one_seed(counts).items():
        assert found is not None
        low, high = found
        score = float(METRICS[name](counts.sum(0)))
        assert 0 <= low <= score + 1e-9, name
        assert score - 1e-9 <= high <= 100, name
        assert low < high, name


def test_speakers_without_an_error_are_not_taken_for_certainty() -> None:
    perfect = one_seed(speakers([[10, 10]] * 10))["wa"]
    assert perfect == pytest.approx([100 * 0.025**0.1, 100])
    nothing = one_seed(speakers([[0, 0]] * 10))["wa"]
    assert nothing == pytest.approx([0, 100 - 100 * 0.025**0.1])
    equal = one_seed(speakers([[8, 7]] * 10))["wa"]
    assert equal is not None
    assert equal[0] < 60
    assert equal[1] > 90


def test_one_speaker_has_no_interval() -> None:
    assert one_seed(speakers([[8, 7]])) == dict.fromkeys(METRICS)
    # A cluster without utterances is none.
    one_and_nobody = np.concatenate([speakers([[8, 7]]), np.zeros((1, 2, 2), int)])
    assert one_seed(one_and_nobody) == dict.fromkeys(METRICS)
    with_nobody = np.concatenate([speakers([[8, 7], [9, 9]]), np.zeros((1, 2, 2), int)])
    assert one_seed(with_nobody) == one_seed(speakers([[8, 7], [9, 9]]))


def test_a_class_that_one_speaker_alone_has() -> None:
    counts = np.zeros((4, 3, 3), int)
    counts[:, :2, :2] = speakers([[8, 7], [9, 9], [6, 8], [7, 7]])
    counts[1, 2] = [0, 1, 3]
    for name, found in one_seed(counts).items():
        assert found is not None
        assert found[0] < METRICS[name](counts.sum(0)) < found[1]


def seeds(*moves: npt.ArrayLike) -> Counts:
    """Five speakers, of whom each seed moves how many utterances are right, (S, 5, 2, 2)."""
    base = np.array([[8, 7], [9, 9], [6, 8], [7, 7], [9, 8]])
    return np.stack([speakers(base + np.asarray(move)) for move in moves])


def half_width(counts: Counts, blocks: npt.ArrayLike) -> float:
    """Half the interval of UA, from 0 to 1, as it is before the logit scale bends it."""
    found = intervals(counts, np.asarray(blocks))["ua"]
    assert found is not None
    theta = float(np.mean(ua(counts.sum(1)))) / 100
    logit = np.log(found[1] / (100 - found[1])) - np.log(theta / (1 - theta))
    return float(logit * theta * (1 - theta))


def test_the_mean_over_seeds_that_agree_has_the_interval_of_one() -> None:
    one = intervals(seeds(0))
    for blocks in (range(5), [0] * 5, [0, 0, 1, 1, 2]):
        for name, found in intervals(seeds(0, 0, 0), np.array(blocks)).items():
            assert found == pytest.approx(one[name])


def test_luck_that_all_speakers_share_is_added() -> None:
    # One fold: every speaker moves by a tenth from seed to seed, and so does the score.
    luck = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    expected = np.hypot(half_width(seeds(0), range(5)), luck)
    assert half_width(seeds(-1, 0, 1), [0] * 5) == pytest.approx(expected)


def test_luck_of_a_session_is_added_as_the_covariance_of_its_speakers() -> None:
    moves = [[[1, 0]] * 2 + [[-1, 0]] * 3, [[0, 0]] * 5, [[-1, 0]] * 2 + [[1, 0]] * 3]
    # By speaker UA is their mean recall, so what they add is their share of right answers.
    added = 0.05 * np.array([[1, 1, -1, -1, -1], [0] * 5, [-1, -1, 1, 1, 1]])
    covariance = np.cov(added, rowvar=False)
    shared = sum(covariance[g, h] + covariance[h, g] for g, h in ((0, 1), (2, 3))) / 3 / (5 * 4)
    luck = stats.t.ppf(0.975, 3 * 2) * np.sqrt(shared)  # three folds of three seeds
    expected = np.hypot(half_width(seeds(0), range(5)), luck)
    assert half_width(seeds(*moves), [0, 0, 1, 1, 2]) == pytest.approx(expected)


def test_where_each_speaker_is_a_fold_nothing_is_added() -> None:
    moves = [[[1, 1], [-1, -1], [1, 1], [-1, -1], [0, 0]], [[-1, -1], [1, 1]] * 2 + [[0, 0]]]
    assert intervals(seeds(*moves))["wa"] == pytest.approx(intervals(seeds(0))["wa"])
    assert intervals(seeds(-1, 0, 1))["wa"] == pytest.approx(intervals(seeds(0))["wa"])


def of_difference(score: Score, a: Counts, b: Counts, blocks: npt.ArrayLike) -> tuple[float, float]:
    low, high = difference_interval(score, a, b, (np.asarray(blocks), np.asarray(blocks)))
    return float(low), float(high)


HITS = st.lists(st.tuples(*[st.integers(0, 10)] * 4), min_size=2, max_size=12)


@settings(deadline=None, max_examples=40)
@given(HITS)
def test_a_difference_has_the_t_interval_of_the_speakers_differences(
    hits: list[tuple[int, int, int, int]],
) -> None:
    # With equal sizes WA is the mean over speakers, and so is the difference of two.
    right = np.array(hits)
    a, b = (speakers(right[:, columns])[None] for columns in ([0, 1], [2, 3]))
    differences = 100 * (right[:, :2].sum(1) - right[:, 2:].sum(1)) / 20
    reach = stats.t.ppf(0.975, len(hits) - 1) * stats.sem(differences)
    expected = (differences.mean() - reach, differences.mean() + reach)
    assert of_difference(wa, a, b, range(len(hits))) == pytest.approx(expected, abs=1e-9)


def test_the_luck_of_both_systems_is_in_their_difference() -> None:
    steady, lucky = seeds(0, 0, 0), seeds(-1, 0, 1)
    alone = of_difference(ua, seeds(0), seeds(0), range(5))
    assert alone == pytest.approx((0, 0)), "every speaker is the same to both"
    for a, b, freedom, times in (
        (lucky, steady, 4, 1), (steady, lucky, 4, 1), (lucky, lucky, 4, 2),
    ):  # fmt: skip
        reach = stats.t.ppf(0.975, freedom) * 10 * np.sqrt(times / 3)
        found = of_difference(ua, a, b, [0] * 5)
        assert found == pytest.approx((-reach, reach))


def test_who_always_answers_one_class_has_no_interval() -> None:
    counts = speakers([[10, 0], [10, 0], [10, 0]])
    assert one_seed(counts) == dict.fromkeys(METRICS)
    other = speakers([[0, 10], [0, 10], [0, 10]])
    assert intervals(np.stack([counts, other])) == dict.fromkeys(METRICS), "each seed its own"
    counts[0] = speakers([9, 0])
    assert one_seed(counts)["ua"] is not None, "one utterance is enough"


def test_jackknife_variance_of_a_mean_is_the_usual_one() -> None:
    values = np.array([3.0, 5.0, 4.0, 8.0])
    left_out = (values.sum() - values) / 3
    assert jackknife_variance(left_out) == pytest.approx(values.var(ddof=1) / 4)


def test_it_covers_in_ten_speakers_where_a_percentile_bootstrap_does_not() -> None:
    # A quick form of tests/slow/test_coverage.py, with a fixed seed.
    rng = np.random.default_rng(1)
    chance = 1 / (1 + np.exp(-(1.1 + rng.normal(0, 0.6, (2000, 10, 2)))))
    counts = speakers(rng.binomial(10, chance))
    truth = 100 * (1 / (1 + np.exp(-(1.1 + rng.normal(0, 0.6, 10**6))))).mean()
    for score in (wa, ua):
        low, high = ends(score, counts)
        assert 0.93 < np.mean((low <= truth) & (truth <= high)) < 0.97
    drawn = rng.integers(0, 10, (2000, 10, 200))
    resampled = np.take_along_axis(wa(counts)[..., None], drawn, axis=1).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    assert np.mean((low <= truth) & (truth <= high)) < 0.92


def test_speakers_that_differ_in_rounding_alone_do_not_differ() -> None:
    # Each of eight speakers, of 2 utterances of each class, is answered one class throughout.
    counts = np.zeros((8, 4, 4), int)
    for speaker, answer in enumerate([3, 2, 2, 1, 1, 0, 0, 0]):
        counts[speaker, :, answer] = 2
    left_out = ua(counts.sum(0) - counts) / 100
    assert 0 < jackknife_variance(left_out) < 1e-24, "or the example shows nothing"
    found = one_seed(counts)
    assert found["ua"] == pytest.approx(found["wa"])
    assert found["ua"] is not None
    assert found["ua"][1] - found["ua"][0] > 40
