"""The self-consistency loss: deeper features supervise shallower ones (Eq. 12-18)."""

from __future__ import annotations

import torch
from torch import Tensor

from cfia.model.transfer import constant


def pairs(n_modules: int) -> list[tuple[int, int]]:
    """List all (deeper, shallower) pairs of modules, counted from 0, in the paper's order.

    For three modules: (2, 0), (2, 1), (1, 0), which are Lcon1, Lcon2, Lcon3 (Eq. 16-18).
    """
    return [(deep, shallow) for deep in reversed(range(n_modules)) for shallow in range(deep)]


class PairLoss:
    """`Lcon(T(deep), T(shallow))` of Eq. 16-18: an l2 loss over the valid positions.

    Args:
        reduction: "mean" over valid positions of the batch, channels and features (the mean
            squared error of the paper's [26]); "sum_per_utt", the sum over an utterance's
            positions, mean over the batch; "norm", the l2 norm over an utterance's positions,
            mean over the batch.
        detach: "deep": the deeper feature is a constant target, and the shallower one learns;
            "none": both learn.
    """

    def __init__(self, reduction: str, detach: str):
        self.reduction = reduction
        self.detach = detach

    def __call__(self, deep: Tensor, shallow: Tensor, valid: Tensor) -> Tensor:
        """Map two (B, C, T, F), equal where not valid, and `valid` (B, T) to a scalar."""
        channels = min(deep.shape[1], shallow.shape[1])
        deep, shallow = deep[:, :channels], shallow[:, :channels]  # T(.): channel cropping
        if self.detach == "deep":
            deep = deep.detach()
        squares = (deep - shallow).square().sum(dim=(1, 2, 3))  # 0 where not valid
        return self.reduce(squares, valid, channels * deep.shape[3])

    def reduce(self, squares: Tensor, valid: Tensor, size: int) -> Tensor:
        """Reduce each utterance's squared distance over (C, T, F), (B, ...), to (...).

        Args:
            valid: (B, T).
            size: how many values a position has, C * F.
        """
        if self.reduction == "mean":
            return squares.sum(dim=0) / (valid.sum() * size)
        if self.reduction == "norm":
            some = squares > 0  # the slope of the root at 0 is infinite
            squares = torch.where(some, squares, 1).sqrt() * some
        return squares.mean(dim=0)


def weighted_sum(weights: list[float], terms: Tensor) -> Tensor:
    """Compute `alpha*Lcon1 + beta*Lcon2 + gamma*Lcon3` (Eq. 12)."""
    return (terms * constant(tuple(weights), terms.dtype, terms.device)).sum()
