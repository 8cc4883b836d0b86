"""Stage 8: RESULTS.md, tables/results.{md,tex,csv} and the plots, of all finished runs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cfia.config import read_yaml
from cfia.errors import UserError
from cfia.files import atomic_write
from cfia.scoring.origin import commits, origin
from cfia.scoring.plots import plot_confusion, plot_learning_curves
from cfia.scoring.results import read_scores, score_run
from cfia.scoring.runs import Run, find_runs, load
from cfia.scoring.summary import ON_SCREEN, Scored, comparison_table, flat_table, score_table
from cfia.scoring.tables import Table, latex, markdown, plain, to_csv

log = logging.getLogger(__name__)

READING = """\
How to read this. WA is the share of utterances that are right, UA the mean recall over the classes
(what guessing gives is in the last row), WF1 the mean F1 of the classes weighted by their
frequency; all in percent. The headline is pooled over the test utterances of all folds, each
recognised by the model of its fold, which was not trained on it. Papers mostly print the mean over
folds, which stands beside it. The interval says what other speakers could have given; with few
speakers it is wide.
"""


def report(expdir: Path, corpus_conf: Path | None) -> str:
    """Write everything that stage 8 makes, and return the tables as text for the screen.

    Args:
        expdir: the experiment directory.
        corpus_conf: the recipe's conf/corpus.yaml, for `title` and `note`.

    Raises:
        UserError: no run is finished, or scores.json is not up to date.
    """
    runs = find_runs(expdir)
    rows = [_scored(run) for run in runs if run.finished]
    if not rows:
        raise UserError(f"no run under {expdir} has the posteriors of all its folds; run stage 6")
    schemes = [list(group) for _, group in itertools.groupby(rows, key=lambda r: r.run.scheme)]
    tables = [score_table(group) for group in schemes]
    pairs = [comparison_table(group) for group in schemes]
    (expdir / "tables").mkdir(exist_ok=True)
    written = [
        _write(expdir / "RESULTS.md", _results(runs, tables, pairs, _corpus(corpus_conf, rows))),
        _write(expdir / "tables" / "results.md", "\n".join(markdown(t) for t in tables)),
        _write(expdir / "tables" / "results.tex", "\n".join(latex(t) for t in tables)),
        _write(expdir / "tables" / "results.csv", to_csv(flat_table(rows))),
        *itertools.chain.from_iterable(_plots(row) for row in rows),
    ]
    changed = f"{sum(written)} of {len(written)} files written" if any(written) else "up to date"
    log.info("%s, tables and plots: %s", expdir / "RESULTS.md", changed)
    note = _corpus(corpus_conf, rows)["note"]
    shown = [plain(table.only(ON_SCREEN)) for table in tables]
    return "\n".join([*([f"{note}\n"] if note else []), *shown])


def _scored(run: Run) -> Scored:
    outputs = load(run)
    return Scored(run, outputs, read_scores(run, score_run(run, outputs)))


def _corpus(path: Path | None, rows: Sequence[Scored]) -> dict[str, Any]:
    name = str(rows[0].run.protocol["corpus"] or "results")
    return {"title": name, "note": "", **(read_yaml(path) if path else {})}


def _results(
    runs: Sequence[Run],
    tables: Sequence[Table],
    pairs: Sequence[Table | None],
    corpus: dict[str, Any],
) -> str:
    finished = [run for run in runs if run.finished]
    note = " ".join(str(corpus["note"] or "").split())
    lines = [f"# {corpus['title']}: results", ""]
    lines += [f"> {note}", ""] if note else []
    lines += [
        f"Trained at commit {', '.join(commits(finished))}. Stage 8 of run.sh makes this file; do "
        "not edit it.",
        "",
        READING,
    ]
    for table, pair in zip(tables, pairs, strict=True):
        lines += [f"## {table.title}", "", markdown(replace(table, title=""))]
        lines += [markdown(pair) if pair else "One system: there is nothing to compare.\n"]
    lines += _unfinished(runs)
    lines += [
        "Plots stand beside the scores of each row: `exp/<system>/<scheme>/confusion.png` and"
    ]
    lines += ["`learning_curves.png`.", "", origin(finished)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _unfinished(runs: Sequence[Run]) -> list[str]:
    lines = [f"- {run.label}, scheme {run.scheme}: {run.lacks}" for run in runs if run.missing]
    return ["## Not finished", "", *lines, ""] if lines else []


def _plots(row: Scored) -> list[bool]:
    directory = row.run.directory
    written = [_write(directory / "confusion.png", plot_confusion(row.run, row.outputs))]
    curves = plot_learning_curves(row.run)
    if curves is not None:
        written.append(_write(directory / "learning_curves.png", curves))
    return written


def _write(path: Path, content: str | bytes) -> bool:
    """Write a file whole, unless it holds that already; whether it was written."""
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == data:
        return False
    with atomic_write(path, "wb") as handle:
        handle.write(data)
    return True
