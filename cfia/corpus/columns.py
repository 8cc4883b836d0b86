"""Take the columns of an utterance from a row, by the templates and codes of corpus.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cfia.corpus.corpus_conf import CorpusConf
from cfia.corpus.rows import Row, RowError, Template
from cfia.errors import UserError
from cfia.files import read_yaml

OWN = (
    "audio", "name", "speaker", "label", "text", "text_file", "session", "dialogue", "type",
    "gender", "age", "split", "fold", "start", "end",
)  # fmt: skip
"""Columns with a meaning; any other becomes a table utt2<column>."""

UNKNOWN = "-"  # of a speaker, of what is said of one, or a further column: nobody knows
_NEVER_EMPTY = set(OWN) - {"text", "gender", "age", "end"}
_RESERVED = {"spk", "dur", "emo", "num_frames", "uniq"}  # utt2spk is made of `speaker`
_FURTHER = re.compile(r"[a-z][a-z0-9_]*")
_ANY = "*"
_PARITY = {"odd", "even"}


class Codes:
    """What the codes of one column mean: a mapping, a file of one, or odd and even numbers."""

    def __init__(self, column: str, given: str | Mapping[str, str], conf_dir: Path) -> None:
        """Read them.

        Args:
            given: code -> value, or a YAML file in `conf_dir`. The code `*` is any other; the value
                `*` is the code itself. The codes `odd` and `even` alone are of numbers.

        Raises:
            UserError: the file is missing, or no mapping of text to text.
        """
        self.column = column
        self.file = conf_dir / given if isinstance(given, str) else None
        self.values: dict[str, str] = dict(read_yaml(self.file) if self.file else given)  # type: ignore[arg-type]
        for code, value in self.values.items():
            if not isinstance(code, str) or not isinstance(value, str):
                raise UserError(
                    f"{self.file}: {code!r}: {value!r} is not a code and its value; write both as "
                    "text, in quotes if YAML takes them for something else"
                )
        self.parity = self.values.keys() == _PARITY

    def meaning(self, code: str, row: Row) -> str:
        """Give the value of a code.

        Raises:
            UserError: it has none.
        """
        if self.parity and code.isdecimal():
            return self.values["odd" if int(code) % 2 else "even"]
        value = self.values.get(code, self.values.get(_ANY))
        if value is None:
            where = self.file or f"corpus.yaml (codes: {self.column})"
            raise UserError(
                f"{row.source}: its {self.column} is the code {code!r}, which {where} lacks; "
                "correct it or add it there"
            )
        return code if value == _ANY else value


class Columns:
    """The columns that a page names, each a template and perhaps codes."""

    def __init__(self, conf: CorpusConf, defaults: Mapping[str, str], conf_dir: Path) -> None:
        """Compile templates and codes.

        Args:
            defaults: templates of columns that the page need not name.

        Raises:
            UserError: a column has no audio or label, a reserved name, or codes and no template.
        """
        given = conf.get("columns") or {}
        self.templates = {c: Template(text) for c, text in {**defaults, **given}.items()}
        self._named = list(self.templates.items())
        codes = conf.get("codes") or {}
        self.codes = {column: Codes(column, value, conf_dir) for column, value in codes.items()}
        self.further = [column for column in self.templates if column not in OWN]
        for column in self.further:
            if column in _RESERVED or not _FURTHER.fullmatch(column):
                raise UserError(
                    f"corpus.yaml: columns has {column!r}; name it {', '.join(OWN)}, or otherwise "
                    "in small letters, and it becomes a table utt2<column>"
                )
        for column in ("audio", "label", *self.codes):
            if column not in self.templates:
                raise UserError(
                    f"corpus.yaml: columns lacks {column}; say where it is, such as "
                    f"`{column}: '{{{column}}}'`"
                )

    def __contains__(self, column: str) -> bool:
        return column in self.templates

    @property
    def fields(self) -> set[str]:
        """All fields that a template asks for."""
        return {field for template in self.templates.values() for field in template.fields}

    def read(self, row: Row) -> dict[str, str]:
        """Give the value of each column of a row.

        Raises:
            RowError: one is empty that may not be.
            UserError: there is no such field, or a code has no meaning.
        """
        if row.fault:
            raise RowError(f"{row.source}: {row.fault}")
        return {name: self._value(name, template, row) for name, template in self._named}

    def _value(self, column: str, template: Template, row: Row) -> str:
        value = template.fill(row)
        codes = self.codes.get(column)
        if codes is not None and (value or "" in codes.values):
            value = codes.meaning(value, row)
        if not value and column in _NEVER_EMPTY:
            cells = " and ".join(template.fields) or "the template"
            raise RowError(f"{row.source}: the {column} is empty (column {cells})")
        return value


def one_word(value: str) -> str:
    """Make a value one word, as a table of one value needs."""
    return "_".join(value.split())
