"""Batches that are read ahead: the same as without, and nothing goes on behind them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cfia.errors import UserError
from cfia.training.dataset import Dataset
from cfia.training.features import FeatureSet, Matrix
from cfia.training.feeding import AHEAD, feeding

CPU = torch.device("cpu")
N = 12


class Counted(FeatureSet):
    """Random matrices; which batches were filled is kept, and utterance 9 cannot be read."""

    kept = "in memory"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._matrices = [rng.normal(size=(n + 1, 3)).astype(np.float32) for n in range(N)]
        self.lengths, self.dim = torch.arange(1, N + 1), 3
        self.filled: list[list[int]] = []

    def __getitem__(self, index: int) -> Matrix:
        if index == 9:
            raise UserError("u9: its features hold NaN")
        return self._matrices[index]

    def fill(self, batch: Tensor, indices: Sequence[int]) -> None:
        self.filled.append(list(indices))
        super().fill(batch, indices)


def dataset() -> tuple[Dataset, Counted]:
    features = Counted()
    utts = [f"u{i}" for i in range(N)]
    return Dataset(utts, torch.zeros(N, dtype=torch.long), {"audio": features}), features


def is_reading() -> bool:
    return any(thread.name.startswith("feeding") for thread in threading.enumerate())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=4), max_size=8))
def test_batches_are_those_that_are_read_one_by_one(plan: list[list[int]]) -> None:
    data, _ = dataset()
    with feeding(data, plan, CPU) as batches:
        found = list(batches)
    assert len(found) == len(plan)
    for batch, indices in zip(found, plan, strict=True):
        alone = data.batch(indices)["audio"]
        assert torch.equal(batch["audio"].data, alone.data)
        assert torch.equal(batch["audio"].lengths, alone.lengths)
    assert not is_reading()


def test_an_error_comes_where_its_batch_would() -> None:
    data, _ = dataset()
    with (
        pytest.raises(UserError, match="u9"),
        feeding(data, [[1], [2], [3, 9], [4]], CPU) as batches,
    ):
        assert next(batches)["audio"].lengths.tolist() == [2]
        assert next(batches)["audio"].lengths.tolist() == [3]
        assert is_reading()
        next(batches)
    assert not is_reading()


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_an_epoch_that_ends_early_leaves_no_thread(error: type[BaseException]) -> None:
    data, features = dataset()
    plan = [[0]] * 50
    with pytest.raises(error), feeding(data, plan, CPU) as batches:
        next(batches)
        raise error
    assert not is_reading()
    assert len(features.filled) <= 1 + AHEAD


def test_not_more_is_read_than_is_soon_wanted() -> None:
    data, features = dataset()
    with feeding(data, [[i] for i in range(9)], CPU) as batches:
        for done, _ in enumerate(batches, start=1):
            assert done <= len(features.filled) <= done + AHEAD
