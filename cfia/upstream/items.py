"""What an encoder is given, and what it gives: waveforms at its rate, matrices of numbers."""

from __future__ import annotations

import numpy as np
import soxr

from cfia.errors import UserError
from cfia.upstream.base import Features, Upstream


def resampled(samples: Features, rate: int, upstream: Upstream) -> Features:
    """Bring a waveform, float32 (samples,), to the upstream's rate.

    Raises:
        UserError: it is shorter than a frame of the upstream.
    """
    target = upstream.sample_rate or rate
    if rate != target:
        samples = np.asarray(soxr.resample(samples, rate, target), dtype=np.float32)
    if len(samples) < upstream.shortest:
        raise UserError(
            f"the audio has {len(samples)} samples at {target} Hz, where one frame of "
            f"{upstream.description.name} needs {upstream.shortest}; leave it out of the data "
            "directory, or with --skip_bad true"
        )
    return samples


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
