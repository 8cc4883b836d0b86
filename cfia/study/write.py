"""Write what a study makes: its tables in three formats, and the picture of its readings."""

from __future__ import annotations

import logging
from pathlib import Path

from cfia.config import read_yaml
from cfia.files import write_if_changed
from cfia.scoring.tables import Table, latex, markdown, plain, to_csv
from cfia.study.curve import plot_curve
from cfia.study.plan import Plan
from cfia.study.published import read_published
from cfia.study.readings import blocks, is_readings, readings_table
from cfia.study.results import Result, results
from cfia.study.tables import UNPUBLISHED, Corpus, paper_table

log = logging.getLogger(__name__)

# What the screen has room for.
ON_SCREEN = (
    "method", "con1", "con2", "con3", "point", "value", "system", "form", "wa", "ua", "wf1",
    "ua_pooled", "difference", "source",
)  # fmt: skip


def write_tables(plan: Plan) -> str:
    """Write `tables/[<tag>/]<table>.{md,tex,csv}` under the experiment directory.

    Returns:
        The tables as text for the screen.

    Raises:
        UserError: a file of a run is broken.
    """
    directory = plan.setting.expdir / "tables" / plan.tag
    directory.mkdir(parents=True, exist_ok=True)
    found = results(plan)
    written, shown = [], []
    for name in plan.study.tables():
        rows = [result for result in found if result.row.table == name]
        table = make_table(plan, name, rows)
        shown.append(plain(table.only(ON_SCREEN)))
        for ending, rendered in _renderings(table).items():
            written.append(write_if_changed(directory / f"{name}.{ending}", rendered))
        if is_readings(rows):
            written += _picture(directory / name, table.title, rows)
    changed = f"{sum(written)} of {len(written)} files written" if any(written) else "up to date"
    log.info("%s, tables of the study %s: %s", directory, plan.study.name, changed)
    return "\n".join(shown)


def _renderings(table: Table) -> dict[str, str]:
    return {"md": markdown(table), "tex": latex(table), "csv": to_csv(table)}


def _picture(stem: Path, title: str, rows: list[Result]) -> list[bool]:
    drawing = plot_curve(title, blocks(rows))
    files = {"png": drawing.png, "svg": drawing.svg} if drawing else {}
    return [write_if_changed(Path(f"{stem}.{end}"), data) for end, data in files.items()]


def make_table(plan: Plan, name: str, rows: list[Result]) -> Table:
    """One table of a study."""
    corpus = _corpus(plan.setting.recipe)
    if is_readings(rows):
        return readings_table(plan, rows, corpus)
    published = read_published(plan.setting.root / "conf" / "published.yaml")
    return paper_table(plan, name, rows, published.get(name, UNPUBLISHED), corpus)


def _corpus(recipe: Path) -> Corpus:
    """The title and the note of conf/corpus.yaml."""
    path = recipe / "conf" / "corpus.yaml"
    found = read_yaml(path) if path.exists() else {}
    note = " ".join(str(found.get("note") or "").split())
    return Corpus(str(found.get("title", recipe.name)), (note,) if note else ())
