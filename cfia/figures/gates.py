"""The gate picture: where in an utterance a network weighs audio, and where text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cfia.figures.style import BLUE, SKY, Drawing, finish, new_figure, plain_axes, style, wrapped
from cfia.kaldi.audio import load
from cfia.kaldi.data_dir import DataDir
from cfia.metrics import Array
from cfia.model.audio_weight import AudioWeight
from cfia.training.audio_weights import Weighed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORD = 0.16  # inches that a word takes, written upwards
_WIDTHS = (7.0, 16.0)  # smallest and largest width of the figure, in inches
_BESIDE = 2.0  # inches of it for axis labels and the colour bar

Audio = tuple[npt.NDArray[np.float32], int]
"""Samples (N,) and their rate in Hz."""


def draw_all(data: Path, weights: Iterable[Weighed], system: str, out: Path) -> Iterator[Path]:
    """Draw utterances of a data directory into `<out>/<utt>.png` and `.svg`.

    The waveform is left out where the data has no audio.

    Yields:
        The PNG that is finished.

    Raises:
        UserError: the data directory is broken, or an audio missing or unreadable.
    """
    tables = DataDir.load(data, needed=())
    out.mkdir(parents=True, exist_ok=True)
    for weighed in weights:
        utt = weighed.utt
        audio = load(*tables.audio(utt)) if tables.wav_scp else None
        title = f"{utt}: {tables.table('utt2emo')[utt]}\n{system}, {weighed.part} part"
        drawing = plot_gates(weighed.weight, title, tables.text.get(utt, ""), audio)
        yield drawing.write(out / utt.replace("/", "_"))


def plot_gates(weight: AudioWeight, title: str, transcript: str, audio: Audio | None) -> Drawing:
    """Waveform, mean share of audio with its range over f, and the weight at each (t, f).

    Words stand where the network puts them: it spreads word pieces evenly.
    """
    from matplotlib.ticker import MaxNLocator

    words, values = transcript.split(), weight.weight
    seconds = len(values) * weight.frame_shift
    width = float(np.clip(_WORD * len(words) + _BESIDE, *_WIDTHS))
    with style():
        figure = new_figure(width, 6.2)
        figure.suptitle(title, fontsize=10)
        wave, mean, field = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.6))
        _draw_waveform(wave, audio, seconds)
        _draw_mean(mean, weight)
        reach = float(np.clip(np.abs(values - 0.5).max(), 0.05, 0.5))  # not to every trifle
        image = field.imshow(
            values.T, cmap="cividis", aspect="auto", origin="lower", interpolation="nearest",
            extent=(0, seconds, -0.5, values.shape[1] - 0.5), vmin=0.5 - reach, vmax=0.5 + reach,
        )  # fmt: skip
        field.set(ylabel="feature f", xlabel="seconds", xlim=(0, seconds))
        field.yaxis.set_major_locator(MaxNLocator(integer=True))
        field.xaxis.set_major_locator(MaxNLocator(8))
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        figure.colorbar(image, ax=field, pad=0.01, label="share of audio")
        _write_words(wave, weight, transcript, width - _BESIDE)
        return finish(figure)


def _draw_waveform(axes: Axes, audio: Audio | None, seconds: float) -> None:
    axes.set(yticks=[], ylabel="waveform")
    axes.spines[["top", "right", "left"]].set_visible(False)
    if audio is None:
        axes.text(0.5, 0.5, "no audio here", transform=axes.transAxes, ha="center", va="center")
        return
    samples, rate = audio
    samples = samples[: round(seconds * rate)]
    low, high = _envelope(samples)
    t = (np.arange(len(low)) + 0.5) / len(low) * len(samples) / rate
    axes.fill_between(t, low, high, color="0.4", lw=0.3)


def _envelope(samples: npt.NDArray[np.float32], points: int = 1000) -> tuple[Array, Array]:
    """Find the smallest and largest sample of each of about `points` equal stretches."""
    step = max(1, len(samples) // points)
    stretches = samples[: len(samples) // step * step].reshape(-1, step).astype(float)
    return stretches.min(axis=1, initial=0), stretches.max(axis=1, initial=0)


def _draw_mean(axes: Axes, weight: AudioWeight) -> None:
    values, t = weight.weight, (np.arange(len(weight.weight)) + 0.5) * weight.frame_shift
    low, high = values.min(1), values.max(1)
    axes.fill_between(t, low, high, color=SKY, alpha=0.5, lw=0, label="range over f")
    marker = "o" if len(t) == 1 else ""
    axes.plot(t, values.mean(1), color=BLUE, lw=1.5, marker=marker, label="mean over f")
    axes.axhline(0.5, color="black", ls=":", lw=0.8)
    axes.set(ylim=(0, 1), ylabel="share of audio")
    plain_axes(axes)


def _write_words(axes: Axes, weight: AudioWeight, transcript: str, width: float) -> None:
    """Write words above the waveform, or the transcript in lines where the words lack room.

    Args:
        width: the width of the axes, in inches.
    """
    words, covered = transcript.split(), weight.text_frames / len(weight.weight)
    top = axes.secondary_xaxis("top")
    top.spines["top"].set_visible(False)
    if covered * width >= 0.75 * _WORD * len(words):
        centres = (
            (np.arange(len(words)) + 0.5) / len(words) * weight.text_frames * weight.frame_shift
        )
        top.set_xticks(centres, words, rotation=90, fontsize=8)
        top.tick_params(length=2)
        top.set_xlabel("words, spread evenly, as the network has them", fontsize=8)
        return
    end = f" (text ends at {weight.text_frames * weight.frame_shift:.2f} s)" if covered < 1 else ""
    lines = wrapped(f"{transcript}{end}", int(width * 13))
    top.set_xticks([])
    top.set_xlabel("\n".join([*lines[:12], *(["…"] if lines[12:] else [])]), fontsize=8)
