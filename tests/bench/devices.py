"""Where a benchmark computes: on the processors, or on the one GPU that it may use."""

from __future__ import annotations

import argparse
import sys

import torch

from tests.bench import processes

NO_GPU = (
    "There is no GPU here that torch can see, so there is nothing to measure; to try it on "
    "processors, give --on cpu, or gpu.sh --dry."
)


def add_argument(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Add --on."""
    parser.add_argument(
        "--on", default=default, choices=("cpu", "gpu"), help=f"where (default: {default})"
    )


def taken(on: str) -> torch.device:
    """The device that --on means; without a GPU a sentence, and exit status 1."""
    if on == "gpu" and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    return torch.device("cuda" if on == "gpu" else "cpu")


def wait(device: torch.device) -> None:
    """Wait until a device has computed all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Begin to look for the most memory anew; of a process on processors there is one peak."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """The most MiB that tensors have had on a GPU, or that the process has had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return processes.peak_mib()
