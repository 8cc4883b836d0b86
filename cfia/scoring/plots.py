"""Figures of one run: confusion matrix and learning curves, as PNG bytes.

The same input gives the same bytes: no pyplot, no user's matplotlibrc, no dates or versions in the
file. Colours are told apart by the colour-blind, and lines by their style in print.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.metrics import Counts, ua, wa
from cfia.scoring.runs import Outputs, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
# From the palette of Okabe and Ito (2008).
BLUE, VERMILION = "#0072B2", "#D55E00"
TRAINING: dict[str, Any] = {"color": BLUE, "ls": "-"}
VALIDATION: dict[str, Any] = {"color": VERMILION, "ls": "--"}
SELECTED: dict[str, Any] = {"color": VERMILION, "ls": "", "marker": "o", "ms": 4.5, "mec": "black"}


def plot_confusion(run: Run, outputs: Outputs) -> bytes:
    """Pooled confusion matrix: share of each reference class in percent, and utterances."""
    counts = outputs.pooled.confusion(np.zeros(len(outputs.pooled.utts), int), 1)[0]
    k = len(counts)
    with _style():
        figure = _figure(2.6 + 0.85 * k, 2.3 + 0.75 * k)
        axes = figure.add_subplot()
        scores = f"UA {float(ua(counts)):.2f} %, WA {float(wa(counts)):.2f} %, n = {counts.sum()}"
        _title(figure, run, scores)
        _draw_confusion(figure, axes, counts, outputs.pooled.classes)
        return _png(figure)


def _draw_confusion(figure: Figure, axes: Axes, counts: Counts, classes: Sequence[str]) -> None:
    references = counts.sum(1, keepdims=True)
    share = 100 * counts / np.maximum(references, 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(counts.shape):
        text = f"{share[i, j]:.1f}\n({counts[i, j]})" if references[i, 0] else "–"
        colour = "white" if share[i, j] > 70 else "black"
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
    names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
    positions = np.arange(len(classes))
    rotation = 0 if max(len(name) for name in names) <= 6 else 35
    anchor: dict[str, Any] = {"ha": "right", "rotation_mode": "anchor"} if rotation else {}
    axes.set_xticks(positions, names, rotation=rotation, **anchor)
    axes.set_yticks(positions, names)
    axes.set(xlabel="recognised as", ylabel="reference")
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("% of the reference class")


def plot_learning_curves(run: Run) -> bytes | None:
    """Loss and UA by epoch, a thin line for each fold and seed, a dot at the epoch selected.

    None where no fold has a history.csv.
    """
    paths = [part.directory / "history.csv" for part in run.parts]
    histories = [_history(path) for path in paths if path.exists()]
    if not histories:
        return None
    with _style():
        figure = _figure(9, 4.1)
        folds, seeds = {part.fold for part in run.parts}, {part.seed for part in run.parts}
        _title(figure, run, f"folds: {len(folds)}, seeds: {len(seeds)}")
        _draw_curves(figure, histories, "test (oracle)" if run.oracle else "validation")
        return _png(figure)


History = dict[str, npt.NDArray[np.float64]]
_COLUMNS = ("epoch", "train_loss", "valid_loss", "valid_ua", "selected")


def _history(path: Path) -> History:
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in _COLUMNS}
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} must have the columns {', '.join(_COLUMNS)}, all numbers; train again"
        ) from None


def _draw_curves(figure: Figure, histories: Sequence[History], part: str) -> None:
    from matplotlib.ticker import MaxNLocator

    loss, score = figure.subplots(1, 2)
    loss.set(xlabel="epoch", ylabel="loss")
    score.set(xlabel="epoch", ylabel=f"UA on {part}, %")
    for axes in (loss, score):
        axes.grid(color="0.9", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    alpha = max(0.25, 1 / len(histories) ** 0.5)
    for history in histories:
        epochs, chosen = history["epoch"], history["selected"] > 0
        loss.plot(epochs, history["train_loss"], **TRAINING, alpha=alpha, lw=1)
        for axes, name in ((loss, "valid_loss"), (score, "valid_ua")):
            axes.plot(epochs, history[name], **VALIDATION, alpha=alpha, lw=1)
            # Above the lines of all folds.
            axes.plot(epochs[chosen], history[name][chosen], **SELECTED, zorder=3)
    handles = [
        *loss.plot([], [], **TRAINING, lw=1.8, label="training"),
        *loss.plot([], [], **VALIDATION, lw=1.8, label=part),
        *loss.plot([], [], **SELECTED, label="epoch selected"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _style() -> Any:
    """Matplotlib's own defaults, whatever a user's matplotlibrc says, and no mathematics in $."""
    import matplotlib as mpl

    own = {"font.size": 10, "text.parse_math": False, "figure.dpi": DPI, "savefig.dpi": DPI}
    return mpl.rc_context({**mpl.rcParamsDefault, **own, "backend": "agg"})


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.06))
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, run: Run, below: str) -> None:
    """The run, in as many lines as the figure is wide for, and a line below."""
    width = int(figure.get_figwidth() * 11)
    lines = textwrap.wrap(f"{run.label}, {run.scheme}", width)
    figure.suptitle("\n".join([*lines, below]), fontsize=10)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Matplotlib would write its version as the software, which changes the bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
