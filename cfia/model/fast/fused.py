"""The CFIA stack by its closed form: the function of `equations.py` with fewer passes over memory.

The forward pass has to read `X_a` and `X_t`, and the backward pass to read them again and to write
their gradients. Tensors of their size are not touched in memory more often than that: the batch
passes in blocks of utterances that stay in the cache of a CPU until all about them is computed
(`closed_form.py`). Other devices take the batch as one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cfia.model.equations import EquationStack, StackOutput
from cfia.model.fast import closed_form, closed_form_gradient
from cfia.model.fast.closed_form import Block, Form, Kept, Pairs, Readout
from cfia.model.fast.gate_weights import Slopes, Weights, gradients, weights_of
from cfia.model.transfer import constant

BLOCK_BYTES = 2**21  # of `X_t`; smaller blocks cost calls, larger ones leave the cache


class FusedStack(EquationStack):
    """An `EquationStack` with the same parameters that computes by the closed form.

    It has no double backward. `gate_conv: mixing` mixes the features, and has no closed form.
    """

    def forward(
        self, X_a: Tensor, X_t: Tensor, valid: Tensor, used: tuple[str, ...]
    ) -> StackOutput:
        """Compute the same as `EquationStack`, under autocast too in the parameters' type."""
        if not self.modules_:
            return super().forward(X_a, X_t, valid, used)
        with torch.autocast(X_a.device.type, enabled=False):
            weights = weights_of(self.modules_)
            X_a, X_t, valid = (part.to(weights.bias) for part in (X_a, X_t, valid))
            reads = closed_form.readouts(self.classifier_input, len(self.modules_))
            pairs, frames = self._pairs(X_a, used), valid.sum(dim=1)
            pooled, squares = _Stack.apply(  # type: ignore[no-untyped-call]
                reads, pairs, X_a, X_t, frames, *weights
            )
            losses = self.pair_loss.reduce(squares, valid, X_a.shape[1] * X_a.shape[3])
        return StackOutput(pooled, terms=losses.sum(dim=1))  # Eq. 13-15

    def _pairs(self, X: Tensor, used: tuple[str, ...]) -> Pairs:
        def offsets(modules: list[int]) -> Tensor:
            values = tuple(0.5 ** (i + 1) if m == "audio" else 0.0 for i in modules for m in used)
            return constant(values, X.dtype, X.device).view(len(modules), len(used), 1)

        shallow = offsets([shallow for _, shallow in self.pairs])
        deep = offsets([deep for deep, _ in self.pairs])
        return Pairs(self.pairs, shallow, shallow - deep, self.pair_loss.detach == "deep")


class _Stack(torch.autograd.Function):
    """`X_a`, `X_t`, the valid frames (B,) and the weights to what `closed_form.forward` returns."""

    @staticmethod
    def forward(
        ctx: Any,
        reads: list[Readout],
        pairs: Pairs,
        X_a: Tensor,
        X_t: Tensor,
        frames: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        form = Form(Weights(*weights), reads, pairs)
        outputs = [closed_form.forward(form, block) for _, block in _blocks(X_a, X_t, frames)]
        pooled, squares, kept = zip(*outputs, strict=True)
        ctx.reads, ctx.pairs = reads, pairs
        ctx.save_for_backward(X_a, X_t, frames, *weights, *map(torch.cat, zip(*kept, strict=True)))
        return torch.cat(pooled), torch.cat(squares)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_pooled: Tensor, to_squares: Tensor) -> tuple[Tensor | None, ...]:
        X_a, X_t, frames, *rest = ctx.saved_tensors
        n = len(Weights._fields)
        form, kept = Form(Weights(*rest[:n]), ctx.reads, ctx.pairs), Kept(*rest[n:])
        to_X = [
            torch.empty_like(X) if needed else None
            for X, needed in zip((X_a, X_t), ctx.needs_input_grad[2:4], strict=True)
        ]
        slopes = []
        with torch.autocast(X_a.device.type, enabled=False):
            for part, block in _blocks(X_a, X_t, frames):
                kept_of_block = Kept(*(whole[part] for whole in kept))
                slope, *factors = closed_form_gradient.backward(
                    form, block, kept_of_block, to_pooled[part], to_squares[part]
                )
                slopes.append(slope)
                for whole, gradient in zip(to_X, factors, strict=True):
                    if whole is not None:
                        gradient.write(block, whole[part])
            every = Slopes(*map(torch.cat, zip(*slopes, strict=True)))
            return None, None, *to_X, None, *gradients(kept.seen(), every)


def _blocks(X_a: Tensor, X_t: Tensor, frames: Tensor) -> Iterator[tuple[slice, Block]]:
    """Divide the batch into blocks of consecutive utterances, which reuse the same memory."""
    B, size = len(X_a), len(X_a)
    if X_a.device.type == "cpu":
        size = min(B, max(1, BLOCK_BYTES // (X_a[0].numel() * X_a.element_size())))
    buffers = X_a.new_empty(3, size, *X_a.shape[1:])
    for first in range(0, B, size):
        part = slice(first, first + size)
        X, D, scratch = buffers[:, : len(frames[part])]
        if X_t[part].is_contiguous():
            X = X_t[part]
        else:
            X.copy_(X_t[part])
        torch.sub(X_a[part], X, out=D)
        yield part, Block(X, D, frames[part].unsqueeze(1), scratch)
