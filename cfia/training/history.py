"""Read history.csv of a training: a row for each epoch, or for each C of a probe."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError

History = dict[str, npt.NDArray[np.float64]]


def read_history(path: Path, columns: Sequence[str]) -> History:
    """Read some columns of a history.csv, each (rows,).

    Raises:
        UserError: one is not there, or is not of numbers.
    """
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        return {name: np.array([float(row[name]) for row in rows]) for name in columns}
    except (FileNotFoundError, KeyError, TypeError, ValueError, csv.Error):
        raise UserError(
            f"{path} must have the columns {', '.join(columns)}, all numbers; train again"
        ) from None
