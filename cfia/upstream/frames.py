"""Relate the frames of a stack of convolutions to the samples that they are made from."""

from __future__ import annotations

import math
from collections.abc import Sequence

Convolutions = Sequence[Sequence[int]]
"""The layers, none of which pads; the last two numbers of each are its kernel and its stride."""


def samples_of(layers: Convolutions, frames: int) -> int:
    """Count the samples that so many neighbouring frames are made from."""
    for *_, kernel, stride in reversed(layers):
        frames = (frames - 1) * stride + kernel
    return frames


def pieces(layers: Convolutions, samples: int, frames: int) -> list[slice]:
    """Divide a waveform into pieces that give at most so many frames each.

    Where kernels are longer than strides, neighbouring pieces overlap. Since nothing is padded, the
    frames of the pieces, one behind the other, are exactly those of the whole.
    """
    stride = math.prod(layer[-1] for layer in layers)
    total = (samples - samples_of(layers, 1)) // stride + 1
    counts = ((first, min(frames, total - first)) for first in range(0, total, frames))
    return [
        slice(first * stride, first * stride + samples_of(layers, count)) for first, count in counts
    ]
