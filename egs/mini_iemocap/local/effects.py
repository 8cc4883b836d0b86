"""Add what espeak-ng has no parameter for: voice quality, level, and the noise of the room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import soxr
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import uniform_filter1d

from egs.mini_iemocap.local.prosody import Cues

RATE = 16000  # Hz, as in the corpus that this one imitates
FRAME = 160  # samples; every file is a whole number of frames, so that times have few digits

Wave = npt.NDArray[np.float64]

# Neutral speech: aspiration relative to the voice (dB), irregularity of the period (percent).
_NEUTRAL_BREATH, _NEUTRAL_JITTER = -34.0, 0.6

# Noise of the room, dB relative to full scale, root mean square: most utterances are quiet, some
# catch paper, clothes or the other speaker.
_QUIET, _LOUD, _NOISE_SPREAD, _SHARE_LOUD = -58.0, -34.0, 3.0, 0.2


def finish(
    wave: npt.NDArray[np.float32], rate: int, cues: Cues, level: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Turn what espeak-ng said into a recording.

    Args:
        wave: (n,) samples at `rate` Hz.
        rate: sampling rate of `wave`.
        cues: of the utterance; only tilt, breath and jitter are used.
        level: root mean square of the voice, dB relative to full scale.
        rng: random numbers of the dialogue.

    Returns:
        (m,) samples at 16 kHz, m a multiple of 160.
    """
    voice = soxr.resample(_trim(wave.astype(np.float64)), rate, RATE, quality="HQ")
    voice = _jitter(voice, _NEUTRAL_JITTER + cues.jitter, rng)
    voice = _breath(voice, _NEUTRAL_BREATH + cues.breath, rng)
    voice = _tilt(voice, cues.tilt)
    voice *= 10 ** (level / 20) / _rms(voice)
    edges = rng.integers(5, 25, size=2) * FRAME
    total = -(-(len(voice) + int(edges.sum())) // FRAME) * FRAME
    recording = _noise(total, rng)
    recording[edges[0] : edges[0] + len(voice)] += voice
    peak = float(np.abs(recording).max())
    recording *= min(1.0, 0.98 / peak)
    return np.rint(recording * 32767).astype(np.int16)


def _rms(wave: Wave) -> float:
    return float(np.sqrt(np.mean(wave**2)))


def _trim(wave: Wave) -> Wave:
    """Cut the silence that espeak-ng leaves around a sentence."""
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    return wave[loud[0] : loud[-1] + 1]


def _jitter(wave: Wave, percent: float, rng: np.random.Generator) -> Wave:
    """Bend time at random, a new knot every 8 ms (a period or two), so that the pitch trembles."""
    knots = np.arange(0, len(wave) + RATE // 125, RATE // 125)
    speed = 1 + max(0.0, percent) / 100 * rng.standard_normal(len(knots))
    steps = np.interp(np.arange(len(wave)), knots, speed)
    where = np.clip(np.cumsum(steps) - steps[0], 0, len(wave) - 1)
    bent: Wave = np.interp(where, np.arange(len(wave)), wave)
    return bent


def _breath(wave: Wave, decibels: float, rng: np.random.Generator) -> Wave:
    """Add aspiration: noise above 2 kHz that follows the envelope of the voice."""
    envelope = uniform_filter1d(np.abs(wave), RATE // 50)
    noise = _shape(rng.standard_normal(len(wave)), lambda f: f**2 / (f**2 + 2000.0**2))
    noise *= envelope
    return wave + noise * (_rms(wave) / _rms(noise)) * 10 ** (decibels / 20)


def _tilt(wave: Wave, slope: float) -> Wave:
    """Tilt the spectrum by `slope` dB an octave, around 500 Hz."""
    return _shape(wave, lambda f: 10 ** (slope * np.log2(np.maximum(f, 100.0) / 500) / 20))


def _noise(samples: int, rng: np.random.Generator) -> Wave:
    loud = rng.random() < _SHARE_LOUD
    decibels = (_LOUD if loud else _QUIET) + _NOISE_SPREAD * rng.standard_normal()
    noise = _shape(rng.standard_normal(samples), lambda f: 1 / np.sqrt(1 + f / 300))
    return noise * 10 ** (decibels / 20) / _rms(noise)


def _shape(wave: Wave, gain: Callable[[Wave], Wave]) -> Wave:
    """Filter with zero phase: `gain` maps frequencies in Hz to factors."""
    # A length with a large prime factor takes ten times as long.
    size = next_fast_len(len(wave), real=True)
    spectrum = rfft(wave, size) * gain(rfftfreq(size, 1 / RATE))
    filtered: Wave = irfft(spectrum, size)[: len(wave)]
    return filtered
