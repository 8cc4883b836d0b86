"""Order the utterances of an epoch, and divide them into batches."""

from __future__ import annotations

import torch
from torch import Tensor

POOLS = 4


def sorted_by_length(lengths: Tensor, batch_size: int) -> list[list[int]]:
    """Batch neighbours in length, the shortest first: for validation and posteriors."""
    order = lengths.argsort(stable=True)
    return [batch.tolist() for batch in torch.split(order, batch_size)]


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batch the indices 0 to n-1, in an order that `seed` and `epoch` alone determine."""
    order = torch.randperm(n, generator=_generator(seed, epoch))
    return [batch.tolist() for batch in torch.split(order, batch_size)]


def shuffled_by_length(lengths: Tensor, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batch as `shuffled`, but utterances of about the same length.

    Each epoch deals the utterances anew into `POOLS` pools and divides each pool by length, so a
    batch is a random fourth of those that are nearest in length. The batches come in a random
    order. One is short, as in `shuffled`.

    Args:
        lengths: (N,), the frames of each utterance.
    """
    generator = _generator(seed, epoch)
    order = torch.randperm(len(lengths), generator=generator)
    n_batches = -(-len(order) // batch_size)
    pool_size = -(-n_batches // POOLS) * batch_size
    batches: list[list[int]] = []
    for pool in torch.split(order, pool_size):
        pool = pool[lengths[pool].argsort(stable=True)]
        batches += [batch.tolist() for batch in torch.split(pool, batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)
