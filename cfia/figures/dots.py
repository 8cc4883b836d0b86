"""One figure per table: the UA of every system with its interval, its folds and its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.figures.style import (
    BLUE,
    VERMILION,
    Drawing,
    finish,
    new_figure,
    plain_axes,
    style,
    wrapped,
)
from cfia.scoring.cells import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL = 34  # letters of a system's name in a line
_KEY = 90  # letters of a line that says whom folds test
_NUMBERED = 30  # folds whose dots have numbers, at most
_WIDTH = 330  # points that the axis has at least, beside the names
_ABOVE = 0.24  # inches from the top of a row to its line
_BELOW = 0.07  # inches between the line and the folds
_PUBLISHED = "as published on IEMOCAP, under its own protocol"
_LEGEND = ("pooled", "95 % interval", "one fold", "one seed", _PUBLISHED)
_HEADING = 0.3  # inches of a group's heading


@dataclass(frozen=True)
class Dots:
    """One row of the figure: UA in percent.

    Attributes:
        label: the system.
        pooled: the score over all folds; None for a system known from its publication alone.
        folds: the score of each fold.
        seeds: the pooled score of each seed.
        published: the scores as published, where some are known.
        tested: for each fold its number and whom it tests, `1: Ses01F`; none: not known.
        group: a heading above the first of successive rows that have the same; "": none.
    """

    label: str
    pooled: Estimate | None = None
    folds: Sequence[float] = ()
    seeds: Sequence[float] = ()
    published: Sequence[float] = ()
    tested: Sequence[str] = ()
    group: str = ""


def plot_dots(title: str, rows: Sequence[Dots]) -> Drawing:
    """Draw rows of a table, the first at the top, and below them whom the folds test."""
    labels = ["\n".join(wrapped(row.label, _LABEL)) for row in rows]
    numbered = all(len(row.folds) <= _NUMBERED for row in rows)
    lanes = [_lanes(row.folds, _range(rows), _dot(row, numbered)) for row in rows]
    # The y axis is in inches. A row has its line, the seeds above and the folds below it.
    heights = [
        max(0.24 * max(1.6 if row.folds else 1.35, 1.1 * (1 + label.count("\n"))),
            _ABOVE + _BELOW + (1 + max(of_row)) * _lane(row, numbered) + 0.04 if of_row else 0)
        for label, row, of_row in zip(labels, rows, lanes, strict=True)
    ]  # fmt: skip
    above = ["", *(row.group for row in rows)]
    headings = [i for i, row in enumerate(rows) if row.group not in ("", above[i])]
    gaps = [_HEADING * (i in headings) for i in range(len(rows))]
    lines = np.cumsum([0, *heights[:-1]]) + np.cumsum(gaps) + _ABOVE
    key = _key(rows) if numbered else []
    with style():
        figure = new_figure(8, 1.6 + sum(heights) + sum(gaps) + 0.13 * len(key), title)
        axes = figure.add_subplot()
        for y, row, of_row in zip(lines, rows, lanes, strict=True):
            _draw_row(axes, y, row)
            _draw_folds(axes, y, row, of_row, numbered=numbered)
        axes.set_yticks(lines, labels, fontsize=9)
        for i in headings:
            _draw_heading(axes, lines[i] - _ABOVE, rows[i].group)
        axes.set_ylim(sum(heights) + sum(gaps), 0)
        axes.set_xlabel("\n".join(["UA, %", *key]), fontsize=8 if key else 10)
        axes.margins(x=0.04)
        plain_axes(axes)
        axes.tick_params(axis="y", length=0)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        shown = {name: handles[name] for name in _LEGEND if name in handles}
        figure.legend(
            shown.values(), shown.keys(), loc="outside lower center", frameon=False,
            fontsize=9, ncols=3 if len(shown) > 4 else 4,
        )  # fmt: skip
        return finish(figure)


def _draw_heading(axes: Axes, y: float, heading: str) -> None:
    """Write the heading of a group over the axis, and a line across above it."""
    axes.axhline(y - _HEADING, color="0.6", lw=0.8)
    axes.text(
        0.005, y - _HEADING / 2, heading, transform=axes.get_yaxis_transform(), va="center",
        fontsize=9, fontweight="bold",
    )  # fmt: skip


def _key(rows: Sequence[Dots]) -> list[str]:
    """Say in lines whom the folds test, once for all rows of the same folds."""
    tested = dict.fromkeys(tuple(row.tested) for row in rows if row.tested)
    return [line for some in tested for line in wrapped(f"folds test {'; '.join(some)}", _KEY)]


def _range(rows: Sequence[Dots]) -> float:
    """Estimate the width of the axis, in points of percent."""
    ends = [end for row in rows if row.pooled for end in (row.pooled.low, row.pooled.high)]
    values = [value for row in rows for value in (*row.folds, *row.seeds)]
    values += [end for end in ends if end is not None]
    return max(values) - min(values) if values else 0.0


def _dot(row: Dots, numbered: bool) -> float:
    """Choose the diameter of a fold's dot, in points; a number has to fit in."""
    return 8.5 if row.tested and numbered else 3.5


def _lane(row: Dots, numbered: bool) -> float:
    """Compute the height of a lane of dots, in inches."""
    return (_dot(row, numbered) + 1) / 72


def _lanes(values: Sequence[float], width: float, dot: float) -> list[int]:
    """Choose a lane for each value, the nearest to the line where it hides no other."""
    apart = (dot + 1) * width / _WIDTH
    ends: list[float] = []  # of each lane, the last value in it
    lanes = [0] * len(values)
    for i in np.argsort(values, kind="stable"):
        free = [lane for lane, end in enumerate(ends) if values[i] - end > apart]
        lanes[i] = free[0] if free else len(ends)
        ends[lanes[i] : lanes[i] + 1] = [values[i]]
    return lanes


def _draw_folds(axes: Axes, y: float, row: Dots, lanes: Sequence[int], *, numbered: bool) -> None:
    """Draw the folds below the line of their row, in lanes, so that none hides another."""
    dot = _dot(row, numbered)
    points: dict[str, Any] = {"marker": "o", "ms": dot, "mfc": "white", "mec": "0.3", "mew": 0.8}
    below = [y + _BELOW + (lane + 0.5) * _lane(row, numbered) for lane in lanes]
    if row.folds:
        axes.plot(row.folds, below, ls="", zorder=3, label="one fold", **points)
    numbers = [whom.partition(":")[0] if numbered else "" for whom in row.tested]
    for value, place, number in zip(row.folds, below, numbers, strict=False):  # or not known
        axes.text(value, place, number, ha="center", va="center_baseline", fontsize=5.5, zorder=3.5)


def _draw_row(axes: Axes, y: float, row: Dots) -> None:
    if row.pooled is not None:
        value, low, high = row.pooled.value, row.pooled.low, row.pooled.high
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=BLUE, lw=2, zorder=2, label="95 % interval")
        mark: dict[str, Any] = {"marker": "o", "ms": 8, "color": BLUE, "mec": "black", "zorder": 4}
        axes.plot([value], [y], ls="", label="pooled", **mark)
    if len(row.seeds) > 1:
        ticks: dict[str, Any] = {"marker": "|", "ms": 8, "mew": 1.5, "color": VERMILION}
        axes.plot(row.seeds, [y - 0.13] * len(row.seeds), ls="", label="one seed", **ticks)
    if row.published:
        diamond: dict[str, Any] = {"marker": "D", "ms": 6, "mfc": "white", "mec": "black"}
        axes.plot(row.published, [y] * len(row.published), ls="", zorder=5, label=_PUBLISHED,
                  mew=1.4, **diamond)  # fmt: skip
