"""Join rows with tables that say more of them: labels here, transcripts there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from cfia.corpus.corpus_conf import Join
from cfia.corpus.read_table import read_table
from cfia.corpus.rows import Row, Template
from cfia.errors import UserError


def join(rows: Iterable[Row], root: Path, conf: Join, used: Collection[str]) -> Iterator[Row]:
    """Add to each row the columns of the row of a table that has its key.

    A row whose key the table lacks gets a fault.

    Args:
        root: where the table's files are.
        used: the fields that are asked for later, which must not be in both.

    Raises:
        UserError: the table has a key twice, or no such column; a used column is in both.
    """
    table = _by_key(root, conf)
    on = Template(conf.get("on") or f"{{{conf['key']}}}")
    for row in rows:
        value = on.fill(row)
        found = table.get(value)
        if found is None:
            row.fault = row.fault or f"{conf['file']} has no row whose {conf['key']} is {value!r}"
            row.fields = {**dict.fromkeys(next(iter(table.values())).fields, ""), **row.fields}
        else:
            _check_clash(row, found, conf["key"], used)
            row.fields = {**found.fields, **row.fields}
        yield row


def _by_key(root: Path, conf: Join) -> dict[str, Row]:
    table: dict[str, Row] = {}
    key = Template(f"{{{conf['key']}}}")
    for row in read_table(root, conf):
        value = key.fill(row)
        other = table.setdefault(value, row)
        if other is not row:
            raise UserError(
                f"{conf['key']} {value!r} is in {other.source} and again in {row.source}; "
                "keep one of them"
            )
    return table


def _check_clash(row: Row, found: Row, key: str, used: Collection[str]) -> None:
    clash = (row.fields.keys() & found.fields.keys() & set(used)) - {key}
    if clash:
        raise UserError(
            f"the column {min(clash)} is in {row.source} and in {found.source}; name it otherwise "
            "in one of them (header: in corpus.yaml), so that it is known which is meant"
        )
