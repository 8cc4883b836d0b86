"""The paired tests against values worked out by hand and by enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from cfia.scoring.significance import (
    Answers,
    compare,
    compare_losses,
    holm,
    mcnemar,
    sign_flip,
    smallest_detectable,
)
from cfia.scoring.significance import (
    Test as SignFlip,
)


def answers(refs: Sequence[int], *seeds: npt.ArrayLike, folds: Sequence[int] = ()) -> Answers:
    """What the networks of some seeds have right, from what they answered."""
    right = np.array([np.equal(refs, hyps) for hyps in seeds])
    return Answers(right, np.array(folds if len(folds) else [0] * len(refs)))


def p_value(test: SignFlip | None) -> float:
    assert test is not None
    return test.p


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
    refs = np.array([0, 1, 2, 0])
    a = answers([0, 1, 2, 0], [0, 1, 1, 2])
    found = compare(refs, a, a, [0, 0, 1, 1])
    assert (found.ua, found.wa) == (0, 0)
    assert (found.p_ua.p, found.p_wa.p, p_value(found.p_utterance), found.mcnemar) == (1, 1, 1, 1)
    assert found.p_ua.exact
    assert found.detectable == 0
    assert found.seeds is None


def test_differences_are_those_of_the_mean_scores_over_each_systems_seeds() -> None:
    rng = np.random.default_rng(4)
    refs = rng.choice(3, 50, p=[0.6, 0.3, 0.1])
    hyps = [rng.integers(0, 3, (s, 50)) for s in (3, 2)]
    a, b = (answers(list(refs), *of_seeds) for of_seeds in hyps)
    found = compare(refs, a, b, np.arange(50) % 7)
    ua, wa = ([100 * np.array([score(refs, h) for h in of_seeds]) for of_seeds in hyps]
              for score in (balanced_accuracy_score, accuracy_score))  # fmt: skip
    assert found.ua == pytest.approx(ua[0].mean() - ua[1].mean())
    assert found.wa == pytest.approx(wa[0].mean() - wa[1].mean())
    # Other seeds would move each mean by its standard error.
    assert found.seeds == pytest.approx(np.hypot(stats.sem(ua[0]), stats.sem(ua[1])))
    # Tests of single answers have no meaning for a mean over networks.
    assert found.mcnemar is None
    assert found.p_utterance is None
    one = answers(list(refs), hyps[1][0])
    assert compare(refs, a, one, np.arange(50) % 7).seeds is None
    assert compare(refs, one, a, np.arange(50) % 7).mcnemar is None


def test_speakers_of_their_own_folds_are_flipped_by_their_mean_over_seeds() -> None:
    rng = np.random.default_rng(7)
    refs, speakers = np.repeat([0, 1], 40), np.tile(np.arange(8), 10)
    hyps = [np.where(rng.random((3, 80)) < skill, refs, 1 - refs) for skill in (0.8, 0.7)]
    a, b = (answers(list(refs), *of_seeds, folds=list(speakers)) for of_seeds in hyps)
    difference = (hyps[0] == refs).mean(0) - (hyps[1] == refs).mean(0)
    expected = enumerated([float(difference[speakers == g].sum()) for g in range(8)])
    assert compare(refs, a, b, speakers).p_wa.p == pytest.approx(expected)


def test_luck_that_a_fold_shares_makes_a_difference_count_less() -> None:
    # A network of A is right on all of its fold or on nothing; B never is.
    refs, speakers = np.zeros(160, int), np.repeat(np.arange(8), 20)
    folds = speakers // 2
    hyps = [np.where(folds % 3 == seed, 0, 1) for seed in range(3)]
    a, b = answers([0] * 160, *hyps, folds=list(folds)), answers([0] * 160, [1] * 160)
    apart = compare(refs, Answers(a.right, speakers), b, speakers)
    shared = compare(refs, a, b, speakers)
    assert (shared.ua, shared.seeds) == (apart.ua, apart.seeds)
    assert apart.p_ua.p == 2 / 2**8
    # The luck is as large as what the flips know, so 8 speakers of one mind count as about 8 /
    # sqrt 2 of them, and the 8 patterns with one other sign reach that as well.
    assert shared.p_ua.p == 2 * (1 + 8) / 2**8
    assert shared.detectable is not None
    assert apart.detectable is not None
    assert shared.detectable > apart.detectable


def before_and_after(rng: np.random.Generator) -> tuple[Answers, Answers]:
    """Networks of three seeds that have luck of their own, which is in both of their tests."""
    luck, folds = rng.random((3, 1)) / 2, np.repeat([0, 1], 40)
    before = rng.random((3, 80)) < 0.4 + luck
    return Answers(before, folds), Answers(before & (rng.random(80) < 0.8), folds)


def test_luck_that_is_in_both_tests_of_a_network_is_not_in_their_difference() -> None:
    rng = np.random.default_rng(5)
    refs, speakers = rng.integers(0, 2, 80), np.repeat(np.arange(4), 20)
    a, b = before_and_after(rng)
    own, paired = (compare(refs, a, b, speakers, paired=paired) for paired in (False, True))
    assert paired.ua == own.ua
    by_seed = [compare(refs, Answers(x[None], a.folds), Answers(y[None], b.folds), speakers).ua
               for x, y in zip(a.right, b.right, strict=True)]  # fmt: skip
    assert paired.seeds == pytest.approx(stats.sem(by_seed))
    assert own.seeds is not None
    assert paired.seeds is not None
    assert paired.seeds < own.seeds
    assert paired.p_ua.p <= own.p_ua.p
    assert paired.detectable is not None
    assert own.detectable is not None
    assert paired.detectable <= own.detectable


def test_losses_are_compared_as_differences_are() -> None:
    rng = np.random.default_rng(6)
    refs, speakers = rng.integers(0, 2, 80), np.repeat(np.arange(4), 20)
    first, second = before_and_after(rng), before_and_after(rng)
    loss, test = compare_losses(refs, first, second, speakers)
    of_each = [compare(refs, *pair, speakers, paired=True) for pair in (first, second)]
    assert loss == pytest.approx(of_each[0].ua - of_each[1].ua)
    # Of a system that loses nothing, the other's loss is its difference.
    against_none = compare_losses(refs, first, (second[0], second[0]), speakers)
    assert against_none[0] == pytest.approx(of_each[0].ua)
    other_way = compare_losses(refs, second, first, speakers)
    assert other_way[0] == pytest.approx(-loss)
    assert other_way[1].p == test.p
    before, after = (Answers(side.right[:1], side.folds) for side in first)
    found = compare_losses(refs, (before, after), (before, before), speakers)[1]
    assert found == compare(refs, before, after, speakers, paired=True).p_ua


def test_swapping_the_systems_turns_the_differences_and_keeps_the_p_values() -> None:
    rng = np.random.default_rng(5)
    refs = rng.integers(0, 3, 200)
    a = answers(list(refs), [r if rng.random() < 0.7 else 0 for r in refs])
    b = answers(list(refs), [r if rng.random() < 0.6 else 1 for r in refs])
    speakers = np.arange(200) % 10
    there, back = compare(refs, a, b, speakers), compare(refs, b, a, speakers)
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
    a, b = answers(refs, refs), answers(refs, [0] * 140 + [1] * 60)
    found = compare(np.array(refs), a, b, [0, 1] * 100)
    assert found.p_ua.p == 0.5
    assert found.mcnemar is not None
    assert found.mcnemar < 1e-6
    assert p_value(found.p_utterance) < 1e-3


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
