"""Write what a study makes: its tables in three formats, their figures, and a page with all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cfia.figures.figure_files import FigureFiles, FigureSpec, dots_row, make, table_figure
from cfia.files import read_yaml, write_if_changed
from cfia.metrics import METRICS
from cfia.report.html import page
from cfia.report.provenance_section import origin
from cfia.report.sections import Heading, Links, Section, Text
from cfia.report.table import Table, latex, markdown, plain, to_csv
from cfia.scoring.trained import TrainedExperiment
from cfia.study.curve import plot_curve
from cfia.study.paper_tables import UNPUBLISHED, Corpus, paper_table
from cfia.study.published import Published, read_published
from cfia.study.readings import blocks, is_readings, readings_table
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, results

log = logging.getLogger(__name__)

# What the screen has room for.
ON_SCREEN = (
    "method", "con1", "con2", "con3", "point", "value", "system", "form", *METRICS, "ua_pooled",
    "difference", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A table of a study, its figure, and the rows that are in it."""

    name: str
    table: Table
    rows: list[Result]
    figure: FigureFiles


def write_tables(plan: StudyPlan) -> str:
    """Write `tables/[<tag>/]<table>.{md,tex,csv,png,svg}` and the study's report.html.

    Returns:
        The tables as text for the screen.

    Raises:
        UserError: a file of a run is broken.
    """
    directory = plan.request.expdir / "tables" / plan.tag
    for path in (directory, plan.directory):
        path.mkdir(parents=True, exist_ok=True)
    corpus = _corpus(plan.request.recipe)
    shown = list(_make(plan, directory, corpus))
    written = [changed for one in shown for changed in one.figure.written]
    for one in shown:
        for ending, rendered in _renderings(one.table).items():
            written.append(write_if_changed(directory / f"{one.name}.{ending}", rendered))
    written.append(write_if_changed(plan.directory / "report.html", _page(plan, shown, corpus)))
    changed = f"{sum(written)} of {len(written)} files written" if any(written) else "up to date"
    log.info("%s, tables of the study %s: %s", directory, plan.study.name, changed)
    log.info("%s: all of them on a page", plan.directory / "report.html")
    return "\n".join(plain(one.table.only(ON_SCREEN)) for one in shown)


def _renderings(table: Table) -> dict[str, str]:
    return {"md": markdown(table), "tex": latex(table), "csv": to_csv(table)}


def _make(plan: StudyPlan, directory: Path, corpus: Corpus) -> Iterator[Shown]:
    published = read_published(plan.request.root / "conf" / "published.yaml")
    found = results(plan)
    for name in plan.study.tables():
        rows = [result for result in found if result.row.table == name]
        if is_readings(rows):
            table = readings_table(plan, rows, corpus)
            figure = _curve(directory / name, table, rows)
        else:
            theirs = published.get(name, UNPUBLISHED)
            table = paper_table(plan, name, rows, theirs, corpus)
            figure = _dots(directory / name, table, rows, theirs)
        yield Shown(name, table, rows, figure)


def _curve(path: Path, table: Table, rows: Sequence[Result]) -> FigureFiles:
    """The specification curve of a table of readings."""
    wanted = FigureSpec(path, table.title, partial(plot_curve, table.title, blocks(rows)))
    return make(path.with_name(f".{path.name}.json"), to_csv(table), [wanted])


def _dots(path: Path, table: Table, rows: Sequence[Result], published: Published) -> FigureFiles:
    """UA of our rows of a table, the folds and the published number beside it."""
    dots = []
    for result in rows:
        if result.scored is not None:
            trained, under = result.scored.trained, result.row.under
            theirs = published.row(under)["ua"] if under else None
            dots.append(replace(dots_row(result.scored), label=trained.title, published=theirs))
    title = table.title.partition(":")[0]
    return table_figure(path, title, dots) if dots else FigureFiles([], [])


def _page(plan: StudyPlan, shown: Sequence[Shown], corpus: Corpus) -> str:
    sections: list[Section] = [Text(note, quoted=True) for note in corpus.notes]
    for one in shown:
        sections += [Heading(one.table.title), one.table, *one.figure.pictures]
    experiments = _runs(shown)
    if experiments:
        sections += [
            Heading("Experiments"),
            Links(_links(plan.directory, experiments)),
            *origin(experiments),
        ]
    return page(f"{corpus.title}: study {plan.study.name}", sections)


def _runs(shown: Sequence[Shown]) -> list[TrainedExperiment]:
    """The runs of all tables, each once."""
    scored = [result.scored for one in shown for result in one.rows if result.scored]
    return list({one.trained.directory: one.trained for one in scored}.values())


def _links(start: Path, experiments: Sequence[TrainedExperiment]) -> list[tuple[str, str]]:
    """The experiment folder of each run, from the page's own."""
    return [
        (trained.title, f"{os.path.relpath(trained.directory, start)}/") for trained in experiments
    ]


def _corpus(recipe: Path) -> Corpus:
    """The title and the note of conf/corpus.yaml."""
    path = recipe / "conf" / "corpus.yaml"
    found = read_yaml(path) if path.exists() else {}
    note = " ".join(str(found.get("note") or "").split())
    return Corpus(str(found.get("title", recipe.name)), (note,) if note else ())
