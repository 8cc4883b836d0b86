"""For what share of the time a device computes while a network trains, by torch's profiler."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from tests.bench import devices

FIRST, BATCHES = 2, 20  # of a training; a profile of all its batches takes minutes to be read


class Busy:
    """Profiles some batches of a training, whatever stands between them included.

    On processors the device is busy while an operator of torch runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._activity = "CUDA" if device.type == "cuda" else "CPU"
        self._profile = profile(activities=[getattr(ProfilerActivity, self._activity)])
        self._batches = 0
        self._began = self._seconds = 0.0

    def watch(self, model: nn.Module) -> None:
        """Count the batches that a network is given from now on."""
        model.register_forward_pre_hook(self._batch)

    def share(self) -> float:
        """The share of the time, when the training has ended."""
        self._stop()
        spans = [
            (event.time_range.start, event.time_range.end)
            for event in self._profile.events() or ()  # type: ignore[no-untyped-call]
            if event.device_type.name == self._activity
        ]
        return covered(spans) / 1e6 / self._seconds

    def _batch(self, *_: Any) -> None:
        self._batches += 1
        if self._batches == FIRST:
            devices.wait(self._device)
            self._profile.start()
            self._began = time.perf_counter()
        elif self._batches == FIRST + BATCHES:
            self._stop()

    def _stop(self) -> None:
        if not self._seconds:
            devices.wait(self._device)
            self._seconds = time.perf_counter() - self._began
            self._profile.stop()


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much time at least one of the spans covers."""
    total, reached = 0.0, float("-inf")
    for start, stop in sorted(spans):
        if stop > reached:
            total += stop - max(start, reached)
            reached = stop
    return total
