"""Read and write Kaldi's text tables: one line per key, first the key, then its value.

Lines end in a newline, as Windows or Unix write it, and nothing else, so characters such as U+2028
that Python's `splitlines` breaks at may be part of a transcript. Columns are separated by spaces or
tabs only: a no-break space is part of a value. A byte order mark, with which Windows begins UTF-8,
is no part of the first key.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path
from sys import intern

from cfia.errors import UserError
from cfia.files import atomic_write

BLANKS = " \t\r"
# What is not seen and has no meaning within a word: soft hyphens, marks of direction, byte order
# marks amid a file. Not the joiners U+200C and U+200D, with which Persian and Indic words
# are spelt.
UNSEEN = re.compile(
    "[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
ZERO_WIDTH_SPACE = "\u200b"
_COLUMNS = re.compile(r"[ \t]+")
_NOT_IN_KEY = re.compile(r"[ \t\r\n]")
_UNSEEN_IN_KEY = re.compile(f"{UNSEEN.pattern}|{ZERO_WIDTH_SPACE}")
# Of a table: all white space of ASCII but the blank behind a key, those of a transcript, and the
# ends of lines.
_ODD = (*"\t\r\v\f\x1c\x1d\x1e\x1f", "  ", "\n ", " \n", "\n\n")
# Ids are the same in all tables, and short values, of labels and speakers, in many rows: of a
# million utterances one copy of each saves a gigabyte.
_SHORT = 24


def read_table(path: str | os.PathLike[str], *, allow_empty: bool = False) -> dict[str, str]:
    """Read a table: first column -> the rest of the line, without the blanks around it.

    The order of the file is kept, and need not be sorted (`cfia.kaldi.validate` looks at that).
    With `allow_empty` a line may hold a key alone; its value is then "".

    Raises:
        UserError: the file is missing, empty, not UTF-8, lacks its final newline (it was
            cut), or has an empty line, a key without a value, with a character that nobody sees,
            or twice.
    """
    text = _whole(path)
    rows = plain_rows(text)
    if rows is not None:
        return rows
    table: dict[str, str] = {}
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        key, value = split_row(line)
        if not key:
            raise UserError(f"{path}, line {number}: the line is empty; delete it")
        if not value and not allow_empty:
            raise UserError(f"{path}, line {number}: {key} has no value; add it or delete the line")
        if fault := unseen(key):
            raise UserError(f"{path}, line {number}: {fault}; delete it there")
        if key in table:
            raise UserError(f"{path}, line {number}: {key} is there twice; delete one line")
        table[intern(key)] = value
    return table


def plain_rows(text: str) -> dict[str, str] | None:
    """Read all rows of a table at once; None if one is odd, so that they are read one by one.

    Of a million rows that takes a second, one by one several. Odd is what is not ASCII, a blank
    too many, a line without a key or a value, a key that is there twice.
    """
    framed = f"\n{text}"
    if not text.isascii() or any(odd in framed for odd in _ODD):
        return None
    lines = text[:-1].split("\n")
    parts = (line.partition(" ") for line in lines)
    rows = {intern(k): intern(v) if len(v) < _SHORT else v for k, _, v in parts}
    return rows if len(rows) == len(lines) and all(rows.values()) else None


def read_ids(path: str | os.PathLike[str]) -> list[str]:
    """Read the first column of a list or table, in the order of the file.

    Raises:
        UserError: as `read_lines`.
    """
    text = _whole(path)
    ids = text[:-1].split("\n")
    if any(blank in text for blank in BLANKS):  # or there is nothing to split
        ids = [split_row(line)[0] for line in ids]
    return list(map(intern, ids))


def unseen(key: str) -> str | None:
    """Say so if a key has a character that nobody sees, by which it differs from the same key."""
    found = None if key.isascii() else _UNSEEN_IN_KEY.search(key)
    if found is None:
        return None
    return f"the id {_UNSEEN_IN_KEY.sub('', key)} has the invisible character U+{ord(found[0]):04X}"


def split_row(line: str) -> tuple[str, str]:
    """Split a line into its first column and the rest, without the blanks around them."""
    row = line.strip(BLANKS)
    key, _, value = row.partition(" ")
    if "\t" in key:
        key, value = _COLUMNS.split(row, maxsplit=1)
    return key, value.lstrip(" \t")


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    r"""Read the lines of a UTF-8 text file without their "\n".

    Raises:
        UserError: the file is missing, empty, not UTF-8, or lacks its final newline.
    """
    return _whole(path)[:-1].split("\n")


def _whole(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 text file that ends in a newline; errors as of `read_lines`."""
    text = read_text(path)
    if not text:
        raise UserError(f"{path} is empty; run the stage that makes it")
    if not text.endswith("\n"):
        raise UserError(
            f"{path} does not end in a newline, so it may have been cut; make it again, or add the "
            "newline where nothing is missing"
        )
    return text


def read_text(path: str | os.PathLike[str], shown: str | os.PathLike[str] | None = None) -> str:
    """Read a UTF-8 text file without its byte order mark; messages call it `shown`.

    Raises:
        UserError: the file is missing or not UTF-8.
    """
    where = path if shown is None else shown
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"no such file {where}; run the stage that makes it") from None
    except OSError as error:
        raise UserError(
            f"{where} cannot be read ({error.strerror}); change its permissions"
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}, line {line}: not UTF-8; convert the file with iconv") from None


def has_mark(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with a byte order mark."""
    with open(path, "rb") as handle:
        return handle.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def write_table(
    path: str | os.PathLike[str], rows: Mapping[str, str], *, allow_empty: bool = False
) -> None:
    """Write a table, keys in C-locale order, whole or not at all.

    With `allow_empty` a value may be "", and its line holds the key alone.

    Raises:
        UserError: a key is empty, has white space or unseen characters in it, or a value is empty
            or spans lines, so that the table could not be read back.
    """
    for key, value in rows.items():
        _check_row(path, key, value, allow_empty=allow_empty)
    with atomic_write(path) as handle:
        handle.writelines(f"{key} {rows[key]}".rstrip(BLANKS) + "\n" for key in sorted(rows))


def _check_row(path: str | os.PathLike[str], key: str, value: str, *, allow_empty: bool) -> None:
    if not key or _NOT_IN_KEY.search(key):
        raise UserError(f"{path}: {key!r} cannot be an id in a table; rename it without blanks")
    if fault := unseen(key):
        raise UserError(f"{path}: {fault}; rename it without")
    empty = not value.strip(BLANKS) and not (allow_empty and value == "")
    if empty or value.strip(BLANKS) != value or "\n" in value:
        raise UserError(
            f"{path}: {key} has the value {value!r}, which cannot be written to a table; it must "
            "not be empty, span lines, or begin or end with a blank"
        )
    try:
        (key + value).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: {key} has the value {value!r}, which is not UTF-8; rename it"
        ) from None
