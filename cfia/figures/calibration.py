"""Calibration, whether a system is right as often as its posteriors say: diagram and ECE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cfia.figures.style import BLUE, VERMILION, Drawing, finish, new_figure, plain_axes, style
from cfia.metrics import Array
from cfia.posteriors import Posteriors
from cfia.scoring.outputs import Outputs
from cfia.scoring.trained import TrainedExperiment

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Utterances by their confidence, the largest posterior, in bins of equal width over 0 to 1.

    With several seeds each utterance counts once for each.

    Attributes:
        n: utterances in each bin, (bins,).
        confidence, accuracy: their means there, from 0 to 1; NaN in an empty bin.
    """

    n: npt.NDArray[np.int64]
    confidence: Array
    accuracy: Array

    @property
    def ece(self) -> float:
        """Expected calibration error, from 0 to 1 (Naeini et al. 2015; Guo et al. 2017, Eq. 3).

        This is the mean over utterances of their bin's |accuracy - confidence|.
        """
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.n * gaps) / self.n.sum())


def reliability(seeds: Iterable[Posteriors], bins: int = BINS) -> Reliability:
    """Sort the utterances of each seed into bins; a bin holds its upper end, as in Guo et al."""
    answers = [(p.probs.max(axis=1), p.hyps == p.refs) for p in seeds]
    confidence, right = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    confidence = np.clip(confidence, 0, 1)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    n = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights, bins) for weights in (confidence, right)]
    with np.errstate(invalid="ignore"):
        return Reliability(n, sums[0] / n, sums[1] / n)


def plot_reliability(trained: TrainedExperiment, outputs: Outputs) -> Drawing:
    """Draw accuracy by confidence beside the diagonal, and the utterances of each bin."""
    bins = reliability(outputs.pooled.values())
    edges = np.arange(BINS) / BINS
    with style():
        below = f"expected calibration error {100 * bins.ece:.2f} %, utterances: "
        below += outputs.times_seeds
        figure = new_figure(4.8, 5.6, trained.title, below)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        bar = {"width": 1 / BINS, "align": "edge", "edgecolor": "white", "color": BLUE}
        top.bar(edges, np.nan_to_num(bins.accuracy), label="accuracy", **bar)
        top.plot([0, 1], [0, 1], color="black", ls="--", lw=1, label="as sure as right")
        top.plot(
            bins.confidence, bins.accuracy, ls="", marker="o", ms=5, color=VERMILION,
            mec="black", clip_on=False, zorder=3, label="at the mean confidence",
        )  # fmt: skip
        top.set(ylabel="share of right utterances", xlim=(0, 1), ylim=(0, 1))
        bottom.bar(edges, bins.n, **bar)
        bottom.set(xlabel="confidence (the largest posterior)", ylabel="utterances")
        plain_axes(top, bottom, grid="y")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        return finish(figure)
