"""The order of utterances within an epoch, and their division into batches."""

from __future__ import annotations

import torch


def in_order(n: int, batch_size: int) -> list[list[int]]:
    """Indices 0..n-1 in batches, in their order: for validation and posteriors."""
    return [list(range(i, min(i + batch_size, n))) for i in range(0, n, batch_size)]


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices 0..n-1 in batches, in an order that `seed` and `epoch` alone determine."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(n, generator=generator).tolist()
    return [order[i : i + batch_size] for i in range(0, n, batch_size)]
