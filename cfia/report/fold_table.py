"""The table of UA by fold, which says whom each fold tests."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.report.score_tables import if_one_seed
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.scores_file import Scored

MOST = 50  # folds; a table of more says little


def fold_table(rows: Sequence[Scored]) -> Table | None:
    """List UA of the systems of one scheme on each fold; None where there is one fold, or many."""
    outputs = rows[0].outputs
    if not 1 < len(outputs.folds) <= MOST:
        return None
    columns = [Column("fold", "fold"), Column("tests", "tests"), Column("n", "n")]
    columns += [Column(str(i), f"UA, {row.trained.label}") for i, row in enumerate(rows)]
    whom = outputs.whom_tests()
    cells: list[dict[str, Cell]] = [
        {
            "fold": fold,
            "tests": whom[fold],
            "n": len(utts),
            **{
                str(i): Estimate(row.scores["folds"][str(fold)]["ua"]) for i, row in enumerate(rows)
            },
        }
        for fold, utts in outputs.folds.items()
    ]
    return Table(f"Folds, scheme {rows[0].trained.scheme}{if_one_seed(rows)}", columns, cells)
