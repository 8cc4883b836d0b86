"""How long trainings took, by the times of their files: no part of what repeats to the byte."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell
from cfia.scoring.trained import TrainedExperiment
from cfia.study.study_rows import Result

FIRST, LAST = "provenance.yaml", "checkpoint.pt"  # a training's first file and its last
PAGE, CSV = "times.html", "times.csv"  # in the directory of a study

_COLUMNS = [
    Column("method", "System"),
    Column("scheme", "scheme"),
    Column("trainings", "trainings"),
    Column("median", "seconds, median"),
    Column("shortest", "shortest"),
    Column("longest", "longest"),
    Column("processor", "processor"),
    Column("threads", "threads"),
]


def duration(training: Path) -> float | None:
    """Measure the seconds of a training from its first file to its last; None where one is missing.

    A probe, which has no checkpoint, takes seconds and is not measured.
    """
    first, last = training / FIRST, training / LAST
    if not (first.exists() and last.exists()):
        return None
    return last.stat().st_mtime - first.stat().st_mtime


def times_table(title: str, results: Sequence[Result]) -> Table:
    """Lay out a row for each system of some tables, in their order and under their headings."""
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    block = ""
    for result in results:
        cells = _cells(result.scored.trained) if result.scored else {}
        if cells:
            if result.row.block != block:
                block = headings[len(rows)] = result.row.block
            rows.append({"method": result.name, **cells})
    notes = [
        "Seconds on the clock, of a training of one fold and one seed, from its first file to its "
        "last; the median is over folds and seeds. What else the machine did meanwhile is in them, "
        "and the pause of a training that was interrupted; where it was tuned, all settings that "
        "were tried, and where it was refitted, both trainings, but for what was taken from the "
        "same training without --tune or --refit. Probes take seconds and are not here.",
        "Times are on this page and in the CSV file beside it alone, for they are different each "
        "time; all else of a study is the same to the byte if it is made again.",
    ]
    return Table(title, _COLUMNS, rows, notes, headings)


def _cells(trained: TrainedExperiment) -> dict[str, Cell]:
    """Fill the cells of an experiment; {} where none of its trainings can be measured."""
    found = [duration(training.directory) for training in trained.trainings]
    taken = [one for one in found if one is not None]
    if not taken:
        return {}
    environments = [t.provenance.get("environment", {}) for t in trained.trainings]
    return {
        "scheme": trained.scheme,
        "trainings": len(taken),
        "median": round(statistics.median(taken)),
        "shortest": round(min(taken)),
        "longest": round(max(taken)),
        "processor": _distinct([e.get("cpu", "unknown") for e in environments]),
        "threads": _distinct([str(e.get("threads", "unknown")) for e in environments]),
    }


def _distinct(values: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(values))
