"""The self-consistency loss: deeper features supervise shallower ones (Eq. 12-18)."""

from __future__ import annotations

import torch
from torch import Tensor


def pairs(n_modules: int) -> list[tuple[int, int]]:
    """All (deeper, shallower) pairs of modules, counted from 0, in the paper's order.

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
        """Two (B, C, T, F), equal where not valid, and `valid` (B, T) to a scalar."""
        channels = min(deep.shape[1], shallow.shape[1])
        deep, shallow = deep[:, :channels], shallow[:, :channels]  # T(.): channel cropping
        if self.detach == "deep":
            deep = deep.detach()
        difference = (deep - shallow).flatten(1)  # 0 where not valid
        if self.reduction == "norm":
            norms: Tensor = torch.linalg.vector_norm(difference, dim=1)
            return norms.mean()
        squares = difference.square().sum(dim=1)  # (B,)
        if self.reduction == "sum_per_utt":
            return squares.mean()
        return squares.sum() / (valid.sum() * channels * deep.shape[3])


def weighted_sum(weights: list[float], terms: Tensor) -> Tensor:
    """`alpha*Lcon1 + beta*Lcon2 + gamma*Lcon3` (Eq. 12)."""
    return (terms * terms.new_tensor(weights)).sum()
