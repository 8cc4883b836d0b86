"""The GRU of ragged batches against torch's own on packed sequences: values and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from cfia.config import build
from cfia.model.encoder import Encoder, Sequences
from cfia.model.fast.gru import bigru, padded, rows

EXACT = {torch.float32: 1e-5, torch.float64: 1e-10}  # relative to each tensor's largest magnitude


def batch(lengths: list[int], dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(lengths))
    return pad_sequence(
        [torch.randn(n, dim, generator=generator, dtype=dtype) for n in lengths], True
    )


def make_gru(dim: int, hidden: int, layers: int, dtype: torch.dtype) -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(dim, hidden, layers, batch_first=True, bidirectional=True, dtype=dtype)


def by_torch(gru: nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(gru(packed)[0], batch_first=True)[0]


def gradients(gru: nn.GRU, y: Tensor, x: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return list(torch.autograd.grad((y * weights).sum(), [x, *gru.parameters()], retain_graph=True))


def assert_close(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    largest = wanted.abs().max().clamp(min=1e-30)
    assert ((found - wanted).abs().max() / largest).item() <= EXACT[wanted.dtype]


def compare(gru: nn.GRU, x: Tensor, lengths: Tensor, given_: Tensor) -> None:
    """`x` (B, T, D) is zero beyond `given_`, and the recurrence goes on to `lengths`."""
    x.requires_grad_()
    size = int(lengths.max())
    wanted = by_torch(gru, nn.functional.pad(x, (0, 0, 0, size - x.shape[1])), lengths)
    found = padded(bigru(gru, rows(x, given_), lengths, given_), lengths, size)
    assert_close(found, wanted)
    within = (torch.arange(x.shape[1]) < given_[:, None]).unsqueeze(2)  # torch has one for padding
    for _ in range(2):  # a graph that is kept gives the same a second time
        for ours, theirs in zip(gradients(gru, found, x), gradients(gru, wanted, x), strict=True):
            assert_close(ours, theirs * within if theirs.shape == x.shape else theirs)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_it_is_torchs_gru(lengths: list[tuple[int, int]], hidden: int, layers: int) -> None:
    given_ = torch.tensor([n for n, _ in lengths])
    more = torch.tensor([k for _, k in lengths])
    gru = make_gru(4, hidden, layers, torch.float64)
    compare(gru, batch(given_.tolist(), 4), given_ + more, given_)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_sizes_of_iemocap(dtype: torch.dtype) -> None:
    lengths = torch.tensor([31, 250, 97, 180, 8, 140])
    compare(make_gru(768, 128, 1, dtype), batch(lengths.tolist(), 768, dtype), lengths, lengths)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 3))
def test_rows_and_padded_are_inverse(lengths: list[int], more: int) -> None:
    x = nn.functional.pad(batch(lengths, 3), (0, 0, 0, more))
    ragged = rows(x, torch.tensor(lengths))
    wanted = torch.cat([row[:n] for row, n in zip(x, lengths, strict=True)])
    torch.testing.assert_close(ragged, wanted, rtol=0, atol=0)
    back = padded(ragged, torch.tensor(lengths), x.shape[1])
    torch.testing.assert_close(back, x, rtol=0, atol=0)


def test_an_utterance_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(1)
    encoder = Encoder(24, build({"hidden": 16, "normalisation": "utterance"}).model)
    lengths = [37, 512, 3, 120, 119, 1]
    data = batch(lengths, 24, torch.float32)
    together = encoder(Sequences(data, torch.tensor(lengths)))
    for i, n in enumerate(lengths):
        alone = encoder(Sequences(data[i : i + 1, :n], torch.tensor([n])))
        torch.testing.assert_close(together[i, :n], alone[0], rtol=0, atol=1e-5)
        assert (together[i, n:] == 0).all()


@pytest.mark.parametrize("mask", ["full", "none"])
def test_the_form_for_gpus_has_the_same_states(mask: str) -> None:
    config = build({"hidden": 4, "max_frames": 11, "mask": mask}).model
    encoder = Encoder(5, config).double()
    lengths = torch.tensor([4, 9, 1])
    data = batch(lengths.tolist(), 5)
    visited, size = (lengths, 9) if mask == "full" else (torch.full_like(lengths, 11), 11)
    ours = padded(bigru(encoder.gru, rows(data, lengths), visited, lengths), visited, size)
    by_torch = encoder._by_cudnn(data, visited, size, lambda states: states)
    torch.testing.assert_close(by_torch, ours)


def test_under_autocast_it_stays_in_float32() -> None:
    gru = make_gru(4, 3, 1, torch.float32)
    lengths = torch.tensor([5, 2])
    x = rows(batch([5, 2], 4, torch.float32), lengths).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = bigru(gru, x, lengths, lengths)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, bigru(gru, x.float(), lengths, lengths))
    mixed.sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in gru.parameters())
