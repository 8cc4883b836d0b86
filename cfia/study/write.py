"""Write the tables of a study in three formats, their figures, and a page with all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cfia.corpus.several import conf_of
from cfia.figures.dots import Dots
from cfia.figures.figure_files import FigureFiles, FigureSpec, dots_row, draw_if_stale, table_figure
from cfia.figures.points import plot_points
from cfia.figures.word_errors import plot_word_errors
from cfia.files import write_if_changed
from cfia.installation import CONF
from cfia.metrics import METRICS
from cfia.report.html import page
from cfia.report.provenance_section import commands, commits, origin
from cfia.report.sections import CodeBlock, Heading, Items, Links, Section, Text, to_markdown
from cfia.report.studies import RESULTS
from cfia.report.table import Table, plain, renderings, to_csv
from cfia.scoring.scores_file import Scored
from cfia.scoring.trained import TrainedExperiment
from cfia.study.curve import plot_curve
from cfia.study.how_made import networks_in_words
from cfia.study.paper_tables import UNPUBLISHED, Corpus, paper_table
from cfia.study.peers_table import peers_table, published_beside, published_table
from cfia.study.protocol_rows import blocks
from cfia.study.protocol_table import in_words, pictured, protocol_table
from cfia.study.published import Published, read_published
from cfia.study.readings import readings_table, sweeps
from cfia.study.request import Request
from cfia.study.study_file import PAPER, PEERS, PROTOCOL, READINGS, TEXTS
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, finished, results
from cfia.study.text_rows import error_curves, has_errors
from cfia.study.text_table import name_texts, text_table
from cfia.study.times import CSV, PAGE, times_table

log = logging.getLogger(__name__)

# The columns that the screen has room for.
ON_SCREEN = (
    "method", "stamp", "con1", "con2", "con3", "point", "value", "system", "form", *METRICS,
    "ua_pooled", "difference", "trained", "tested", "wer", "source",
)  # fmt: skip


@dataclass(frozen=True)
class StudyTable:
    """A table of a study, its figure, and the results that are in it."""

    name: str
    table: Table
    results: list[Result]
    figure: FigureFiles


def write_tables(plan: StudyPlan) -> str:
    """Write `tables/[<tag>/]<table>.{md,tex,csv,png,svg}`, the study's report.html and results.md.

    Returns:
        The tables as text for the screen.

    Raises:
        UserError: a file of an experiment is broken.
    """
    directory, page_path = plan.request.expdir / "tables" / plan.tag, plan.directory / "report.html"
    for path in (directory, plan.directory):
        path.mkdir(parents=True, exist_ok=True)
    corpus = _corpus(plan.request)
    tables = list(_tables(plan, directory, corpus))
    files = {
        page_path: _page(plan, tables, corpus),
        plan.directory / RESULTS: to_markdown(_results(plan, tables)),
    }
    if timed := [r for t in tables for r in t.results if r.row.layout == PEERS]:
        files |= _times(plan, timed, corpus)
    for t in tables:
        rendered = renderings(t.table, "-".join(filter(None, (t.name, plan.tag))))
        files |= {directory / f"{t.name}.{end}": text for end, text in rendered.items()}
    written = [changed for t in tables for changed in t.figure.written]
    written += [write_if_changed(path, text) for path, text in files.items()]
    changed = f"{sum(written)} of {len(written)} files written" if any(written) else "up to date"
    log.info("%s, tables of the study %s: %s", directory, plan.study.name, changed)
    log.info("%s: all of them on a page", page_path)
    return "\n".join(plain(t.table.only(ON_SCREEN)) for t in tables if t.results)


def _tables(plan: StudyPlan, directory: Path, corpus: Corpus) -> Iterator[StudyTable]:
    all_results = results(plan)
    for name in dict.fromkeys(row.table for row in plan.study.rows):
        rows = [result for result in all_results if result.row.table == name]
        layout = next(row.layout for row in plan.study.rows if row.table == name)
        table, figure = _LAYOUTS[layout](plan, directory / name, rows, corpus)
        yield StudyTable(name, table, rows, figure)
    if keys := {key for row in plan.study.rows for key in row.published}:
        printed = published_table(_published_peers(), keys)
        yield StudyTable(f"{PEERS}_published", printed, [], FigureFiles([], []))


def _paper(
    plan: StudyPlan, path: Path, rows: Sequence[Result], corpus: Corpus
) -> tuple[Table, FigureFiles]:
    published = read_published(CONF / "published.yaml").get(path.name, UNPUBLISHED)
    table = paper_table(plan, path.name, rows, published, corpus)
    return table, _paper_dots(path, table, rows, published)


def _peers(
    plan: StudyPlan, path: Path, rows: Sequence[Result], corpus: Corpus
) -> tuple[Table, FigureFiles]:
    published = _published_peers()
    table = peers_table(plan, rows, published, corpus)

    def dots(result: Result, scored: Scored) -> Dots:
        printed = [row["ua"] for row in published_beside(result.row, published)]
        return replace(
            dots_row(scored),
            label=result.name,
            group=result.row.block,
            folds=(),
            tested=(),
            published=[ua for ua in printed if ua is not None],
        )

    return table, _dots(path, table.title, rows, dots)


def _published_peers() -> Published:
    return read_published(CONF / "published.yaml").get(PEERS, UNPUBLISHED)


def _readings(
    plan: StudyPlan, path: Path, rows: Sequence[Result], corpus: Corpus
) -> tuple[Table, FigureFiles]:
    table = readings_table(plan, rows, corpus)
    return table, _curve(path, table, rows)


def _texts(
    plan: StudyPlan, path: Path, rows: Sequence[Result], corpus: Corpus
) -> tuple[Table, FigureFiles]:
    table = text_table(plan, rows, corpus)
    draw = _error_curve if has_errors(rows) else _text_dots
    return table, draw(plan, path, table, rows)


def _protocol(
    plan: StudyPlan, path: Path, rows: Sequence[Result], corpus: Corpus
) -> tuple[Table, FigureFiles]:
    shown = blocks(rows)
    table = protocol_table(plan, shown, corpus)
    points = pictured(shown)
    if not points:
        return table, FigureFiles([], [])
    title, index = table.title, path.with_name(f".{path.name}.json")
    spec = FigureSpec(path, f"{title}. {in_words(points)}", partial(plot_points, title, points))
    return table, draw_if_stale(index, to_csv(table), [spec])


# Each fills a table from its rows, and draws its figure at a path without ending.
_LAYOUTS = {
    PAPER: _paper, READINGS: _readings, TEXTS: _texts, PEERS: _peers, PROTOCOL: _protocol,
}  # fmt: skip


def _curve(path: Path, table: Table, rows: Sequence[Result]) -> FigureFiles:
    """Draw the specification curve of a table of readings."""
    spec = FigureSpec(path, table.title, partial(plot_curve, table.title, sweeps(rows)))
    return draw_if_stale(path.with_name(f".{path.name}.json"), to_csv(table), [spec])


def _error_curve(plan: StudyPlan, path: Path, table: Table, rows: Sequence[Result]) -> FigureFiles:
    """Draw UA over the word errors of the text that is tested with."""
    curves, level = error_curves(rows)
    words = "; ".join(
        f"{curve.label} "
        + ", ".join(f"{ua.value:.1f} at {rate:.1f} %" for rate, ua in curve.points)
        for curve in curves
    )
    title, index = table.title, path.with_name(f".{path.name}.json")
    draw = partial(plot_word_errors, title, curves, level, plan.recogniser)
    spec = FigureSpec(path, f"{title}. UA in percent by word errors: {words}", draw)
    return draw_if_stale(index, to_csv(table), [spec]) if curves else FigureFiles([], [])


def _dots(
    path: Path, title: str, rows: Sequence[Result], dots: Callable[[Result, Scored], Dots]
) -> FigureFiles:
    """Draw UA of the rows of a table that have scores, each as `dots` says."""
    drawn = [dots(result, result.scored) for result in rows if result.scored is not None]
    return table_figure(path, title, drawn) if drawn else FigureFiles([], [])


def _paper_dots(
    path: Path, table: Table, rows: Sequence[Result], published: Published
) -> FigureFiles:
    """Draw UA of our rows of a table, the folds and the published number beside it."""

    def dots(result: Result, scored: Scored) -> Dots:
        under = result.row.under
        ua = published.row(under)["ua"] if under else None
        printed = [] if ua is None else [ua]
        return replace(dots_row(scored), label=scored.trained.title, published=printed)

    return _dots(path, table.title.partition(":")[0], rows, dots)


def _text_dots(plan: StudyPlan, path: Path, table: Table, rows: Sequence[Result]) -> FigureFiles:
    """Draw UA of the rows of a table, by what they are trained and tested with."""

    def dots(result: Result, scored: Scored) -> Dots:
        trained, tested = name_texts(plan, result)
        label = f"{result.row.block}: {trained} / {tested}"
        return replace(dots_row(scored), label=label)

    return _dots(path, f"{table.title} (trained / tested with)", rows, dots)


def _times(plan: StudyPlan, results: Sequence[Result], corpus: Corpus) -> dict[Path, str]:
    """Render the times of trainings, which no other file has, as a page and as CSV."""
    title = f"{corpus.title}: training times of the study {plan.study.name}"
    table = times_table(title, results)
    texts = {PAGE: page(title, [replace(table, title="")]), CSV: to_csv(table)}
    return {plan.directory / name: text for name, text in texts.items()}


def _results(plan: StudyPlan, tables: Sequence[StudyTable]) -> list[Section]:
    """Lay out what RESULTS.md says of the study: its tables, and in short what made them."""
    sections: list[Section] = [Heading(f"Study {plan.study.name}")]
    sections += [t.table for t in tables]
    sections += _networks(tables, 3)
    experiments = _experiments(tables)
    if experiments:
        sections.append(Text(f"Trained at commit {', '.join(commits(experiments))} by"))
        sections.append(CodeBlock("sh", commands(experiments)))
    return sections


def _networks(tables: Sequence[StudyTable], level: int) -> list[Section]:
    """Say what the networks of different kinds are, once for all tables."""
    systems = [
        (row.block if row.layout == PROTOCOL else result.name, result.scored)
        for t in tables for result in t.results for row in [result.row]
        if row.layout in (PEERS, PROTOCOL) and result.scored
    ]  # fmt: skip
    told = networks_in_words(systems)
    return [Heading("Networks", level), Items(told)] if told else []


def _experiments(tables: Sequence[StudyTable]) -> list[TrainedExperiment]:
    """List the finished experiments of all tables, each once."""
    scored = [row for t in tables for row in finished(t.results)]
    return list({s.trained.directory: s.trained for s in scored}.values())


def _page(plan: StudyPlan, tables: Sequence[StudyTable], corpus: Corpus) -> str:
    sections: list[Section] = [Text(note, quoted=True) for note in corpus.notes]
    for t in tables:
        sections += [Heading(t.table.title), t.table, *t.figure.pictures]
    sections += _networks(tables, 2)
    experiments = _experiments(tables)
    if any(result.row.layout == PEERS for t in tables for result in t.results):
        sections += [Heading("Training times"), Links([("on a page of their own", PAGE)])]
    if experiments:
        links = [
            (trained.title, f"{os.path.relpath(trained.directory, plan.directory)}/")
            for trained in experiments
        ]
        sections += [Heading("Experiments"), Links(links), *origin(experiments)]
    return page(f"{corpus.title}: study {plan.study.name}", sections)


def _corpus(request: Request) -> Corpus:
    """Read title and note from the recipe's conf/corpus.yaml."""
    values = conf_of(request.corpus, request.recipe / "conf" / "corpus.yaml")
    note = " ".join((values.get("note") or "").split())
    return Corpus(values.get("title", request.corpus), (note,) if note else ())
