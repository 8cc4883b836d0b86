"""Pack padded batches for cuDNN's GRU, and pad what it gives: one gather each, one back.

`torch.nn.utils.rnn` copies the frames between two lengths one after another, sorts utterances on
the device, and reads their order back from it, for which the device has to finish all its work.
Here the lengths, which are on the CPU, say everything.

Shapes: batch B, padded length T, frames of all utterances M, features K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from cfia.model.transfer import to_device


@dataclass(frozen=True)
class Packing:
    """The order of a packed batch: at each step the utterances that are long enough, longest first.

    Attributes:
        sizes: on the CPU, how many utterances have a frame at each step.
        places: (M,), the place of each packed frame among all B * T.
        rows: (B * T,), the packed frame of each place; any where there is none.
        beyond: (B * T, 1), booleans, the places where there is none.
    """

    sizes: Tensor
    places: Tensor
    rows: Tensor
    beyond: Tensor


def packing(lengths: Tensor, size: int, device: torch.device) -> Packing:
    """Plan the packing of utterances of these lengths (B,), which are on the CPU, padded to T."""
    order = lengths.argsort(descending=True, stable=True)
    step = torch.arange(size)[:, None]
    active = step < lengths[order]  # (T, B)
    places = (order * size + step)[active]
    rows = torch.zeros(len(lengths) * size, dtype=torch.long)
    rows[places] = torch.arange(len(places))
    beyond = (torch.arange(size) >= lengths[:, None]).view(-1, 1)
    sizes = active.sum(dim=1)
    on_device = (to_device(index, device) for index in (places, rows, beyond))
    return Packing(sizes[sizes > 0], *on_device)


def run(gru: nn.GRU, data: Tensor, plan: Packing) -> Tensor:
    """Apply torch's own GRU to a padded batch: (B, T, D) to the states (M, 2H), packed."""
    frames: Tensor = _Pack.apply(data.flatten(0, 1), plan)  # type: ignore[no-untyped-call]
    states: Tensor = gru(PackedSequence(frames, plan.sizes))[0].data
    return states


def padded(y: Tensor, plan: Packing, size: int) -> Tensor:
    """Pad packed frames: (M, K) to (B, size, K), exactly 0 beyond each length."""
    places: Tensor = _Pad.apply(y, plan)  # type: ignore[no-untyped-call]
    return places.view(-1, size, y.shape[1])


def _padded(y: Tensor, plan: Packing) -> Tensor:
    return y.index_select(0, plan.rows).masked_fill_(plan.beyond, 0)


class _Pack(torch.autograd.Function):
    """(B * T, K) to (M, K). Autograd's own gradient of a gather would have to add rows up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: Packing) -> Tensor:
        ctx.plan = plan
        return x.index_select(0, plan.places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        return _padded(dy, ctx.plan), None


class _Pad(torch.autograd.Function):
    """(M, K) to (B * T, K)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, plan: Packing) -> Tensor:
        ctx.plan = plan
        return _padded(y, plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dx: Tensor) -> tuple[Tensor, None]:
        return dx.index_select(0, ctx.plan.places), None
