"""Rows of tables: CSV, TSV, JSON Lines, and whatever has a separator."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from cfia.corpus.corpus_conf import Table, listed
from cfia.corpus.decode import read_text
from cfia.corpus.read_files import find
from cfia.corpus.rows import Row, groups, match
from cfia.errors import UserError

log = logging.getLogger(__name__)

CONSTANTS = (
    "speaker", "label", "session", "dialogue", "type", "gender", "split", "fold",
)  # fmt: skip
BLANK, TAB = " ", "\t"
_SEPARATORS = {".csv": ",", ".tsv": TAB}
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl"}

Line = tuple[int, list[str]]


def entries(tables: str | Table | Sequence[str | Table]) -> list[Table]:
    """Write out what is short: a file's name stands for a table of that file."""
    given = [tables] if isinstance(tables, (str, dict)) else list(tables)
    return [Table(file=entry) if isinstance(entry, str) else entry for entry in given]


def files_of(root: Path, conf: Table) -> list[str]:
    """List the files of a table, below `root`, or absolute.

    Raises:
        UserError: a name or a glob that no file has.
    """
    return [file for name in listed(conf["file"]) for file in _files(root, name)]


def _files(root: Path, name: str) -> list[str]:
    found = find(root, [name]) or ([name] if (root / name).is_file() else [])
    if not found:
        raise UserError(
            f"{root} has no file {name}, which corpus.yaml names as a table; complete the corpus "
            "or correct corpus.yaml"
        )
    return found


def read_table(root: Path, conf: Table) -> Iterator[Row]:
    """Give a row for each line of a table's files; values have no blanks around them.

    What a line lacks at its end is empty.

    Raises:
        UserError: a file is missing, or is no such table.
    """
    constants = {name: str(conf[name]) for name in CONSTANTS if name in conf}  # type: ignore[literal-required]
    for file in files_of(root, conf):
        path = root / file
        fixed = _fields(root, conf) | constants | _named(path, file, conf)
        text = read_text(path, conf.get("encoding", ""))
        kind = conf.get("format") or _ENDINGS.get(path.suffix.lower(), "csv")
        if kind not in ("csv", "jsonl"):
            raise UserError(f"corpus.yaml: a table's format is {kind!r}; it may be csv or jsonl")
        lines = _objects(path, text) if kind == "jsonl" else _cells(path, text, conf)
        number = 0
        for number, fields in lines:
            yield Row({**fields, **fixed}, str(path), number)
        if not number:
            raise UserError(f"{path} has no rows; complete the corpus or correct corpus.yaml")


def _fields(root: Path, conf: Table) -> dict[str, str]:
    """Give the fields of all rows; of several values the first that is there, else the first."""
    values = {name: listed(value) for name, value in conf.get("fields", {}).items()}
    return {
        name: next((value for value in some if (root / value).exists()), (some or [""])[0])
        for name, some in values.items()
    }


def _named(path: Path, file: str, conf: Table) -> dict[str, str]:
    """What the name of a table's file says, by the pattern `name`."""
    if "name" not in conf:
        return {}
    named = match(groups(conf["name"], "a table's name"), file)
    if named is None:
        raise UserError(
            f"{path} is not named as corpus.yaml says of the table (name: {conf['name']}); correct "
            "the pattern or the glob"
        )
    return named


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Read JSON Lines: an object on each line, of which words and numbers are values."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise UserError(f"{path}, line {number}: not a JSON object; correct the line")
        yield number, {key: _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _cells(path: Path, text: str, conf: Table) -> Iterator[tuple[int, dict[str, str]]]:
    """Read lines of cells under a header, which the file or corpus.yaml has."""
    separator = conf.get("separator") or _SEPARATORS.get(path.suffix.lower(), TAB)
    if separator == BLANK:
        width = len(conf.get("header", ()))
        lines = _blank_separated(text, width)
    else:
        lines = _separated(path, text, separator, conf.get("quotes", separator != TAB))
    header = conf.get("header") or _header(path, lines, separator)
    stripped: list[str] = []
    for number, cells in lines:
        if not any(cells):
            continue
        clean = [cell.strip() for cell in cells]
        if clean != cells:
            stripped.append(f"line {number}")
        if len(clean) > len(header):
            raise UserError(
                f"{path}, line {number}: {len(clean)} cells where the header has {len(header)}; "
                "put what has a separator in it in quotes, or correct the separator in corpus.yaml"
            )
        yield number, dict(zip_longest(header, clean, fillvalue=""))
    if stripped:
        log.warning(
            "%s, %s: white space around values, which is left out (%d lines)",
            path, stripped[0], len(stripped),
        )  # fmt: skip


def _header(path: Path, lines: Iterator[Line], separator: str) -> list[str]:
    number, cells = next(lines, (1, []))
    header = [cell.strip() for cell in cells]
    again = [cell for i, cell in enumerate(header) if cell in header[:i]]
    if not any(header) or again:
        what = f"has the column {again[0]!r} twice" if any(header) else "is empty"
        raise UserError(f"{path}, line {number}: the header {what}; correct it")
    others = [other for other in (",", ";", TAB) if other != separator and other in header[0]]
    if len(header) == 1 and others:
        raise UserError(
            f"{path}, line {number}: the header is one cell, {header[0]!r}; say what separates "
            f"cells in corpus.yaml, separator: {others[0]!r}"
        )
    return header


def _separated(path: Path, text: str, separator: str, quotes: bool) -> Iterator[Line]:
    if len(separator) != 1:
        raise UserError(f"corpus.yaml: the separator {separator!r} is not one character")
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        first = reader.line_num + 1  # of a cell in quotes that spans lines
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, line {first}: {error}; correct the quotes there, or say `quotes: false` "
                "in corpus.yaml"
            ) from None
        yield first, cells


def _blank_separated(text: str, width: int) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        yield number, line.rstrip().split(maxsplit=width - 1)
