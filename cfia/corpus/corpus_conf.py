"""Read a recipe's conf/corpus.yaml: the corpus's title and note, and what to expect of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.shapes import ShapeError, fit

Counts = dict[str, int]


class Expected(TypedDict, total=False):
    """What a label set must have: counts, and the SHA-256 of its sorted lines."""

    total: int
    classes: Counts
    sessions: Counts
    speakers: Counts
    sha256: str


class CorpusConf(TypedDict, total=False):
    """The keys of corpus.yaml, all of which may be missing.

    Attributes:
        audio: what every header must say, by the fields of `cfia.kaldi.audio.Header`.
        expect: by the label set, whose name may look like a number.
    """

    title: str
    note: str | None
    audio: dict[str, Any] | None
    expect: dict[str | int, Expected | None] | None


def read_corpus_conf(path: Path) -> CorpusConf:
    """Read corpus.yaml; empty where there is none.

    Raises:
        UserError: it is no YAML, or a value is of another kind.
    """
    try:
        conf: CorpusConf = fit(CorpusConf, read_yaml(path) if path.exists() else {})
    except ShapeError as error:
        quotes = "write names that look like numbers in quotes, such as '03', and "
        raise UserError(
            f"{path}: {error}; {quotes * str(error).startswith('the key')}see "
            "egs/iemocap/conf/corpus.yaml"
        ) from None
    return conf
