"""What an encoder is given, and what it gives: waveforms at its rate, matrices of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import soxr

from cfia.errors import UserError
from cfia.upstream.base import Features, Upstream

if TYPE_CHECKING:
    from torch import Tensor

    from cfia.training.device import Device

T = TypeVar("T")


def resampled(samples: Features, rate: int, upstream: Upstream) -> Features:
    """Bring a waveform, float32 (samples,), to the upstream's rate.

    Raises:
        UserError: it is shorter than a frame of the upstream.
    """
    samples = at_rate(samples, rate, upstream.sample_rate)
    check_length(samples, upstream)
    return samples


def at_rate(samples: Features, rate: int, wanted: int | None) -> Features:
    """Bring a waveform to another rate; None: it keeps its own."""
    if wanted is None or rate == wanted:
        return samples
    return np.asarray(soxr.resample(samples, rate, wanted), dtype=np.float32)


def check_length(samples: Features, upstream: Upstream) -> None:
    """Refuse a waveform at the upstream's rate that is shorter than a frame.

    Raises:
        UserError: it is.
    """
    if len(samples) < upstream.shortest:
        raise UserError(
            f"the audio has {len(samples)} samples at {upstream.sample_rate} Hz, where one frame "
            f"of {upstream.description.name} needs {upstream.shortest}; leave it out of the data "
            "directory, or with --skip_bad true"
        )


def fetched(device: Device, states: Sequence[Tensor]) -> list[Features]:
    """Bring states from an encoder's device, each as a matrix that keeps nothing else in memory."""
    found = [x.numpy() for x in device.fetch(states)]
    return found if device.apart else [matrix.copy() for matrix in found]


def in_parts(
    device: Device, encode: Callable[[list[T]], list[Tensor]], inputs: list[T], size: int
) -> list[Features]:
    """Encode so many inputs together, and bring the states of these back with one wait."""
    found: list[Features] = []
    for first in range(0, len(inputs), size):
        found += fetched(device, encode(inputs[first : first + size]))
    return found


def check_features(what: str, matrix: Features, upstream: Upstream) -> None:
    """Refuse a matrix that is not (frames, dim) of finite numbers; `what` is whose it is.

    Raises:
        UserError: it is not.
    """
    name = upstream.description.name
    if len(matrix) == 0 or matrix.shape[1] != upstream.description.dim:
        raise UserError(
            f"{what}: {name} gave a matrix of the shape {matrix.shape}; check its "
            "audio or transcript"
        )
    if not np.isfinite(matrix).all():
        raise UserError(
            f"{what}: {name} gave features that are not finite numbers; check its "
            "audio or transcript, and the model's weights"
        )
