"""What speakers share of their networks' luck, against plain versions of the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cfia.scoring.luck import reach, shared_freedom, shared_networks, shared_variance


@pytest.mark.parametrize(
    ("folds", "blocks"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1]),  # sessions
        ([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3]),  # speakers
        ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0]),  # a given split
        ([0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 0]),  # utterances at random
        ([0, 1, 1, 2, 2, 0, 3, 3], [0, 0, 0, 1]),  # by way of others
        ([3, 3, 1, 1, 3, 3, 0, 0], [0, 1, 0, 2]),  # in any order
    ],
)
def test_speakers_who_share_a_fold_are_in_one_block(folds: list[int], blocks: list[int]) -> None:
    groups = np.repeat(np.arange(4), 2)
    assert shared_networks(groups, np.array(folds)).tolist() == blocks


@given(st.integers(2, 5), st.integers(1, 7), st.integers(0, 10**6))
def test_shared_variance_is_the_covariances_within_the_blocks(s: int, g: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, s, g)) + 2 * rng.normal(size=(2, s, 1))
    blocks = np.unique(rng.integers(0, 3, g), return_inverse=True)[1]
    found = shared_variance(values, blocks)
    for corpus, shared in zip(values, found, strict=True):
        covariance = np.atleast_2d(np.cov(corpus, rowvar=False))
        pairs = itertools.permutations(range(g), 2)
        total = sum(covariance[a, b] for a, b in pairs if blocks[a] == blocks[b]) / s
        assert shared == pytest.approx(max(total, 0), abs=1e-12)


def test_speakers_of_one_seed_or_of_their_own_folds_share_nothing() -> None:
    values = np.random.default_rng(1).normal(size=(3, 4))
    assert shared_variance(values, np.arange(4)) == pytest.approx(0, abs=1e-15)
    assert shared_variance(values[:1], np.zeros(4, int)) == 0


def test_it_finds_the_variance_that_sessions_hide() -> None:
    # The sum over ten speakers, of the mean over three seeds, of luck that two at a time share.
    rng = np.random.default_rng(2)
    luck = np.repeat(rng.normal(0, 2, (20000, 3, 5)), 2, axis=2)
    values = luck + rng.normal(0, 1, (20000, 3, 10))
    blocks = np.repeat(np.arange(5), 2)
    means = values.mean(1)
    hidden = means.sum(1).var() - (means**2).sum(1).mean()
    assert shared_variance(values, blocks).mean() == pytest.approx(hidden, rel=0.05)
    assert hidden == pytest.approx(10 * 2**2 / 3, rel=0.05)


def test_reach_takes_each_variance_by_its_own_students_t() -> None:
    assert shared_freedom(3, np.array([0, 0, 1, 1])) == 4
    assert shared_freedom(1, np.array([0, 0])) == 0
    alone = float(reach(np.asarray(4.0), np.asarray(0.0), (9, 0), 0.95))
    assert alone == pytest.approx(2 * stats.t.ppf(0.975, 9))
    both = float(reach(np.asarray(4.0), np.asarray(1.0), (9, 2), 0.9))
    assert both == pytest.approx(np.hypot(2 * stats.t.ppf(0.95, 9), stats.t.ppf(0.95, 2)))
