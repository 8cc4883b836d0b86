"""The specification curve: the effect of each open choice on UA, beside that of the seeds.

After Simonsohn, Simmons and Nelson (2020): all results in rising order, and a matrix below them
that says which choice each is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.experiment import in_brackets
from cfia.figures.style import BLUE, VERMILION, Drawing, finish, new_figure, plain_axes, style
from cfia.study.readings import Sweep, moved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 0.19  # height of a line of the matrix, in inches
CURVE = 2.5  # height of a curve, in inches
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


def points(sweep: Sweep) -> list[Point]:
    """List the seeds of a sweep's base and its finished choices, in rising order."""
    base = f"the base, {len(sweep.seeds())} seeds"
    points = [Point(value, base, SEED) for value in sweep.seeds()]
    for result in sweep.moved:
        if result.scored is not None:
            oracle = result.scored.trained.oracle
            marker = ORACLE if oracle else BEYOND if sweep.beyond(result) else WITHIN
            line = ", ".join(f"{key}: {value}" for key, value in moved(result).items())
            line += in_brackets(result.scored.trained.experiment.scheme_words)
            points.append(Point(float(np.mean(result.per_seed("ua"))), line, marker))
    return sorted(points, key=lambda point: point.value)


def plot_curve(title: str, sweeps: Sequence[Sweep]) -> Drawing | None:
    """Draw all sweeps, one below the other; None where none has a finished base and choice."""
    with style():
        figure = draw(title, sweeps)
        return finish(figure) if figure else None


def draw(title: str, sweeps: Sequence[Sweep]) -> Figure | None:
    """Draw the figure of `plot_curve`, without its files."""
    candidates = [(sweep, points(sweep)) for sweep in sweeps if sweep.seeds()]
    shown = [(sweep, ps) for sweep, ps in candidates if any(p.marker is not SEED for p in ps)]
    if not shown:
        return None
    heights = [h for _, ps in shown for h in (CURVE, INCH * (len(_lines(ps)) + 1))]
    figure = new_figure(9, sum(heights) + 1.5, title, "in rising order of UA")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for number, (sweep, ps) in enumerate(shown):
        _draw_curve(axes[2 * number], sweep, ps)
        _draw_matrix(axes[2 * number + 1], ps)
    used = [p.marker for _, ps in shown for p in ps]
    handles = [
        axes[0].plot([], [], label=name, **marker)[0]
        for name, marker in NAMES.items()
        if marker in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _lines(points: Sequence[Point]) -> list[str]:
    """List the lines of the matrix: the base above, then the choices by name."""
    seeds = [p.line for p in points if p.marker is SEED]
    return list(dict.fromkeys([*seeds, *sorted(p.line for p in points if p.marker is not SEED)]))


def _draw_curve(axes: Axes, sweep: Sweep, points: Sequence[Point]) -> None:
    seeds = sweep.seeds()
    axes.axhspan(min(seeds), max(seeds), color="0.9", lw=0)
    axes.axhline(float(np.mean(seeds)), color="0.5", lw=1)
    for x, point in enumerate(points):
        axes.plot([x], [point.value], **point.marker)
    axes.set_title(f"{sweep.heading} (grey: from the lowest to the highest seed of the base, and "
                   "their mean)", fontsize=9, loc="left")  # fmt: skip
    axes.set_ylabel("UA pooled, %")
    axes.set_xlim(-0.7, len(points) - 0.3)
    axes.set_xticks([])
    axes.margins(y=0.12)
    plain_axes(axes, grid="y")


def _draw_matrix(axes: Axes, points: Sequence[Point]) -> None:
    lines = _lines(points)
    for x, point in enumerate(points):
        y = lines.index(point.line)
        axes.plot([x, x], [-0.6, y], color="0.85", lw=0.7, zorder=1)
        axes.plot([x], [y], **{**point.marker, "ms": point.marker["ms"] - 0.5, "zorder": 2})
    axes.set_yticks(range(len(lines)), lines, fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(-0.7, len(points) - 0.3)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    for y in range(1, len(lines), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="0.96", lw=0, zorder=0)
