"""One figure per table: the UA of every system with its interval, its folds and its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.figures.style import (
    BLUE,
    ORANGE,
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
_LEGEND = ("pooled", "95 % interval", "one fold", "one seed", "as published")


@dataclass(frozen=True)
class Dots:
    """One row of the figure: UA in percent.

    Attributes:
        label: the system.
        pooled: the score over all folds; None for a system known from its publication alone.
        folds: the score of each fold.
        seeds: the pooled score of each seed.
        published: the score as published, where it is known.
    """

    label: str
    pooled: Estimate | None = None
    folds: Sequence[float] = ()
    seeds: Sequence[float] = ()
    published: float | None = None


def plot_dots(title: str, rows: Sequence[Dots]) -> Drawing:
    """Draw rows of a table, the first at the top."""
    labels = ["\n".join(wrapped(row.label, _LABEL)) for row in rows]
    lines = sum(max(1.6, 1.1 * (1 + label.count("\n"))) for label in labels)
    with style():
        figure = new_figure(8, 1.6 + 0.24 * lines, title)
        axes = figure.add_subplot()
        for y, row in enumerate(rows):
            _draw_row(axes, y, row)
        axes.set_yticks(range(len(rows)), labels, fontsize=9)
        axes.set(xlabel="UA, %", ylim=(len(rows) - 0.4, -0.6))
        axes.margins(x=0.04)
        plain_axes(axes)
        axes.tick_params(axis="y", length=0)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        shown = {name: handles[name] for name in _LEGEND if name in handles}
        figure.legend(
            shown.values(), shown.keys(), loc="outside lower center", ncols=5, frameon=False,
            fontsize=9,
        )  # fmt: skip
        return finish(figure)


def _draw_row(axes: Axes, y: float, row: Dots) -> None:
    if row.pooled is not None:
        value, low, high = row.pooled.value, row.pooled.low, row.pooled.high
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=BLUE, lw=2, zorder=2, label="95 % interval")
        mark: dict[str, Any] = {"marker": "o", "ms": 8, "color": BLUE, "mec": "black", "zorder": 4}
        axes.plot([value], [y], ls="", label="pooled", **mark)
    # Folds below the line in a fixed scatter, so that equal ones do not hide each other.
    offsets = 0.22 + 0.05 * (np.arange(len(row.folds)) % 3)
    points: dict[str, Any] = {"marker": "o", "ms": 3.5, "mfc": "white", "mec": "0.3", "mew": 0.8}
    if row.folds:
        axes.plot(row.folds, y + offsets, ls="", zorder=3, label="one fold", **points)
    if len(row.seeds) > 1:
        ticks: dict[str, Any] = {"marker": "|", "ms": 8, "mew": 1.5, "color": VERMILION}
        axes.plot(row.seeds, [y - 0.25] * len(row.seeds), ls="", label="one seed", **ticks)
    if row.published is not None:
        diamond: dict[str, Any] = {"marker": "D", "ms": 6, "color": ORANGE, "mec": "black"}
        axes.plot([row.published], [y], ls="", zorder=5, label="as published", **diamond)
