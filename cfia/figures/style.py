"""What all figures share: style, colours, and files with the same bytes for the same input.

No pyplot, no user's matplotlibrc, no dates or versions in the files. Colours are told apart by
the colour-blind, and in greyscale by lightness, by the style of a line, or by a marker.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
# From the palette of Okabe and Ito (2008).
BLUE, VERMILION, ORANGE, SKY = "#0072B2", "#D55E00", "#E69F00", "#56B4E9"


@dataclass(frozen=True)
class Drawing:
    """A finished figure: as pixels, and as vectors for print and for pages."""

    png: bytes
    svg: bytes


def style() -> Any:
    """Matplotlib's own defaults, whatever a user's matplotlibrc says, and no mathematics in $."""
    import matplotlib as mpl

    own: dict[str, Any] = {
        "font.size": 10,
        "text.parse_math": False,
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
    }
    # Letters as outlines, which need no font; ids that do not change from one time to the next.
    own |= {"svg.fonttype": "path", "svg.hashsalt": "cfia"}
    return mpl.rc_context({**mpl.rcParamsDefault, **own, "backend": "agg"})


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, laid out so that nothing overlaps or is cut off."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.06))
    FigureCanvasAgg(figure)
    return figure


def add_title(figure: Figure, above: str, below: str = "") -> None:
    """A title in as many lines as the figure is wide for, and a line below."""
    lines = broken(above, int(figure.get_figwidth() * 11))
    figure.suptitle("\n".join([*lines, *([below] if below else [])]), fontsize=10)


def broken(text: str, width: int) -> list[str]:
    """A text in lines; names of systems, without blanks, are broken behind an underscore."""
    found: list[str] = []
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
        while len(line) > width:
            cut = line.rfind("_", 1, width) + 1 or width
            found.append(line[:cut])
            line = line[cut:]
        found.append(line)
    return found


def plain_axes(*axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """A light grid, and no frame at the top and on the right."""
    for one in axes:
        one.grid(color="0.9", lw=0.6, axis=grid)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)


def shortened(names: Sequence[str], longest: int = 16) -> list[str]:
    """Names cut to what an axis has room for."""
    return [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in names]


def finish(figure: Figure) -> Drawing:
    """The figure's files."""
    png, svg = io.BytesIO(), io.BytesIO()
    # Matplotlib would write its version and the date, which change the bytes.
    figure.savefig(png, format="png", metadata={"Software": None})
    figure.set_layout_engine("none")  # the layout stands; to find it again takes time
    figure.savefig(svg, format="svg", metadata={"Creator": None, "Date": None})
    return Drawing(png.getvalue(), svg.getvalue())
