"""Batches of an epoch: random, repeatable, each utterance once, little padding."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cfia.training import batches
from tests.bench import iemocap


def iemocap_lengths(n: int) -> Tensor:
    return torch.from_numpy(iemocap.lengths(n, 0)["audio"])


def padding(plan: list[list[int]], lengths: Tensor) -> float:
    """Frames of padding, relative to the others."""
    whole = sum(len(batch) * int(lengths[batch].max()) for batch in plan)
    return whole / int(lengths.sum()) - 1


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 3), st.integers(1, 3))
def test_each_utterance_once_an_epoch(n: int, size: int, seed: int, epoch: int) -> None:
    lengths = torch.arange(n) * 7 % 11 + 1
    for plan in (
        batches.shuffled(n, size, seed, epoch),
        batches.shuffled_by_length(lengths, size, seed, epoch),
        batches.sorted_by_length(lengths, size),
    ):
        assert sorted(itertools.chain(*plan)) == list(range(n))
        assert sorted(map(len, plan), reverse=True)[:-1] == [size] * (n // size - (n % size == 0))


@pytest.mark.parametrize("n", [100, 4425])
def test_epochs_and_seeds_differ_and_repeat(n: int) -> None:
    lengths = iemocap_lengths(n)
    makes: list[Callable[[int, int], list[list[int]]]] = [
        lambda seed, epoch: batches.shuffled(n, 32, seed, epoch),
        lambda seed, epoch: batches.shuffled_by_length(lengths, 32, seed, epoch),
    ]
    for make in makes:
        first = make(1, 1)
        assert make(1, 1) == first
        for other in (make(1, 2), make(2, 1)):
            # Not the order alone: which utterances stand together.
            assert not {frozenset(batch) for batch in other} & {
                frozenset(batch) for batch in first if len(batch) > 4
            }


def test_at_iemocaps_lengths_little_is_padding() -> None:
    lengths = iemocap_lengths(4425)
    plain = padding(batches.shuffled(4425, 32, 1, 1), lengths)
    by_length = [padding(batches.shuffled_by_length(lengths, 32, 1, e), lengths) for e in range(5)]
    print(f"\npadding: {plain:.0%} of the frames when shuffled, {max(by_length):.1%} by length")
    assert plain > 1
    assert max(by_length) < 0.05
    assert padding(batches.sorted_by_length(lengths, 32), lengths) < 0.02


def test_the_order_of_batches_does_not_follow_length() -> None:
    lengths = iemocap_lengths(4425)
    plan = batches.shuffled_by_length(lengths, 32, 1, 1)
    longest = torch.tensor([float(lengths[batch].max()) for batch in plan])
    neighbours = torch.corrcoef(torch.stack([longest[:-1], longest[1:]]))[0, 1]
    assert abs(float(neighbours)) < 0.3
