"""Batches that are read ahead: the same as without, and nothing goes on behind them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cfia.errors import UserError
from cfia.training import device as devices
from cfia.training.dataset import Dataset
from cfia.training.features import Matrix
from cfia.training.feeding import AHEAD, UNFINISHED, feeding
from tests.support.absent_device import Pretended, pretended
from tests.support.drawn_features import Drawn

CPU = torch.device("cpu")
N = 12


class Counted(Drawn):
    """Random matrices; which batches were filled is kept, and utterance 9 cannot be read."""

    def __init__(self) -> None:
        super().__init__(N, 3)
        self.filled: list[list[int]] = []

    def __getitem__(self, index: int) -> Matrix:
        if index == 9:
            raise UserError("u9: its features hold NaN")
        return super().__getitem__(index)

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
@given(st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=4), max_size=8), st.booleans())
def test_batches_are_those_that_are_read_one_by_one(plan: list[list[int]], gpu: bool) -> None:
    data, _ = dataset()
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.ExitStack() as stack:
        if gpu:
            stack.enter_context(pretended(monkeypatch))
        found = list(stack.enter_context(feeding(data, plan, CPU)))
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


def test_a_gpu_is_not_left_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step that it has not finished holds a batch in its memory."""
    data, _ = dataset()
    made: list[Pretended] = []

    def make(device: torch.device) -> Pretended:
        made.append(Pretended(device))
        return made[0]

    monkeypatch.setattr(devices, "of", make)
    with feeding(data, [[i] for i in range(9)], CPU) as batches:
        for _ in batches:
            assert len(made[0].unfinished) <= UNFINISHED
    assert len(made[0].unfinished) == UNFINISHED
