"""The figures of finished experiments and tables: their files, and their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.figures.calibration import plot_reliability
from cfia.figures.dots import Dots, plot_dots
from cfia.figures.plots import plot_confusion, plot_consistency, plot_learning_curves
from cfia.figures.style import Drawing
from cfia.files import digest, read_json, sha256, write_if_changed, write_json
from cfia.scoring.cells import Estimate, show
from cfia.scoring.outputs import Outputs
from cfia.scoring.scores_file import Scored
from cfia.scoring.trained import TrainedExperiment
from cfia.training.history import HISTORY
from cfia.training.training import SELECTION

# The figures of an experiment by their files' names: words for those who cannot see it, and the
# function that draws it from the experiment and its posteriors (None: there is nothing to draw).
# A new figure is one more line (cfia/README.md).
FIGURES: dict[str, tuple[str, Callable[[TrainedExperiment, Outputs], Drawing | None]]] = {
    "confusion": ("Confusion matrix", plot_confusion),
    "reliability": ("Reliability diagram", plot_reliability),
    "learning_curves": (
        "Learning curves: loss and UA",
        lambda trained, _: plot_learning_curves(trained),
    ),
    "consistency": ("Consistency terms by epoch", lambda trained, _: plot_consistency(trained)),
}


@dataclass(frozen=True)
class Picture:
    """A picture, a whole SVG file, with words for those who cannot see it.

    HTML pages include it; Markdown, which is published without its pictures, leaves it out.
    """

    svg: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class FigureSpec:
    """A figure to be drawn.

    Attributes:
        path: where it goes, without the endings .png and .svg.
        alt: a description in words.
        draw: the function that draws it; it returns None where there is nothing to draw.
    """

    path: Path
    alt: str
    draw: Callable[[], Drawing | None]

    @property
    def files(self) -> tuple[Path, Path]:
        """The PNG and the SVG."""
        png, svg = (self.path.with_name(f"{self.path.name}{end}") for end in (".png", ".svg"))
        return png, svg


@dataclass(frozen=True)
class FigureFiles:
    """The pictures for a page, and for each of their files whether it was written."""

    pictures: list[Picture]
    written: list[bool]


def draw_if_stale(index: Path, inputs: Any, specs: Sequence[FigureSpec]) -> FigureFiles:
    """Draw figures into their files, unless these are there and were drawn from the same inputs.

    Args:
        index: a file with the digests of the inputs and of the files.
        inputs: all that decides what is drawn, as for `cfia.files.digest`.
    """
    made_of = digest([inputs, _program(), [spec.path.name for spec in specs]])
    files = [path for spec in specs for path in spec.files]
    written = [False] * len(files)
    if not _is_current(index, {"made_of": made_of, "files": _digests(files)}):
        written = [changed for spec in specs for changed in _draw(spec)]
        write_json(index, {"made_of": made_of, "files": _digests(files)})
    svgs = [(spec.files[1], spec.alt) for spec in specs]
    pictures = [Picture(path.read_bytes(), alt) for path, alt in svgs if path.exists()]
    return FigureFiles(pictures, written)


def _draw(spec: FigureSpec) -> list[bool]:
    drawing = spec.draw()
    if drawing is None:  # and none of an earlier training may stay
        for path in spec.files:
            path.unlink(missing_ok=True)
        return [False, False]
    contents = (drawing.png, drawing.svg)
    return [write_if_changed(path, data) for path, data in zip(spec.files, contents, strict=True)]


def _digests(files: Sequence[Path]) -> dict[str, str]:
    return {path.name: sha256(path) for path in files if path.exists()}


def _is_current(index: Path, expected: dict[str, Any]) -> bool:
    try:
        return index.exists() and bool(read_json(index) == expected)
    except UserError:  # cut or edited; it is made anew
        return False


@cache
def _program() -> list[str]:
    """List what the drawing depends on: matplotlib's version, and the digests of this package."""
    import matplotlib as mpl

    return [str(mpl.__version__), *(sha256(p) for p in sorted(Path(__file__).parent.glob("*.py")))]


def experiment_figures(row: Scored) -> FigureFiles:
    """Draw the figures of one experiment, beside its scores."""
    trained, outputs = row.trained, row.outputs
    whose = f"of {trained.label}, scheme {trained.scheme}"
    specs = [
        FigureSpec(trained.directory / name, f"{alt} {whose}", partial(draw, trained, outputs))
        for name, (alt, draw) in FIGURES.items()
    ]
    names = ("posteriors.tsv", HISTORY, f"{SELECTION}/{HISTORY}")
    read = [training.directory / name for training in trained.trainings for name in names]
    inputs = {str(p.relative_to(trained.directory)): sha256(p) for p in read if p.exists()}
    made_of = [trained.label, trained.scheme, trained.validation_shared, inputs]
    return draw_if_stale(trained.directory / ".figures.json", made_of, specs)


def scheme_figure(expdir: Path, title: str, rows: Sequence[Scored]) -> FigureFiles:
    """Draw UA of all systems of one scheme, `tables/results_<scheme>.png`."""
    scheme = rows[0].trained.scheme
    dots = [dots_row(row) for row in rows]
    return table_figure(expdir / "tables" / f"results_{scheme}", title, dots)


def table_figure(path: Path, title: str, rows: Sequence[Dots]) -> FigureFiles:
    """Draw the figure that goes with a table; `path` is without the endings of its files."""
    names = [f"{row.group}, {row.label}" if row.group else row.label for row in rows]
    words = "; ".join(f"{n} {show(row.pooled)}" for n, row in zip(names, rows, strict=True))
    spec = FigureSpec(path, f"{title}. UA in percent: {words}", partial(plot_dots, title, rows))
    return draw_if_stale(path.with_name(f".{path.name}.json"), [title, repr(list(rows))], [spec])


def dots_row(row: Scored) -> Dots:
    """Take the UA of a finished experiment as a row of the figure."""
    return Dots(
        label=row.trained.label,
        pooled=Estimate.of(row.scores["pooled"], "ua"),
        folds=[fold["ua"] for fold in row.scores["folds"].values()],
        tested=[f"{k}: {whom}" for k, whom in row.outputs.whom_tests().items()],
        seeds=[seed["pooled"]["ua"] for seed in row.scores["seeds"].values()],
    )
