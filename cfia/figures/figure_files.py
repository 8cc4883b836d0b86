"""The figures that go with finished runs: which there are, their files, and their words."""

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
from cfia.scoring.scores_file import Scored
from cfia.scoring.trained import Outputs, TrainedExperiment

# The figures of a run by their files' names: words for those who cannot see it, and what draws it
# from the run and its posteriors (None: nothing to draw). A new one is a line (cfia/README.md).
FIGURES: dict[str, tuple[str, Callable[[TrainedExperiment, Outputs], Drawing | None]]] = {
    "confusion": ("Confusion matrix", plot_confusion),
    "reliability": ("Reliability diagram", plot_reliability),
    "learning_curves": ("Loss and UA by epoch", lambda run, _: plot_learning_curves(run)),
    "consistency": ("Consistency terms by epoch", lambda run, _: plot_consistency(run)),
}


@dataclass(frozen=True)
class Picture:
    """A picture, a whole SVG file, and what it shows, in words, for those who cannot see it.

    Pages have it; Markdown, which is published without its pictures, has not.
    """

    svg: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class FigureSpec:
    """A figure to be drawn.

    Attributes:
        path: where it goes, without the endings .png and .svg.
        alt: what it shows, in words.
        draw: draws it; None where there is nothing to draw.
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
    """Figures for a page, and for each of their files whether it was written."""

    pictures: list[Picture]
    written: list[bool]


def make(index: Path, inputs: Any, wanted: Sequence[FigureSpec]) -> FigureFiles:
    """Draw figures into their files, unless they stand there, made of the same.

    Args:
        index: a file that says what the figures were made of, and their digests.
        inputs: what decides on them, as for `cfia.files.digest`.
    """
    made_of = digest([inputs, _program(), [str(one.path.name) for one in wanted]])
    files = [path for one in wanted for path in one.files]
    written = [False] * len(files)
    if not _stand(index, made_of, files):
        written = [changed for one in wanted for changed in _draw(one)]
        there = {path.name: sha256(path) for path in files if path.exists()}
        write_json(index, {"made_of": made_of, "files": there})
    pictures = [
        Picture(one.files[1].read_bytes(), one.alt) for one in wanted if one.files[1].exists()
    ]
    return FigureFiles(pictures, written)


def _draw(wanted: FigureSpec) -> list[bool]:
    drawing = wanted.draw()
    if drawing is None:  # and none of an earlier training may stay
        for path in wanted.files:
            path.unlink(missing_ok=True)
        return [False, False]
    contents = (drawing.png, drawing.svg)
    return [write_if_changed(path, data) for path, data in zip(wanted.files, contents, strict=True)]


def _stand(index: Path, made_of: str, files: Sequence[Path]) -> bool:
    """Whether the figures of the index are there, all of them as they were written."""
    try:
        known = read_json(index) if index.exists() else {}
        there = {path.name: sha256(path) for path in files if path.exists()}
        return bool(known["made_of"] == made_of and known["files"] == there)
    except (UserError, KeyError, TypeError):  # cut or edited; it is made anew
        return False


@cache
def _program() -> list[str]:
    """What draws: this package, and matplotlib."""
    import matplotlib as mpl

    return [str(mpl.__version__), *(sha256(p) for p in sorted(Path(__file__).parent.glob("*.py")))]


def experiment_figures(row: Scored) -> FigureFiles:
    """The figures of one run, beside its scores."""
    trained, outputs = row.trained, row.outputs
    of = f"of {trained.label}, scheme {trained.scheme}"
    specs = [
        FigureSpec(trained.directory / name, f"{alt} {of}", partial(draw, trained, outputs))
        for name, (alt, draw) in FIGURES.items()
    ]
    names = ("posteriors.tsv", "history.csv")
    read = [training.directory / name for training in trained.trainings for name in names]
    inputs = {f"{p.parent.name}/{p.name}": sha256(p) for p in read if p.exists()}
    made_of = [trained.label, trained.scheme, inputs]
    return make(trained.directory / ".figures.json", made_of, specs)


def scheme_figure(expdir: Path, title: str, rows: Sequence[Scored]) -> FigureFiles:
    """UA of all systems of one scheme, `tables/results_<scheme>.png`."""
    scheme = rows[0].trained.scheme
    dots = [dots_row(row) for row in rows]
    return table_figure(expdir / "tables" / f"results_{scheme}", title, dots)


def table_figure(path: Path, title: str, rows: Sequence[Dots], score: str = "UA") -> FigureFiles:
    """The figure that goes with a table; `path` is without the endings of its files."""
    words = "; ".join(f"{row.label} {show(row.pooled)}" for row in rows)
    draw = partial(plot_dots, title, rows, score)
    wanted = FigureSpec(path, f"{title}. {score} in percent: {words}", draw)
    return make(path.with_name(f".{path.name}.json"), [title, score, repr(list(rows))], [wanted])


def dots_row(row: Scored) -> Dots:
    """A finished run as a row of the figure, in UA."""
    pooled, seeds = row.scores["pooled"], row.scores["seeds"].values()
    return Dots(
        label=row.trained.label,
        pooled=Estimate.of(pooled, "ua"),
        folds=[fold["ua"] for fold in row.scores["folds"].values()],
        seeds=[seed["pooled"]["ua"] for seed in seeds],
    )
