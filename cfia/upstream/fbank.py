"""Log-mel filterbank features as Kaldi computes them: an upstream without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from cfia.errors import UserError
from cfia.frontend import Frontend
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.checkpoint import Checkpoint
from cfia.upstream.choice import Choice

SAMPLE_RATE = 16000
FRAME_LENGTH_MS = 25
FRAME_SHIFT_MS = 10
BINS = 80


class Fbank(Upstream):
    """80 log-mel bins at 100 Hz: Kaldi's compute-fbank-feats with --num-mel-bins=80 --dither=0.

    Only whole windows are frames, as with Kaldi's default --snip-edges=true: n samples give
    floor((n - 400)/160) + 1 of them.
    """

    shortest = SAMPLE_RATE * FRAME_LENGTH_MS // 1000
    independent = True

    def __init__(self) -> None:
        self.description = Frontend(
            kind="audio", name="fbank", model=None, revision=None, layer=None, dim=BINS,
            frame_shift=FRAME_SHIFT_MS / 1000, sample_rate=SAMPLE_RATE, weights=None,
        )  # fmt: skip
        self._options = knf.FbankOptions()
        self._options.frame_opts.samp_freq = SAMPLE_RATE
        self._options.frame_opts.frame_length_ms = FRAME_LENGTH_MS
        self._options.frame_opts.frame_shift_ms = FRAME_SHIFT_MS
        self._options.frame_opts.dither = 0.0
        self._options.frame_opts.snip_edges = True
        self._options.mel_opts.num_bins = BINS

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map waveforms at 16 kHz in [-1, 1] to matrices (frames, 80); see `Upstream.extract`."""
        return [self._frames(samples) for samples in batch]

    def _frames(self, samples: Features) -> Features:
        fbank = knf.OnlineFbank(self._options)
        # Kaldi's waveforms are in the range of 16-bit integers; its floor on the energy of a
        # bin is meant for that scale.
        fbank.accept_waveform(SAMPLE_RATE, samples * np.float32(32768))
        fbank.input_finished()
        frames = [fbank.get_frame(i) for i in range(fbank.num_frames_ready)]
        return np.array(frames, dtype=np.float32).reshape(-1, BINS)


def build(choice: Choice, files: Checkpoint | None, num_threads: int, device: str) -> Upstream:
    """Make the extractor. It runs on the CPU in one thread, whatever the arguments say.

    Raises:
        UserError: a model or a layer was named.
    """
    del files, num_threads, device
    if choice.layer is not None:
        raise UserError(f"{choice.name} has no layers; leave --audio_layer out")
    return Fbank()


def find(choice: Choice, revision: str | None) -> Checkpoint | None:
    """Find nothing: there are no weights.

    Raises:
        UserError: a model was named.
    """
    del revision
    if choice.model is not None:
        raise UserError(f"{choice.name} has no weights; leave --audio_model {choice.model} out")
    return None


LOADER = Loader(find, lambda choice, files: None, build)
