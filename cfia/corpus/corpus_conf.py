"""Read a recipe's conf/corpus.yaml: what the corpus is called, where things are, what to expect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

from cfia import options
from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.naming import DEFAULT_VALIDATION
from cfia.shapes import ShapeError, check_keys, fit

Counts = dict[str, int]
Some = str | list[str]  # one, or several


class Expected(TypedDict, total=False):
    """What a label set must have: counts, and the SHA-256 of its sorted lines."""

    total: int
    classes: Counts
    sessions: Counts
    speakers: Counts
    sha256: str


class MinClass(TypedDict, total=False):
    """Which classes are rare, by their number of utterances, and what becomes of them."""

    count: int
    into: str


class Files(TypedDict):
    """Utterances are files whose names say everything.

    Attributes:
        glob: which files, below `root`; endings are of either case.
        name: a regular expression over the path, whose named groups are the fields of the row.
    """

    glob: Some
    name: str


class Table(TypedDict, total=False):
    """A CSV, TSV or JSONL file, or several of the same columns.

    Attributes:
        file: names or globs, below `root`.
        format: `jsonl`, or `csv` for everything that has a separator; by the ending if not given.
        separator: of cells; a blank stands for any white space, and the last column has the rest.
        quotes: whether a cell may be in double quotes; if not given, unless tabs separate.
        header: the names of the columns, where the file itself does not say them.
        encoding: a codec of Python's; if not given, it is found.
        name: a regular expression over the file's path, whose named groups are fields of all rows.
        speaker ... fold: a column that is the same in all rows.
        fields: fields that are; of several values, the first that is a path below `root`.
    """

    file: Required[Some]
    format: str
    separator: str
    quotes: bool
    header: list[str]
    encoding: str
    name: str
    speaker: str
    label: str
    session: str
    dialogue: str
    type: str
    gender: str
    split: str
    fold: str
    fields: dict[str, Some]


class Join(Table, total=False):
    """A table that says more of each row: that whose `key` is what the template `value` gives."""

    key: Required[str]
    value: str


class Standard(TypedDict, total=False):
    """The protocol under which numbers on a corpus are mostly published, by options of run.sh."""

    cv: str
    validation: str


class CorpusConf(TypedDict, total=False):
    """The keys of corpus.yaml, all of which may be missing; conf/README.md describes them.

    Attributes:
        source, licence: who has the corpus, and under which terms, for a user who has not got it.
        language: codes of ISO 639-1, for the model card.
        layout: globs of what must be there, and what that is; below one of `root`.
        audio: what every header must say, by the fields of `cfia.kaldi.audio.Header`.
        expect: by the label set, whose name may look like a number.
        may_be_partial: whether other counts than are expected are a warning alone.
        transcripts: false where the corpus has none.
        min_class: see `cfia.corpus.rare`.
        standard: how the corpus is mostly divided; what was made so is marked in tables.
    """

    title: str
    note: str | None
    audio: dict[str, Any] | None
    expect: dict[str | int, Expected | None] | None
    may_be_partial: bool
    transcripts: bool | None
    min_class: MinClass | None
    standard: Standard
    source: str
    licence: str
    language: list[str]
    layout: dict[str, str]
    root: Some
    ignore: Some
    files: Files
    table: str | Table | list[str | Table]
    data_dir: str
    match: dict[str, str]
    join: Join | list[Join]
    columns: dict[str, str]
    codes: dict[str, str | dict[str, str]]


WAYS_IN = ("files", "table", "data_dir")
READING = (*WAYS_IN, "root", "ignore", "match", "join", "columns", "codes")
"""The keys that decide what is read."""
TEXT = ("text", "text_file")
"""Columns that give the transcript."""


def read_corpus_conf(path: Path) -> CorpusConf:
    """Read corpus.yaml; empty where there is none.

    Raises:
        UserError: it is no YAML, has a key of no meaning, or a value is of another kind.
    """
    try:
        values = read_yaml(path) if path.exists() else {}
        conf: CorpusConf = fit(CorpusConf, values)
        check_keys(CorpusConf, values)
    except ShapeError as error:
        quotes = "write names that look like numbers in quotes, such as '03', and "
        raise UserError(
            f"{path}: {error}; {quotes * str(error).startswith('the key')}see conf/README.md, "
            "which lists the keys"
        ) from None
    check_standard(path, conf.get("standard", {}))
    return conf


def check_standard(path: Path, standard: Standard) -> None:
    """Require a protocol that there is; `path` is the file that names it.

    Raises:
        UserError: there is none such.
    """
    cv, validation = standard.get("cv", ""), standard.get("validation", DEFAULT_VALIDATION)
    wrong = standard and (
        options.cv(cv) or options.validation(validation) or options.not_together(cv, validation)
    )
    if wrong:
        raise UserError(f"{path}: standard is {cv!r} with validation {validation!r}; {wrong}")


def is_standard(standard: Standard, protocol: Mapping[str, Any]) -> bool:
    """Whether an experiment was trained and tested as is the standard of its corpus.

    Args:
        standard: empty where the corpus names none.
        protocol: of its experiment.yaml.
    """
    cv, validation = standard.get("cv"), standard.get("validation", DEFAULT_VALIDATION)
    same = (protocol["cv"], protocol["validation"]) == (cv, validation)
    return same and protocol["selection"] != "test"


def has_text(conf: CorpusConf) -> bool:
    """Whether the corpus has transcripts, as far as its page says."""
    said = conf.get("transcripts")
    if said is not None or not ("files" in conf or "table" in conf):
        return said is not False
    named = f"(?P<{TEXT[0]}>" in conf["files"]["name"] if "files" in conf else False
    return named or any(column in conf.get("columns", {}) for column in TEXT)


def listed(value: Any) -> list[Any]:
    """Give one or several as a list; None as none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
