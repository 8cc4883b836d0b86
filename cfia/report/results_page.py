"""Write RESULTS.md, report.html, tables/results.* and the figures (stage 8)."""

from __future__ import annotations

import itertools
import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cfia.corpus.corpus_conf import Standard
from cfia.corpus.several import conf_of
from cfia.errors import UserError
from cfia.experiment import RESULTS
from cfia.figures.figure_files import FIGURES, FigureFiles, experiment_figures, scheme_figure
from cfia.files import write_if_changed
from cfia.metrics import HEADLINES
from cfia.report.comparison_table import comparison_table
from cfia.report.cross_table import cross_table
from cfia.report.fold_table import fold_table
from cfia.report.html import page
from cfia.report.part_tables import class_table, subset_tables
from cfia.report.probe_note import probe_notes
from cfia.report.provenance_section import commits, origin
from cfia.report.score_tables import ON_SCREEN, flat_table, score_table
from cfia.report.sections import Heading, Items, Links, Section, Text, to_markdown
from cfia.report.studies import of_studies_alone, study_sections
from cfia.report.table import LATEX_NEEDS, Table, latex, markdown, plain, renderings, to_csv
from cfia.scoring.scores_file import Scored, bring_scores, score
from cfia.scoring.significance import INDEPENDENT
from cfia.scoring.trained import TrainedExperiment, find_trained

log = logging.getLogger(__name__)

_FIRST, *_OTHERS = HEADLINES.values()
_READING = (
    f"How to read this. {_FIRST.title} is {_FIRST.meaning}"
    f"{''.join(f', {other.title} {other.meaning}' for other in _OTHERS)}; all in percent. The "
    "headline is pooled over the test utterances of all folds, each recognised by the model of its "
    "fold, which was not trained on it. Papers mostly print the mean over folds, which stands "
    "beside it. With several seeds a score is the mean of single networks'. The interval "
)
_OF_SPEAKERS = (
    "says what other speakers (and seeds, where there are several) could have given; with few "
    "speakers it is wide."
)
_OF_UTTERANCES = f"{INDEPENDENT}, for nobody knows who speaks: what other speakers could have "
_OF_UTTERANCES += "given is not in it."


def _reading(rows: Sequence[Scored]) -> str:
    known = not any(row.outputs.independent for row in rows)
    return textwrap.fill(f"{_READING}{_OF_SPEAKERS if known else _OF_UTTERANCES}", width=100)


def report(expdir: Path, corpus_conf: Path | None) -> str:
    """Write all files of stage 8, and return the tables as text for the screen.

    Experiments of plain runs are shown in full, others in the tables of their studies.

    Args:
        expdir: the experiment directory.
        corpus_conf: the recipe's conf/corpus.yaml, which has `title` and `note`.

    Raises:
        UserError: no experiment is finished, or a scores.json has other scores than its
            posteriors.
    """
    experiments = find_trained(expdir)
    rows = [score(trained) for trained in experiments if trained.finished]
    if not rows:
        raise UserError(
            f"no experiment under {expdir} has the posteriors of all its folds; run stage 6"
        )
    for row in rows:
        bring_scores(row)
    figures = [experiment_figures(row) for row in rows]
    others = of_studies_alone(expdir)
    shown = [(row, files) for row, files in zip(rows, figures, strict=True)
             if row.trained.directory not in others]  # fmt: skip
    in_full = [row for row, _ in shown]
    schemes = [list(g) for _, g in itertools.groupby(in_full, key=lambda r: r.trained.scheme)]
    corpus = _corpus(corpus_conf, rows)
    tables = [_scheme_tables(group, corpus.get("standard", {})) for group in schemes]
    (expdir / "tables").mkdir(exist_ok=True)
    dots = [scheme_figure(expdir, t["scores"].title, g)
            for t, g in zip(tables, schemes, strict=True)]  # fmt: skip
    across = [*filter(None, [cross_table(in_full)])]
    title = f"{corpus['title']}: results"
    sections = [
        *_introduction(in_full or rows, corpus),
        *(section for table in across for section in (Heading(table.title), table)),
        *itertools.chain.from_iterable(map(_scheme, tables, dots)),
        *study_sections(expdir),
        *_unfinished(experiments),
        *(_classes(expdir, shown) if shown else []),
        *(origin([row.trained for row in in_full]) if shown else []),
    ]
    files = {
        RESULTS: to_markdown([Heading(title, 1), *sections]),
        "report.html": page(title, sections),
        "tables/results.md": "\n".join(markdown(t["scores"]) for t in tables),
        "tables/results.tex": _latex(schemes, tables),
        "tables/results.csv": to_csv(flat_table(rows)),
    }
    for table in across:
        files |= {f"tables/cross.{end}": text for end, text in renderings(table, "cross").items()}
    written = [write_if_changed(expdir / name, content) for name, content in files.items()]
    written += [changed for figure in (*dots, *figures) for changed in figure.written]
    changed = f"{sum(written)} of {len(written)} files written" if any(written) else "up to date"
    log.info("%s, report.html, tables and plots: %s", expdir / RESULTS, changed)
    note = [f"{corpus['note']}\n"] if corpus["note"] else []
    on_screen = [*across, *(t["scores"].only(ON_SCREEN) for t in tables)]
    return "\n".join([*note, *map(plain, on_screen)])


def _corpus(path: Path | None, rows: Sequence[Scored]) -> dict[str, Any]:
    name = str(rows[0].trained.protocol["corpus"] or "results")
    return {"title": name, "note": "", **(conf_of(name, path) if path else {})}


def _introduction(rows: Sequence[Scored], corpus: dict[str, Any]) -> list[Section]:
    note = " ".join(str(corpus["note"] or "").split())
    trained_at = ", ".join(commits([row.trained for row in rows]))
    trained = f"Trained at commit {trained_at}. " if trained_at else ""
    return [
        *([Text(note, quoted=True)] if note else []),
        Text(f"{trained}Stage 8 of run.sh makes this file; do not edit it."),
        Text(_reading(rows)),
    ]


def _scheme_tables(rows: Sequence[Scored], standard: Standard) -> dict[str, Table]:
    """Make the tables of a scheme that it has something for, by their names in results.tex."""
    tables = {
        "scores": score_table(rows, standard, probe_notes(rows)),
        "differences": comparison_table(rows),
        "folds": fold_table(rows),
    }
    of_columns = subset_tables(rows).items()
    tables |= {f"subsets-{column}" if column else "subsets": table for column, table in of_columns}
    return {name: table for name, table in tables.items() if table is not None}


def _scheme(tables: dict[str, Table], figure: FigureFiles) -> list[Section]:
    return [
        Heading(tables["scores"].title),
        tables["scores"],
        *figure.pictures,
        tables.get("differences") or Text("One system: there is nothing to compare."),
        *(table for name, table in tables.items() if name not in ("scores", "differences")),
    ]


def _latex(schemes: Sequence[Sequence[Scored]], tables: Sequence[dict[str, Table]]) -> str:
    """Render all tables but those of studies: `tab:scores-<scheme>`, `tab:classes-<system>-...`."""
    rendered = [LATEX_NEEDS]
    for rows, of_scheme in zip(schemes, tables, strict=True):
        scheme = rows[0].trained.scheme
        rendered += [latex(table, f"{name}-{scheme}") for name, table in of_scheme.items()]
        for row in rows:
            classes = class_table(row.trained.title, row.scores["pooled"])
            rendered.append(latex(classes, f"classes-{row.trained.system}-{scheme}"))
    return "\n".join(rendered)


def _unfinished(experiments: Sequence[TrainedExperiment]) -> list[Section]:
    lines = [
        f"{trained.label}, scheme {trained.scheme}: {trained.lacks}"
        for trained in experiments
        if trained.missing
    ]
    return [Heading("Not finished"), Items(lines)] if lines else []


def _classes(expdir: Path, shown: Sequence[tuple[Scored, FigureFiles]]) -> list[Section]:
    """Show confusions, scores of each class and figures of each experiment, and its files."""
    several = any(len(row.outputs.seeds) > 1 for row, _ in shown)
    of = ", summed over the seeds; scores are means over the seeds" if several else ""
    sections: list[Section] = [
        Heading("By class"),
        Text(
            f"Counts of utterances by their reference (down) and what they were recognised as{of}."
        ),
    ]
    for row, files in shown:
        where = row.trained.directory.relative_to(expdir).as_posix()
        links = [("experiment", f"{where}/"), ("scores.json", f"{where}/scores.json")]
        links.append(("configuration", f"{where}/experiment.yaml"))
        classes = class_table(row.trained.title, row.scores["pooled"])
        sections += [classes, Links(links), *files.pictures]
    *plots, last = (f"`{name}.png`" for name in FIGURES)
    plots[0] = plots[0].replace("`", "`exp/<system>/<scheme>/", 1)
    words = (
        f"Plots stand beside the scores of each row, as PNG and SVG: {', '.join(plots)} and "
        f"{last}; all systems of a scheme: `exp/tables/results_<scheme>.png`."
    )
    return [*sections, Text(words)]
