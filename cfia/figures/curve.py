"""Posteriors over the time of a recording that was read in windows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cfia.figures.style import (
    BLUE,
    ORANGE,
    SKY,
    VERMILION,
    Drawing,
    finish,
    new_figure,
    plain_axes,
    style,
)

# More of the palette of Okabe and Ito (2008); where colours come again, lines are dashed.
_COLOURS = (BLUE, VERMILION, "#009E73", ORANGE, "#CC79A7", SKY, "black")
_LINES = ("-", "--", ":", "-.")
_MARKED = 40  # windows that have room for a dot each
_COLUMNS = 6  # of the legend


def plot_curve(
    windows: Sequence[tuple[float, float]],
    posteriors: npt.NDArray[np.float64],
    classes: Sequence[str],
    title: str,
) -> Drawing:
    """Draw posteriors (windows, classes) at the middles of their windows.

    Args:
        windows: the start and end of each, in seconds.
        title: may have several lines.
    """
    middles = [(start + end) / 2 for start, end in windows]
    looks = itertools.cycle(itertools.product(_LINES, _COLOURS))
    rows = -(-len(classes) // _COLUMNS)
    with style():
        figure = new_figure(8.0, 3.4 + 0.25 * rows)
        figure.suptitle(title, fontsize=10)
        axes = figure.add_subplot()
        marker = "o" if len(windows) <= _MARKED else ""
        for name, values, (line, colour) in zip(classes, posteriors.T, looks, strict=False):
            axes.plot(
                middles, values, ls=line, color=colour, lw=1.5, marker=marker, ms=3.5, label=name
            )
        axes.set(xlim=(0, windows[-1][1]), ylim=(-0.02, 1.02))
        axes.set(xlabel="seconds (middle of a window)", ylabel="posterior")
        plain_axes(axes)
        figure.legend(loc="outside lower center", ncols=_COLUMNS, frameon=False, fontsize=9)
        return finish(figure)
