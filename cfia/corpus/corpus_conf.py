"""Read a recipe's conf/corpus.yaml: the corpus's title and note, and what to expect of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from cfia import options
from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.naming import DEFAULT_VALIDATION
from cfia.shapes import ShapeError, fit

Counts = dict[str, int]


class Expected(TypedDict, total=False):
    """What a label set must have: counts, and the SHA-256 of its sorted lines."""

    total: int
    classes: Counts
    sessions: Counts
    speakers: Counts
    sha256: str


class Standard(TypedDict, total=False):
    """The protocol under which numbers on a corpus are mostly published, by options of run.sh."""

    cv: str
    validation: str


class CorpusConf(TypedDict, total=False):
    """The keys of corpus.yaml, all of which may be missing.

    Attributes:
        audio: what every header must say, by the fields of `cfia.kaldi.audio.Header`.
        expect: by the label set, whose name may look like a number.
        standard: how the corpus is mostly divided; what was made so is marked in tables.
    """

    title: str
    note: str | None
    audio: dict[str, Any] | None
    expect: dict[str | int, Expected | None] | None
    standard: Standard


def read_corpus_conf(path: Path) -> CorpusConf:
    """Read corpus.yaml; empty where there is none.

    Raises:
        UserError: it is no YAML, or a value is of another kind.
    """
    try:
        conf: CorpusConf = fit(CorpusConf, read_yaml(path) if path.exists() else {})
    except ShapeError as error:
        raise UserError(f"{path}: {error}; see egs/iemocap/conf/corpus.yaml") from None
    _check_standard(path, conf.get("standard", {}))
    return conf


def _check_standard(path: Path, standard: Standard) -> None:
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
