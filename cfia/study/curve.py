"""The specification curve: what each open choice does to UA, beside what the seeds do.

After Simonsohn, Simmons and Nelson (2020): all results in rising order, and below them which
choice each is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.figures.style import BLUE, VERMILION, Drawing, finish, new_figure, plain_axes, style
from cfia.study.readings import RowGroup, label, moved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 0.19  # of height for a line of the matrix
CURVE = 2.5  # inches of height of a curve
SEED: dict[str, Any] = {"marker": "s", "ms": 5, "mfc": "white", "mec": "0.25", "ls": ""}
WITHIN: dict[str, Any] = {"marker": "o", "ms": 5.5, "color": BLUE, "ls": ""}
BEYOND: dict[str, Any] = {"marker": "^", "ms": 6.5, "color": VERMILION, "ls": ""}
ORACLE: dict[str, Any] = {"marker": "D", "ms": 5.5, "color": "black", "ls": ""}
NAMES = {
    "the base, one point per seed": SEED,
    "one choice moved, within the range of the seeds": WITHIN,
    "one choice moved, beyond it": BEYOND,
    "epoch selected on the test fold (oracle)": ORACLE,
}


@dataclass(frozen=True)
class Point:
    """One result: its score in percent, the line of the matrix it belongs to, and its marker."""

    value: float
    line: str
    marker: dict[str, Any]


def points(block: RowGroup) -> list[Point]:
    """The seeds of a block's base and its finished choices, in rising order."""
    base = f"the base, {len(block.seeds())} seeds"
    found = [Point(value, base, SEED) for value in block.seeds()]
    for result in block.moved:
        if result.scored is not None:
            oracle = result.scored.trained.oracle
            marker = ORACLE if oracle else BEYOND if block.beyond(result) else WITHIN
            line = label(moved(result)) + (" (oracle)" if oracle else "")
            found.append(Point(float(np.mean(result.per_seed("ua"))), line, marker))
    return sorted(found, key=lambda point: point.value)


def plot_curve(title: str, found: Sequence[RowGroup]) -> Drawing | None:
    """Draw all blocks, one below the other; None where none has a finished base and choice."""
    with style():
        figure = draw(title, found)
        return finish(figure) if figure else None


def draw(title: str, found: Sequence[RowGroup]) -> Figure | None:
    """The figure of `plot_curve`."""
    every = [(block, points(block)) for block in found if block.seeds()]
    shown = [(block, of) for block, of in every if any(p.marker is not SEED for p in of)]
    if not shown:
        return None
    heights = [h for _, of in shown for h in (CURVE, INCH * (len(_lines(of)) + 1))]
    figure = new_figure(9, sum(heights) + 1.5, title, "in rising order of UA")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for number, (block, of) in enumerate(shown):
        _draw_curve(axes[2 * number], block, of)
        _draw_matrix(axes[2 * number + 1], of)
    used = [p.marker for _, of in shown for p in of]
    handles = [
        axes[0].plot([], [], label=name, **marker)[0]
        for name, marker in NAMES.items()
        if marker in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _lines(of: Sequence[Point]) -> list[str]:
    """The lines of the matrix: the base above, then the choices by name."""
    seeds = [p.line for p in of if p.marker is SEED]
    return list(dict.fromkeys([*seeds, *sorted(p.line for p in of if p.marker is not SEED)]))


def _draw_curve(axes: Axes, block: RowGroup, of: Sequence[Point]) -> None:
    seeds = block.seeds()
    axes.axhspan(min(seeds), max(seeds), color="0.9", lw=0)
    axes.axhline(float(np.mean(seeds)), color="0.5", lw=1)
    for x, point in enumerate(of):
        axes.plot([x], [point.value], **point.marker)
    axes.set_title(f"{block.heading} (grey: from the lowest to the highest seed of the base, and "
                   "their mean)", fontsize=9, loc="left")  # fmt: skip
    axes.set_ylabel("UA pooled, %")
    axes.set_xlim(-0.7, len(of) - 0.3)
    axes.set_xticks([])
    axes.margins(y=0.12)
    plain_axes(axes, grid="y")


def _draw_matrix(axes: Axes, of: Sequence[Point]) -> None:
    lines = _lines(of)
    for x, point in enumerate(of):
        y = lines.index(point.line)
        axes.plot([x, x], [-0.6, y], color="0.85", lw=0.7, zorder=1)
        axes.plot([x], [y], **{**point.marker, "ms": point.marker["ms"] - 0.5, "zorder": 2})
    axes.set_yticks(range(len(lines)), lines, fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(-0.7, len(of) - 0.3)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    for y in range(1, len(lines), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="0.96", lw=0, zorder=0)
