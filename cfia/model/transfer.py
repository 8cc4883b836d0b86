"""Bring small tensors to the device of a network without making the device wait.

A plain `.to(device)` of what lies on the CPU lets a GPU finish all that it was given before; once
in a step is enough to leave it idle between the steps.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device; what is there already is returned as it is.

    From pinned memory a GPU copies in its own time; torch's allocator gives that memory to nobody
    before the copy is made (`CachingHostAllocator`).
    """
    if device.type == "cuda":
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make a tensor (n,) of fixed values, once; it must not be written to."""
    return to_device(torch.tensor(values, dtype=dtype), device)
