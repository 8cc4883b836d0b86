"""What a value of an option must satisfy, whatever option it is; `cfia.options` has the options.

Standard library alone, since options are checked before any environment exists.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from cfia import config
from cfia.directories import obstacle
from cfia.naming import mistake

Check = Callable[[str], str]
"""Takes a value and says what was expected instead; "" if the value is legal."""

_DIGITS = re.compile("[0-9]{1,18}")  # of which int() never says that they are too many


def number(smallest: int, largest: int = 1_000_000) -> Check:
    """Allow whole numbers from `smallest` to `largest`; shells know none beyond 64 bits."""

    def check(value: str) -> str:
        legal = _DIGITS.fullmatch(value) and smallest <= int(value) <= largest
        return "" if legal else f"expected a whole number from {smallest} to {largest}"

    return check


def optional(check: Check) -> Check:
    """Allow the same, or nothing."""
    return lambda value: check(value) if value else ""


def numbers(example: str, largest: int) -> Check:
    """Allow any number of whole numbers up to `largest`, separated by blanks or commas."""
    check = number(0, largest)

    def check_all(value: str) -> str:
        wrong = any(check(word) for word in value.replace(",", " ").split())
        return f'expected numbers such as "{example}", each {largest} at most' if wrong else ""

    return check_all


def unreadable(value: str) -> str:
    """Say why no table or log could hold a name, of a disk that was made elsewhere, say."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8; rename it, or mount its disk with the encoding that it has"
    return ""


def one_line(value: str) -> str:
    """Check a path that becomes part of lines of tables."""
    wrong = any(ord(character) < ord(" ") for character in value)
    return "it has a line break or another control character; rename it" if wrong else ""


def name_part(value: str) -> str:
    """Check a word that becomes part of a directory's name."""
    wrong = "but that hides it or leads elsewhere" if re.match(r"\.|.*/", value) else mistake(value)
    return f"it becomes part of a directory's name, {wrong}" if wrong else ""


def directory(value: str) -> str:
    """Check the path of a directory that stages write to; a relative one starts here."""
    if not value or Path(value).resolve() == Path("/"):
        return "expected a directory that stages may write to"
    for part in value.split("/"):
        wrong = "but that looks like an option" if value.startswith("-") else mistake(part)
        if wrong:
            return (
                f"part of its path is {part!r}, {wrong}; make a symbolic link to the directory, "
                "beside run.sh, and give the link's name"
            )
    return obstacle(Path(value))


def overrides(value: str) -> str:
    """Check words of the form `key=value`: keys of the configuration, and legal values of them."""
    try:
        words = shlex.split(value)
    except ValueError:
        return "expected words such as lr=5e-4, every quotation mark closed"
    for word in words:
        config.override(word)
    return ""


def not_empty(value: str) -> str:
    """Check that there is a word at least."""
    return "" if value.replace(",", " ").split() else "expected a name such as audio_text"
