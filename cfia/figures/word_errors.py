"""What word errors in the text of the test cost: UA over the word error rate, system by system."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from cfia.scoring.cells import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "ls": "-"},
    {"color": VERMILION, "marker": "^", "ls": "--"},
    {"color": ORANGE, "marker": "s", "ls": "-."},
    {"color": SKY, "marker": "D", "ls": ":"},
)
_RECOGNISED: dict[str, Any] = {"ls": "", "ms": 10, "mfc": "none", "mew": 1.8, "zorder": 4}


@dataclass(frozen=True)
class ErrorCurve:
    """A system's UA by the word errors of the text that it is tested with, both in percent.

    Attributes:
        points: word error rate and UA, by rising rates.
        recognised: the same with a recogniser's own text, where that is known.
    """

    label: str
    points: Sequence[tuple[float, Estimate]]
    recognised: tuple[float, Estimate] | None = None


def plot_word_errors(
    title: str, curves: Sequence[ErrorCurve], level: ErrorCurve | None, recogniser: str
) -> Drawing:
    """Draw a line with its interval for each system, and a recogniser's own text beside it.

    Args:
        title: of the figure.
        curves: of systems that take text.
        level: of one that takes none, whose one point is drawn across.
        recogniser: its name, for the legend.
    """
    with style():
        return finish(draw(title, curves, level, recogniser))


def draw(
    title: str, curves: Sequence[ErrorCurve], level: ErrorCurve | None, recogniser: str
) -> Figure:
    """Draw the figure of `plot_word_errors`, without its files."""
    figure = new_figure(6.4, 5.0, title, "bands: 95 % intervals")
    axes = figure.add_subplot()
    for curve, line in zip(curves, itertools.cycle(_LINES)):
        _draw(axes, curve, line)
    if level:
        ua = level.points[0][1].value
        axes.axhline(ua, color="0.35", lw=1.2, ls=(0, (6, 3)), label=level.label)
    if any(curve.recognised for curve in curves):
        axes.plot([], [], color="0.2", marker="o", label=f"text of {recogniser}", **_RECOGNISED)
    axes.set(xlabel="word errors in the text of the test, % (as measured)", ylabel="UA pooled, %")
    axes.margins(x=0.03)
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, curve: ErrorCurve, line: dict[str, Any]) -> None:
    rates = [rate for rate, _ in curve.points]
    values = [ua.value for _, ua in curve.points]
    axes.plot(rates, values, lw=1.8, ms=5, label=curve.label, **line)
    known = [(r, ua.low, ua.high) for r, ua in curve.points
             if ua.low is not None and ua.high is not None]  # fmt: skip
    if known:
        x, low, high = zip(*known, strict=True)
        axes.fill_between(x, low, high, color=line["color"], alpha=0.13, lw=0)
    if curve.recognised:
        rate, ua = curve.recognised
        axes.plot([rate], [ua.value], color=line["color"], marker=line["marker"], **_RECOGNISED)
