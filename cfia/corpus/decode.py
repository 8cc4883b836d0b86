"""Decode the text files of a corpus, whose encoding is said or found."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path

from cfia.errors import UserError
from cfia.files import LFS_POINTER

log = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Quotes and dashes of Windows-1252 that somebody has taken for Latin-1: no text has these controls.
_CONTROLS = re.compile("[\x80-\x9f]")
_SAY_IT = "say its encoding in corpus.yaml (encoding: gb18030), or convert it with iconv"


def read_text(path: Path, encoding: str = "") -> str:
    """Read a text file.

    Args:
        encoding: a codec of Python's; "" to find it: by a byte order mark, else UTF-8, else
            Windows-1252, which is said.

    Raises:
        UserError: there is no such file, it is none of these, has lines of several encodings, or
            is a pointer of Git LFS.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(
            f"no such file {path}; complete the corpus or correct corpus.yaml"
        ) from None
    if data.startswith(LFS_POINTER):
        raise UserError(f"{path} is a pointer of Git LFS and not the file; run `git lfs pull`")
    text = _decode_as(path, data, encoding) if encoding else _decode(path, data)
    return _CONTROLS.sub(_as_windows, text)


def _decode_as(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UserError(f"corpus.yaml: there is no encoding {encoding!r}; {_SAY_IT}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not {encoding}; {_SAY_IT}") from None


def _decode(path: Path, data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_as(path, data, encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    bad, good = _first_lines(data)
    if good:
        raise UserError(
            f"{path} mixes encodings: line {bad} is not UTF-8 and line {good} is; convert the one "
            "or the other"
        )
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise UserError(f"{path}, line {bad}: neither UTF-8 nor Windows-1252; {_SAY_IT}") from None
    log.warning("%s, line %d: not UTF-8; read as Windows-1252, else %s", path, bad, _SAY_IT)
    return text


def _first_lines(data: bytes) -> tuple[int, int]:
    """Find the first line that is not UTF-8, and the first that is and is not ASCII; from 1."""
    first = {True: 0, False: 0}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.isascii():
            first[_is_utf8(line)] = first[_is_utf8(line)] or number
    return first[False], first[True]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_windows(control: re.Match[str]) -> str:
    return control[0].encode("latin-1").decode("cp1252", "replace")
