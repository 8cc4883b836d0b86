"""The history.csv of a training: a row for each epoch, or for each C of a probe."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.files import atomic_write

HISTORY = "history.csv"
SELECTED = "selected"  # the column that is 1 in one row

Row = dict[str, float]  # in the order of the columns
History = dict[str, npt.NDArray[np.float64]]


def write_history(path: Path, history: Sequence[Row], best: int) -> None:
    """Write a history.csv: a row per epoch, `selected` 1 for the selected one, counted from 1."""
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, [*history[0], SELECTED], lineterminator="\n")
        writer.writeheader()
        rows = enumerate(history, start=1)
        writer.writerows({**row, SELECTED: int(place == best)} for place, row in rows)


def read_history(path: Path, columns: Sequence[str]) -> History:
    """Read some columns of a history.csv, each (rows,).

    Raises:
        UserError: one is not there, or is not of numbers.
    """
    try:
        rows = _rows(path)
        return {name: np.array([float(row[name]) for row in rows]) for name in columns}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise UserError(
            f"{path} must have the columns {', '.join(columns)}, all numbers; train again"
        ) from None


def selected_row(path: Path) -> Mapping[str, float]:
    """Read the row of the epoch, or of the C, that a finished training has selected.

    Raises:
        UserError: none is selected, or several, or a cell is no number.
    """
    try:
        (row,) = (row for row in _rows(path) if float(row[SELECTED]))
        return {name: float(cell) for name, cell in row.items()}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise UserError(
            f"{path} must have one row that is {SELECTED}, all numbers; train again"
        ) from None


def selected(path: Path) -> float:
    """Read the epoch, from 1, or the C that a finished training has selected.

    Raises:
        UserError: as `selected_row`.
    """
    row = selected_row(path)
    return int(row["epoch"]) if "epoch" in row else row["probe_c"]


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
