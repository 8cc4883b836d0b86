"""Read and write Kaldi's text tables: one line per key, first the key, then its value.

Lines end in a newline and nothing else, so characters such as U+2028 that Python's
`splitlines` breaks at may be part of a transcript. Columns are separated by spaces or tabs only:
a no-break space is part of a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from cfia.errors import UserError
from cfia.files import atomic_write

BLANKS = " \t\r"
_COLUMNS = re.compile(r"[ \t]+")
_NOT_IN_KEY = re.compile(r"[ \t\r\n]")


def read_table(path: str | os.PathLike[str], *, allow_empty: bool = False) -> dict[str, str]:
    """Read a table: first column -> the rest of the line, without the blanks around it.

    The order of the file is kept, and need not be sorted (`cfia.kaldi.validate` looks at that).
    With `allow_empty` a line may hold a key alone; its value is then "".

    Raises:
        UserError: the file is missing, empty, not UTF-8, lacks its final newline (it was
            cut), or has an empty line, a key without a value, or a key twice.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, value = split_row(line)
        if not key:
            raise UserError(f"{path}, line {number}: the line is empty; delete it")
        if not value and not allow_empty:
            raise UserError(f"{path}, line {number}: {key} has no value; add it or delete the line")
        if key in table:
            raise UserError(f"{path}, line {number}: {key} is there twice; delete one line")
        table[key] = value
    return table


def split_row(line: str) -> tuple[str, str]:
    """Split a line into its first column and the rest, without the blanks around them."""
    key, *value = _COLUMNS.split(line.strip(BLANKS), maxsplit=1)
    return key, value[0] if value else ""


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    r"""Read the lines of a UTF-8 text file without their "\n".

    Raises:
        UserError: the file is missing, empty, not UTF-8, or lacks its final newline.
    """
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"no such file {path}; run the stage that makes it") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); change its permissions"
        ) from None
    if not data:
        raise UserError(f"{path} is empty; run the stage that makes it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8; convert the file with iconv") from None
    if not text.endswith("\n"):
        raise UserError(f"{path} does not end in a newline, so it may have been cut; make it again")
    return text[:-1].split("\n")


def write_table(path: str | os.PathLike[str], rows: Mapping[str, str]) -> None:
    """Write a table, keys in C-locale order, whole or not at all.

    Raises:
        UserError: a key is empty or has white space in it, or a value is empty or spans lines,
            so that the table could not be read back.
    """
    for key, value in rows.items():
        _check_row(path, key, value)
    with atomic_write(path) as handle:
        handle.writelines(f"{key} {rows[key]}\n" for key in sorted(rows))


def _check_row(path: str | os.PathLike[str], key: str, value: str) -> None:
    if not key or _NOT_IN_KEY.search(key):
        raise UserError(f"{path}: {key!r} cannot be an id in a table; rename it without blanks")
    if not value.strip(BLANKS) or value.strip(BLANKS) != value or "\n" in value:
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
