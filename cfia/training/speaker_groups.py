"""Divide speakers into groups that are balanced by utterances and classes (`--cv kfold<k>`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

UNIT = 1_000_000  # of shares: whole numbers, whose sums no machine rounds in another way
MOST = 1000  # speakers that are tried in each other's place; of more, the first draft is even

Shares = npt.NDArray[np.int64]


def balanced_groups(counts: Mapping[str, Mapping[str, int]], k: int) -> list[list[str]]:
    """Divide speakers into k groups of about as many utterances, of each class and of all.

    What is made small is the sum over the groups of the squares of their shares of each class, and
    of all utterances, which weigh as much as all classes together. First each speaker, the largest
    first, goes to the group where it adds least; then speakers move, or change places, as long as
    that makes it smaller.

    Args:
        counts: the utterances of each class, for each of k speakers or more.

    Returns:
        The groups, each sorted, in the order of their first speakers; none is empty.
    """
    speakers = sorted(counts)
    shares = _shares([counts[speaker] for speaker in speakers])
    group = np.full(len(speakers), -1)
    loads = np.zeros((k, shares.shape[1]), np.int64)
    # Those of equal size in a random order: names often alternate women and men.
    ranks = [hashlib.sha256(speaker.encode()).hexdigest() for speaker in speakers]
    for i in sorted(range(len(speakers)), key=lambda i: (-shares[i, -1], ranks[i])):
        # To an empty group a speaker adds nothing but itself, so none stays empty.
        sizes = np.bincount(group[group >= 0], minlength=k)
        group[i] = np.lexsort((sizes, loads @ shares[i]))[0]
        loads[group[i]] += shares[i]
    if len(speakers) <= MOST:
        while _improve(shares, group, loads):
            pass
    members = [[speakers[i] for i in np.flatnonzero(group == g)] for g in range(k)]
    return sorted(members)


def _shares(counts: list[Mapping[str, int]]) -> Shares:
    """Compute each speaker's share of each class and, last, of all utterances, (S, K + 1)."""
    classes = sorted({name for of_speaker in counts for name in of_speaker})
    n = np.array([[of_speaker.get(name, 0) for name in classes] for of_speaker in counts])
    of_all = len(classes) * UNIT * n.sum(1, keepdims=True) // n.sum()
    return np.hstack([UNIT * n // np.maximum(n.sum(0), 1), of_all]).astype(np.int64)


def _improve(shares: Shares, group: Shares, loads: Shares) -> bool:
    """Let each speaker once move to where it fits best, or change places; whether any did."""
    moved = False
    for i, own in enumerate(shares):
        here = group[i]
        # By how much a move to each group, and a change with each speaker, raises half the sum.
        to_group = (loads - loads[here]) @ own + own @ own
        to_group[here] = 0
        if np.count_nonzero(group == here) == 1:
            to_group[:] = 0  # its group would be empty
        other = shares - own
        with_speaker = ((loads[here] - loads[group]) * other).sum(1) + (other * other).sum(1)
        with_speaker[group == here] = 0
        if min(to_group.min(), with_speaker.min()) >= 0:
            continue
        moved = True
        if to_group.min() <= with_speaker.min():
            there = int(to_group.argmin())
        else:
            j = int(with_speaker.argmin())
            there = group[j]
            group[j] = here
            loads[here] += shares[j]
            loads[there] -= shares[j]
        group[i] = there
        loads[here] -= own
        loads[there] += own
    return moved
