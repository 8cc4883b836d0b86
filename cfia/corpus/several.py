"""What a recipe of several corpora says of each: its conf/corpora.yaml, beside corpus.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

from cfia.corpus.corpus_conf import CorpusConf, Standard, check_standard, read_corpus_conf
from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.shapes import ShapeError, check_keys, fit

CORPORA = "corpora.yaml"


class Said(TypedDict, total=False):
    """What is said of one corpus.

    Attributes:
        title, note: for tables, the note behind that of corpus.yaml; language: before it.
        speaker: a field of a row, and the pattern whose groups are the speaker's name.
        certainty: how it is known that these are the speakers.
        standard: the usual protocol, where it is not that of corpus.yaml.
    """

    title: str
    language: str
    speaker: dict[str, str]
    certainty: str
    standard: Standard
    note: str


def said_of(corpus: str, path: Path) -> Said:
    """Read what corpora.yaml says of a corpus; empty where there is no such file or corpus.

    Raises:
        UserError: it is not of that shape.
    """
    if not path.exists():
        return {}
    try:
        value = read_yaml(path).get(corpus, {})
        said: Said = fit(Said, value)
        check_keys(Said, value)
        for pattern in said.get("speaker", {}).values():
            re.compile(pattern)
    except (ShapeError, re.error) as error:
        raise UserError(f"{path}: of {corpus}: {error}; correct it") from None
    check_standard(path, said.get("standard", {}))
    return said


def conf_of(corpus: str, path: Path) -> CorpusConf:
    """Read corpus.yaml at `path`, and what corpora.yaml beside it says of this corpus.

    Raises:
        UserError: one of them is not as it should be.
    """
    conf, said = read_corpus_conf(path), said_of(corpus, path.with_name(CORPORA))
    if "title" in said:
        conf["title"] = said["title"]
    if "standard" in said:
        conf["standard"] = said["standard"]
    language = f"{said['language']}." if "language" in said else ""
    if note := " ".join(filter(None, [conf.get("note"), language, said.get("note")])):
        conf["note"] = note
    return conf
