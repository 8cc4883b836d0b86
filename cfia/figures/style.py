"""What all figures share: style, colours, and files with the same bytes for the same input.

No pyplot, no user's matplotlibrc, no dates or versions in the files. The colours can be told apart
by the colour-blind; in greyscale lightness, the style of a line or a marker tells them apart.
"""

from __future__ import annotations

import io
import logging
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cfia.figures.fonts import use_fonts
from cfia.files import write_if_changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # of its list of fonts

DPI = 150
# From the palette of Okabe and Ito (2008).
BLUE, VERMILION, ORANGE, SKY = "#0072B2", "#D55E00", "#E69F00", "#56B4E9"


@dataclass(frozen=True)
class Drawing:
    """A finished figure: as pixels, and as vectors for print and for pages."""

    png: bytes
    svg: bytes

    def write(self, name: Path) -> Path:
        """Write `<name>.svg` and `<name>.png`, and return the latter, which is there at the end."""
        png, svg = (name.with_name(f"{name.name}{end}") for end in (".png", ".svg"))
        write_if_changed(svg, self.svg)
        write_if_changed(png, self.png)
        return png


def style() -> Any:
    """Set matplotlib's own defaults, whatever a user's matplotlibrc says, for a `with` block."""
    import matplotlib as mpl

    settings: dict[str, Any] = {
        "backend": "agg", "font.size": 10, "figure.dpi": DPI, "savefig.dpi": DPI,
        "text.parse_math": False,  # a $ in a name is no mathematics
        "svg.fonttype": "path",  # letters as outlines, which need no font
        "svg.hashsalt": "cfia",  # ids that do not change from one time to the next
    }  # fmt: skip
    return mpl.rc_context({**mpl.rcParamsDefault, **settings})


def new_figure(width: float, height: float, title: str = "", below: str = "") -> Figure:
    """Make a figure, laid out so that nothing overlaps or is cut off.

    Args:
        width, height: in inches.
        title: put above, in as many lines as the width asks for.
        below: a line below the title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.06))
    FigureCanvasAgg(figure)
    if title:
        lines = [*wrapped(title, int(width * 11)), *([below] if below else [])]
        figure.suptitle("\n".join(lines), fontsize=10)
    return figure


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines; names of systems, without blanks, break behind an underscore."""
    lines: list[str] = []
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
        while len(line) > width:
            cut = line.rfind("_", 1, width) + 1 or width
            lines.append(line[:cut])
            line = line[cut:]
        lines.append(line)
    return lines


def plain_axes(*axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Draw a light grid, and no frame at the top and on the right."""
    for ax in axes:
        ax.grid(color="0.9", lw=0.6, axis=grid)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)


def finish(figure: Figure) -> Drawing:
    """Render a figure as PNG and SVG."""
    use_fonts(figure)
    png, svg = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():  # of glyphs that no font has, which `use_fonts` tells
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Matplotlib would write its version and the date, which change the bytes.
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.set_layout_engine(None)  # it is laid out already, and that takes time
        figure.savefig(svg, format="svg", metadata={"Creator": None, "Date": None})
    return Drawing(png.getvalue(), svg.getvalue())
