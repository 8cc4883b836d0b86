"""Matrix products: how many operations a computation has, and how many a second a device can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.bench import devices

SIZES = {"cpu": 2048, "cuda": 8192}  # of a product that is large enough to reach the full rate
SMALL = 256  # of one that is quick, where a benchmark is tried
PRODUCTS = 6  # of which the fastest counts


def operations(function: Callable[[], Any]) -> tuple[Any, float]:
    """A function's value, and the operations of its matrix products and convolutions.

    Two for each term of a sum. What cuDNN has as one piece, as a GRU, is not counted: count on a
    processor.
    """
    with FlopCounterMode(display=False) as counter:
        value = function()
    return value, float(counter.get_total_flops())


def rate(device: torch.device, dtype: torch.dtype = torch.float32, *, small: bool = False) -> float:
    """GFLOP/s of one large matrix product on a device, with as many threads as torch has."""
    n = SMALL if small else SIZES[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out, best = torch.empty_like(a), float("inf")
    for _ in range(PRODUCTS):
        devices.wait(device)
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        devices.wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best / 1e9


def share(flop: float, seconds: float, gflops: float) -> float:
    """Of a device's rate of products, the share that a computation reaches."""
    return flop / 1e9 / seconds / gflops


def words(flop: float, shares: dict[str, float], gflops: float) -> str:
    """Say it in a line."""
    reached = ", ".join(f"{side} {value:.0%}" for side, value in shares.items())
    return f"  {flop / 1e9:.1f} GFLOP of products; of {gflops:.0f} GFLOP/s: {reached}\n"
