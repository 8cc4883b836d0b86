"""Log-mel features against Kaldi's definition, written out again in numpy; names of upstreams."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.upstream import build, upstream_name
from cfia.upstream.base import Loader
from cfia.upstream.choice import Choice
from cfia.upstream.registry import FAMILIES, model_digest, names


def speech(n: int, seed: int = 0) -> NDArray[np.float32]:
    """A chirp with noise, in [-1, 1]."""
    t = np.arange(n) / 16000
    noise = np.random.default_rng(seed).normal(size=n)
    return (0.3 * np.sin(2 * np.pi * (200 + 900 * t) * t) + 0.02 * noise).astype(np.float32)


def numpy_fbank(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """compute-fbank-feats --num-mel-bins=80 --dither=0 (Kaldi, src/feat).

    Per frame of 400 samples, every 160: subtract the mean, pre-emphasis 0.97, Povey window, power
    spectrum of 512 points, 80 triangles between 20 and 8000 Hz on the scale 1127 ln(1 + f/700).
    """
    scaled = samples.astype(np.float64) * 32768
    starts = np.arange(0, len(scaled) - 399, 160)
    frames = np.stack([scaled[s : s + 400] for s in starts])
    frames = frames - frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft((frames - 0.97 * previous) * window, 512)) ** 2
    low, high = (1127 * np.log(1 + f / 700) for f in (20.0, 8000.0))
    edges = low + (high - low) / 81 * np.arange(82)
    mel = 1127 * np.log(1 + np.arange(256) * 16000 / 512 / 700)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    energy = power[:, :256] @ triangles.T
    floored: NDArray[np.float64] = np.maximum(energy, np.finfo(np.float32).eps)
    return np.log(floored)


def test_values_are_kaldis() -> None:
    samples = speech(16000)
    (found,) = build(Choice("audio", "fbank")).extract([samples])
    assert found.dtype == np.float32
    assert np.abs(found - numpy_fbank(samples)).max() < 2e-3


@pytest.mark.parametrize(("n", "frames"), [(400, 1), (559, 1), (560, 2), (16000, 98)])
def test_only_whole_windows_are_frames(n: int, frames: int) -> None:
    fbank = build(Choice("audio", "fbank"))
    assert fbank.extract([speech(n)])[0].shape == (frames, 80)
    assert n >= getattr(fbank, "shortest")  # noqa: B009


def test_a_batch_is_as_one_by_one() -> None:
    fbank = build(Choice("audio", "fbank"))
    items = [speech(n, seed) for seed, n in enumerate((8000, 400, 12345))]
    for item, matrix in zip(items, fbank.extract(items), strict=True):
        assert np.array_equal(matrix, fbank.extract([item])[0])


def test_description() -> None:
    assert build(Choice("audio", "fbank")).description.values() == {
        "kind": "audio",
        "name": "fbank",
        "model": None,
        "revision": None,
        "layer": None,
        "dim": 80,
        "frame_shift": 0.01,
        "sample_rate": 16000,
        "weights": None,
        "layers": 1,
    }
    assert model_digest(Choice("audio", "fbank")) is None


def test_a_model_or_layer_for_fbank_is_refused() -> None:
    with pytest.raises(UserError, match="no weights; leave --audio_model x out"):
        build(Choice("audio", "fbank", "x"))
    with pytest.raises(UserError, match="no layers; leave --audio_layer out"):
        build(Choice("audio", "fbank", None, 3))


def test_an_unknown_upstream_is_refused() -> None:
    with pytest.raises(UserError, match="no audio upstream 'bert'; choose from fbank, whisper"):
        build(Choice("audio", "bert"))
    assert names("text") == ["bert", "minilm"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice("audio", "fbank"), "fbank"),
        (Choice("text", "bert", ""), "bert"),
        (Choice("audio", "wavlm", "microsoft/wavlm-large"), "wavlm-large"),
        (Choice("audio", "whisper", "/my models/whisper-tiny/", 3), "whisper-tiny_l3"),
        (Choice("text", "bert", None, 0), "bert_l0"),
        (
            Choice("audio", "wavlm", "/c/models--microsoft--wavlm-large/snapshots/0a/"),
            "wavlm-large",
        ),
        (Choice("audio", "hubert", None, "all"), "hubert_lall"),
    ],
)
def test_names_in_paths(choice: Choice, expected: str) -> None:
    assert upstream_name(choice) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_loader(name: str) -> None:
    assert isinstance(importlib.import_module(FAMILIES[name].module).LOADER, Loader)
