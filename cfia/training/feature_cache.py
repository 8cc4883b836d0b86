"""Where a training keeps features: on a GPU, in memory, mapped, or on disk (--feature_cache)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cfia.errors import UserError
from cfia.options import GPU
from cfia.training.features import FeatureSet, InMemory, OnDevice, OnDisk
from cfia.training.free_memory import Free, free_memory, free_on

log = logging.getLogger(__name__)

# `auto` holds features in memory if they take at most this fraction of the memory that is free now,
# divided by the number of processors, since a training may run on each of them.
MEMORY_FRACTION = 0.25
GPU_FRACTION = 1 / 3  # the same of a GPU, whose steps need memory too, divided by the jobs on it


@dataclass(frozen=True)
class Room:
    """The memory of a GPU that features may be kept in.

    Attributes:
        free: what is free of it.
        jobs: how many jobs share it.
    """

    device: torch.device
    free: Free
    jobs: int

    @staticmethod
    def on(device: torch.device, jobs: int) -> Room | None:
        """Give the room on a device; on a processor there is none."""
        return Room(device, free_on(device), jobs) if device.type == "cuda" else None


def keep(
    sets: Sequence[OnDisk], cache: str, free: Free | None = None, room: Room | None = None
) -> list[FeatureSet]:
    """Keep the features of a training as `cache` says.

    Args:
        cache: "gpu": on the GPU, or where there is no `room`, as with "auto"; "ram": arrays in
            memory, the training's own; "mmap": mapped archives, in pages that all trainings on the
            machine share; "none": read from the archives whenever they are wanted; "auto": as
            `choose` says, which is logged.
        free: the free memory (default: now).

    Raises:
        UserError: as `OnDisk`; there is not as much room on the GPU.
    """
    if cache == "auto" or (cache == GPU and room is None):
        cache, reason = choose(sets, free or free_memory(), room)
        log.info("feature_cache auto: %s", reason)
    if cache == GPU and room is not None:
        size = sum(s.size() for s in sets)
        if size > room.free.size:
            raise UserError(
                f"{_gb(size)} of features are more than the {_gb(room.free.size)} that are free "
                f"{room.free.where}; give --feature_cache auto"
            )
        return [OnDevice(features, room.device) for features in sets]
    if cache == "ram":
        return [InMemory(features) for features in sets]
    if cache == "mmap":
        for features in sets:
            features.map()
    return list(sets)


def choose(sets: Sequence[OnDisk], free: Free, room: Room | None = None) -> tuple[str, str]:
    """Choose where features are kept, and say why.

    Returns:
        "gpu" where they take at most `GPU_FRACTION` of the room there per job; "ram" where they
        take at most `MEMORY_FRACTION` of the free memory per processor; "mmap" where the archives
        fit in what is free; else "none": pages that must go soon are the cheaper to take away if
        nobody maps them. And a sentence.
    """
    processors = len(os.sched_getaffinity(0))
    size, on_disk = sum(s.size() for s in sets), sum(s.size_on_disk() for s in sets)
    if room is not None and size <= GPU_FRACTION * room.free.size / room.jobs:
        most = f"{GPU_FRACTION:.0%} of the {_gb(room.free.size)} that are free {room.free.where}"
        return GPU, f"{GPU}, for {_gb(size)} of features are at most {most} / {room.jobs} jobs"
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
