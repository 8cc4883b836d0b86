"""Points over a base, of several systems: a forest plot that marks the rows with a stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from cfia.scoring.cells import Difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 46  # letters of a row's name in a line
_LINE = 0.15  # inches of a line of a name
_HONEST: dict[str, Any] = {"marker": "o", "ms": 6, "color": BLUE}
_STAMPED: dict[str, Any] = {"marker": "D", "ms": 5.5, "color": VERMILION}
_LEGEND = {
    "honest": _HONEST,
    "not honest: its stamp is in brackets": _STAMPED,
    "hollow: not paired by utterance": {"marker": "s", "ms": 6, "color": "0.3", "mfc": "white"},
}


@dataclass(frozen=True)
class PointRow:
    """A row: how much it is above its base, in points, by the title of the metric.

    Attributes:
        stamps: what makes it look better than it is; none of an honest row.
        paired: whether it is held against its base utterance by utterance.
    """

    label: str
    points: Mapping[str, Difference]
    stamps: Sequence[str] = ()
    paired: bool = True


@dataclass(frozen=True)
class PointBlock:
    """The rows of one system, the first at the top."""

    heading: str
    rows: Sequence[PointRow]


def plot_points(title: str, blocks: Sequence[PointBlock]) -> Drawing:
    """Draw the points of all rows with their intervals, a panel for each metric."""
    with style():
        return finish(draw(title, blocks))


def draw(title: str, blocks: Sequence[PointBlock]) -> Figure:
    """Draw the figure of `plot_points`, without its files."""
    metrics = list(dict.fromkeys(m for block in blocks for row in block.rows for m in row.points))
    labels = [[_label(row) for row in block.rows] for block in blocks]
    heights = [
        [_LINE * (label.count("\n") + 1) + 0.09 for label in of_block] for of_block in labels
    ]
    sizes = [sum(of_block) for of_block in heights]
    figure = new_figure(
        9.5, sum(sizes) + 0.35 * len(blocks) + 1.3, title, "in points; lines: 95 % intervals"
    )
    panels = figure.subplots(
        len(blocks), len(metrics), sharex="col", squeeze=False, height_ratios=sizes
    )
    for block, names, of_block, line in zip(blocks, labels, heights, panels, strict=True):
        for axes, metric in zip(line, metrics, strict=True):
            _draw_block(axes, block, of_block, metric)
            axes.set_yticks(_places(of_block), [])
        _name_rows(line[0], block, names, of_block)
    for axes, metric in zip(panels[-1], metrics, strict=True):
        axes.set_xlabel(f"{metric} over the honest row, points")
    handles = [panels[0][0].plot([], [], ls="", label=name, **mark)[0]
               for name, mark in _LEGEND.items()]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _label(row: PointRow) -> str:
    stamps = f" [{'; '.join(row.stamps)}]" if row.stamps else ""
    return "\n".join(wrapped(f"{row.label}{stamps}", _LABEL))


def _places(heights: Sequence[float]) -> list[float]:
    """Place each row in the middle of its height."""
    return [sum(heights[:i]) + height / 2 for i, height in enumerate(heights)]


def _name_rows(
    axes: Axes, block: PointBlock, labels: Sequence[str], heights: Sequence[float]
) -> None:
    axes.set_yticks(_places(heights), labels, fontsize=8)
    for text, row in zip(axes.get_yticklabels(), block.rows, strict=True):
        text.set_color(VERMILION if row.stamps else "black")
    axes.set_title(block.heading, fontsize=9.5, fontweight="bold", loc="left")


def _draw_block(axes: Axes, block: PointBlock, heights: Sequence[float], metric: str) -> None:
    axes.axvline(0, color="0.3", lw=1, zorder=1)
    for y, row in zip(_places(heights), block.rows, strict=True):
        points = row.points.get(metric)
        if points is None:
            continue
        mark = _STAMPED if row.stamps else _HONEST
        if points.low is not None and points.high is not None:
            axes.plot([points.low, points.high], [y, y], color=mark["color"], lw=1.6, zorder=2)
        fill: dict[str, Any] = {} if row.paired else {"mfc": "white", "mew": 1.5}
        axes.plot([points.value], [y], ls="", zorder=3, **mark, **fill)
    axes.set_ylim(sum(heights), 0)
    plain_axes(axes)
    axes.tick_params(axis="y", length=0)
