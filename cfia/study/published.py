"""Read the numbers that the paper prints from conf/published.yaml, by table, block and row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.metrics import METRICS
from cfia.scoring.cells import Cell, Spread

AS_PUBLISHED = "as published"


@dataclass(frozen=True)
class RowGroup:
    """Rows under one heading ("" where there is none), by their keys; cells by column."""

    heading: str
    protocol: str
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Published:
    """One table: its headings by column, its blocks, and the notes below it."""

    title: str
    columns: Mapping[str, str]
    blocks: tuple[RowGroup, ...]
    notes: tuple[str, ...]

    def row(self, key: str) -> Mapping[str, Any]:
        """Find the row of a key; `KeyError` if there is none."""
        return {name: row for block in self.blocks for name, row in block.rows.items()}[key]


def printed_cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    """Fill the cells of a published row, by column."""
    return {
        key: (None if value is None else Spread(value, None)) if key in METRICS else value
        for key, value in row.items()
    }


def read_published(path: Path) -> dict[str, Published]:
    """Read conf/published.yaml or one like it.

    Raises:
        UserError: the file is missing or not of that form.
    """
    return {name: _table(f"{path}: {name}", value) for name, value in read_yaml(path).items()}


def _table(where: str, value: Any) -> Published:
    try:
        blocks = tuple(RowGroup(str(b["heading"]), str(b["protocol"]), b["rows"])
                       for b in value["blocks"])  # fmt: skip
        table = Published(value["title"], value["columns"], blocks, tuple(value.get("notes", ())))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{where} must have title, columns and blocks with heading, protocol and rows ({error})"
        ) from None
    for block in blocks:
        for key, row in block.rows.items():
            if list(row) != list(table.columns):
                raise UserError(f"{where}, {key}: its cells must be {', '.join(table.columns)}")
    return table
