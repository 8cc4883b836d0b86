"""Rows: what a corpus says of one utterance, as text, and templates that take it from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cfia.errors import UserError

_FIELD = re.compile(r"\{([^{}]*)\}")


class RowError(Exception):
    """A row cannot be used and may be left out; the message says why, and not what to do."""


@dataclass(slots=True)
class Row:
    """What is known of one utterance: field -> text, and who says so.

    Attributes:
        path, line: of the file and its line, from 1; 0 where the name of `path` says it.
        fault: why it cannot be used, if so.
    """

    fields: Mapping[str, str]
    path: str
    line: int = 0
    fault: str = ""

    @property
    def source(self) -> str:
        """Where it stands, for messages."""
        return f"{self.path}, line {self.line}" if self.line else self.path


class Template:
    """Text with fields of a row in braces, `samples/{file_id}`; a field may have any name."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Text and fields by turns.
        self._parts = _FIELD.split(text)
        self.fields = self._parts[1::2]
        # Most are one field and nothing more.
        self._alone = self.fields[0] if self._parts == ["", *self.fields, ""] else None

    def fill(self, row: Row) -> str:
        """Put a row's values in the place of their fields.

        Raises:
            UserError: the row has no such field.
        """
        try:
            if self._alone is not None:
                return row.fields[self._alone]
            pairs = enumerate(self._parts)
            return "".join([row.fields[part] if i % 2 else part for i, part in pairs])
        except KeyError as error:
            known = ", ".join(row.fields) or "none"
            raise UserError(
                f"{row.source}: corpus.yaml asks for {{{error.args[0]}}} and there is no such "
                f"column; the columns are {known}"
            ) from None


def groups(pattern: str, where: str) -> re.Pattern[str]:
    """Compile a regular expression of corpus.yaml.

    Raises:
        UserError: it is none; `where` is its key.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"corpus.yaml: {where} is no regular expression ({error}): {pattern}; correct it"
        ) from None


def add_groups(row: Row, patterns: Mapping[str, re.Pattern[str]], joined: bool) -> Row:
    """Add to a row the named groups of patterns over its fields: a speaker in the middle of a key.

    Args:
        joined: whether the row has all of its fields; if not, a field may come with a join.

    Raises:
        UserError: there is no such field, or it does not match.
    """
    if row.fault:
        return row
    for field, pattern in patterns.items():
        if not joined and field not in row.fields:
            continue
        value = Template(f"{{{field}}}").fill(row)
        found = pattern.fullmatch(value)
        if found is None:
            raise UserError(
                f"{row.source}: its {field} {value!r} is not as corpus.yaml says (match: "
                f"{pattern.pattern}); correct it or the pattern"
            )
        row.fields = {**row.fields, **found.groupdict(default="")}
    return row


def match(pattern: re.Pattern[str], path: str) -> dict[str, str] | None:
    """Match the end of a path, whole folders of it and the name, with the ending or without.

    Returns:
        The named groups, "" for those that took no part; None where nothing matches. The longest
        part of the path that matches is taken.
    """
    parts = path.split("/")
    for first in range(len(parts)):
        end = "/".join(parts[first:])
        stem, dot, _ = end.rpartition(".")
        found = (dot and pattern.fullmatch(stem)) or pattern.fullmatch(end)
        if found:
            return found.groupdict(default="")
    return None
