"""Where a training keeps its features: in memory, mapped, or on disk alone (--feature_cache)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from cfia.training.features import FeatureSet, InMemory, OnDisk
from cfia.training.free_memory import Free, free_memory

log = logging.getLogger(__name__)

# `auto` holds features in memory if they take at most this fraction of the memory that is free now,
# divided by the number of processors, since a training may run on each of them.
MEMORY_FRACTION = 0.25


def keep(sets: Sequence[OnDisk], cache: str, free: Free | None = None) -> list[FeatureSet]:
    """Keep the features of a training as `cache` says.

    Args:
        cache: "ram": arrays in memory, the training's own; "mmap": mapped archives, in pages that
            all trainings on the machine share; "none": read from the archives whenever they are
            wanted; "auto": as `choose` says, which is logged.
        free: the free memory (default: now).

    Raises:
        UserError: as `OnDisk`.
    """
    if cache == "auto":
        cache, reason = choose(sets, free or free_memory())
        log.info("feature_cache auto: %s", reason)
    if cache == "ram":
        return [InMemory(features) for features in sets]
    if cache == "mmap":
        for features in sets:
            features.map()
    return list(sets)


def choose(sets: Sequence[OnDisk], free: Free) -> tuple[str, str]:
    """Choose where features are kept, and say why.

    Returns:
        "ram" where they take at most `MEMORY_FRACTION` of the free memory per processor; "mmap"
        where the archives fit in what is free; else "none": pages that must go soon are the
        cheaper to take away if nobody maps them. And a sentence.
    """
    processors = len(os.sched_getaffinity(0))
    size, on_disk = sum(s.size() for s in sets), sum(s.size_on_disk() for s in sets)
    limit = MEMORY_FRACTION * free.size / processors
    there = f"{_gb(free.size)} that are free {free.where}"
    share = f"{MEMORY_FRACTION:.0%} of the {there}, for each of {processors} processors"
    if size <= limit:
        return "ram", f"ram, for {_gb(size)} of features are at most {_gb(limit)}: {share}"
    if on_disk <= free.size:
        return "mmap", f"mmap, for {_gb(size)} of features are more than {_gb(limit)}: {share}"
    return "none", f"none, for archives of {_gb(on_disk)} are more than the {there}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
