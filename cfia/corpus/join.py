"""Join rows with tables that say more of them: labels here, transcripts there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from cfia.corpus.corpus_conf import Join, listed
from cfia.corpus.read_table import read_table
from cfia.corpus.rows import Row, Template
from cfia.errors import UserError


def join(rows: Iterable[Row], root: Path, conf: Join, used: Collection[str]) -> Iterator[Row]:
    """Add to each row the columns of the row of a table that has its key.

    A row whose key the table lacks gets a fault.

    Args:
        root: where the table's files are.
        used: the fields that are asked for later, of which both must not say different things.

    Raises:
        UserError: the table has a key twice, or no such column; they differ in a used one.
    """
    table = _by_key(root, conf)
    template = Template(conf.get("value") or f"{{{conf['key']}}}")
    for row in rows:
        value = template.fill(row)
        found = table.get(value)
        if found is None:
            where = ", ".join(listed(conf["file"]))
            row.fault = row.fault or f"{where} has no row whose {conf['key']} is {value!r}"
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
    both = (row.fields.keys() & found.fields.keys() & set(used)) - {key}
    clash = [field for field in both if row.fields[field] != found.fields[field]]
    if clash:
        raise UserError(
            f"the column {min(clash)} has other values in {row.source} and {found.source}; name it "
            "otherwise in one of them (header: in corpus.yaml), so that it is known which is meant"
        )
