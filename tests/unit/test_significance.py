"""The paired tests against values worked out by hand and by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from cfia.posteriors import Posteriors
from cfia.scoring.significance import (
    compare,
    contributions,
    holm,
    mcnemar,
    sign_flip,
    smallest_detectable,
)


def posteriors(refs: list[int], hyps: list[int], k: int = 3) -> Posteriors:
    utts = [f"u{i:04d}" for i in range(len(refs))]
    return Posteriors("made", [f"c{i}" for i in range(k)], utts, np.array(refs), np.eye(k)[hyps])


def enumerated(values: list[float]) -> float:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    return float(np.mean([total >= abs(sum(values)) - 1e-9 for total in sums]))


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 3.0],
        [0.3, -0.1, 0.2, 0.7, 0.0, 1.1, -0.4],
        [0.1, 0.2, -0.3, 0.1, 0.1],
        [5.0, -5.0],
        list(np.random.default_rng(3).normal(0.4, 1, 10)),
    ],
)
def test_sign_flip_is_the_share_of_all_patterns(values: list[float]) -> None:
    found = sign_flip(values)
    assert found.exact
    assert found.p == pytest.approx(enumerated(values))


def test_ten_speakers_of_one_mind_reach_the_smallest_p() -> None:
    assert sign_flip([0.5] * 10).p == pytest.approx(2 / 2**10)


def test_many_contributions_are_sampled_and_always_alike() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 40)
    found = sign_flip(values)
    assert not found.exact
    assert found == sign_flip(values)
    # The normal approximation is near for forty values.
    z = values.sum() / np.sqrt((values**2).sum())
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_identical_systems_have_p_one() -> None:
    a = posteriors([0, 1, 2, 0], [0, 1, 1, 2])
    found = compare(a, a, [0, 0, 1, 1])
    assert (found.ua, found.wa) == (0, 0)
    assert (found.p_ua.p, found.p_wa.p, found.p_utterance.p, found.mcnemar) == (1, 1, 1, 1)
    assert found.p_ua.exact
    assert found.detectable == 0


def test_contributions_sum_to_the_differences_of_ua_and_wa() -> None:
    rng = np.random.default_rng(4)
    refs = rng.choice(3, 50, p=[0.6, 0.3, 0.1])
    a, b = (posteriors(list(refs), list(rng.integers(0, 3, 50)), k=4) for _ in range(2))
    wa, ua = contributions(a, b)
    recalls = [[np.mean(system.hyps[refs == c] == c) for c in range(3)] for system in (a, b)]
    assert ua.sum() == pytest.approx(100 * (np.mean(recalls[0]) - np.mean(recalls[1])))
    assert wa.sum() == pytest.approx(100 * (np.mean(a.hyps == refs) - np.mean(b.hyps == refs)))


def test_swapping_the_systems_turns_the_differences_and_keeps_the_p_values() -> None:
    rng = np.random.default_rng(5)
    refs = list(rng.integers(0, 3, 200))
    a = posteriors(refs, [r if rng.random() < 0.7 else 0 for r in refs])
    b = posteriors(refs, [r if rng.random() < 0.6 else 1 for r in refs])
    speakers = np.arange(200) % 10
    there, back = compare(a, b, speakers), compare(b, a, speakers)
    assert there.clusters == 10
    assert there.n == 200
    assert there.ua == pytest.approx(-back.ua)
    assert there.p_ua.p == pytest.approx(back.p_ua.p)
    assert there.p_wa.p == pytest.approx(back.p_wa.p)
    assert there.mcnemar == pytest.approx(back.mcnemar)
    assert there.detectable == pytest.approx(back.detectable)
    assert 0 < there.p_ua.p < 1


def test_utterances_give_a_smaller_p_than_the_speakers_they_come_from() -> None:
    # Two speakers of a hundred utterances each favour A: two clusters can never convince.
    refs = [0] * 200
    a = posteriors(refs, [0] * 200)
    b = posteriors(refs, [0] * 140 + [1] * 60)
    found = compare(a, b, [0, 1] * 100)
    assert found.p_ua.p == 0.5
    assert found.mcnemar < 1e-6
    assert found.p_utterance.p < 1e-3


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs() -> None:
    a = np.array([True] * 9 + [False] * 2 + [True] * 5)
    b = np.array([False] * 9 + [True] * 2 + [True] * 5)
    assert mcnemar(a, b) == pytest.approx(stats.binomtest(2, 11).pvalue)


# Values of statsmodels 0.15.0: contingency_tables.mcnemar([[0, only_a], [only_b, 0]], exact=True),
# and multitest.multipletests(p_values, method="holm").


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (6, 5, 1.0),
        (0, 4, 0.125),
        (9, 2, 0.0654296875),
        (117, 64, 9.995331947297199e-05),
        (1203, 1311, 0.03281949114625214),
        (0, 60, 1.734723475976807e-18),
    ],
)
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int, p: float) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True, False], bool)
    b = np.array([False] * only_a + [True] * only_b + [True, False], bool)
    assert mcnemar(a, b) == pytest.approx(p, rel=1e-14)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.0312, 0.5, 0.0019, 0.5, 0.04, 1.0], [0.156, 1.0, 0.0114, 1.0, 0.16, 1.0]),
        ([0.2, 0.013, 0.013, 0.0004], [0.2, 0.039, 0.039, 0.0016]),
    ],
)
def test_holm_is_that_of_statsmodels(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected, rel=1e-14)


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(6)
    values = stats.zscore(rng.normal(0, 1, 10), ddof=1)
    size = smallest_detectable(values)
    assert size is not None
    again = rng.normal(size / 10, 1, (4000, 10))
    found = stats.ttest_1samp(again, 0, axis=1).pvalue < 0.05
    assert 0.76 < found.mean() < 0.84
    assert smallest_detectable(np.array([1.0])) is None
