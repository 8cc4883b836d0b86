"""Look up how much of a corpus an encoder saw while it was trained, in conf/exposure.yaml.

The file maps a model's name, or a shell-style pattern of names, to corpora, and each to one of
`VALUES`. `default` stands for the corpora that an entry does not name.
"""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from pathlib import Path

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.naming import model_name
from cfia.upstream.choice import Choice
from cfia.upstream.registry import Identity

UNKNOWN = "unknown"
LABELS = "labels"
VALUES = ("none", "audio", LABELS, UNKNOWN)
DEFAULT = "default"
EVERYTHING = "*"  # the one entry that needs no default

_log = logging.getLogger(__name__)


def exposure(path: Path, choice: Choice, corpus: str, identity: Identity | None) -> str:
    """Look up how much of a corpus an encoder has seen: one of `VALUES`.

    An encoder without weights has seen nothing. For a model, of all entries that match its name,
    the first in the file that names the corpus decides, and else the first that has a default.
    Where there is none the answer is `UNKNOWN`, with a warning.

    Args:
        path: conf/exposure.yaml or one like it.
        choice: the encoder. The last part of its model's id or path counts; without a model it is
            looked up under its own name.
        corpus: its name, as experiment.yaml has it. Case, - and _ do not matter.
        identity: what its weights are: a published model is looked up by its own name, whatever it
            is called here. A classifier's head under the name of a model that saw no labels makes
            it `UNKNOWN`, with a warning. None for an encoder without weights.

    Raises:
        UserError: the file is missing or malformed.
    """
    if identity is None:
        return "none"
    name = _model_name(choice, identity)
    value = _look_up(path, name, corpus)
    if identity.published:
        return value
    if identity.label_head and value in ("none", "audio"):
        _log.warning(
            "%s has a classifier's head, so it was trained on labels of some kind and is not the "
            "model whose name it has; what it has seen is unknown",
            name,
        )
        return UNKNOWN
    if identity.claimed:
        _log.warning(
            "%s: its weights' file is not the one published as %s (a copy that was saved again is "
            "another file too); what it has seen (%s) is taken from its name",
            name,
            identity.claimed,
            value,
        )
    return value


def _look_up(path: Path, name: str, corpus: str) -> str:
    entries = [
        corpora
        for pattern, corpora in _load(path).items()
        if fnmatchcase(name.lower(), pattern.lower())
    ]
    for key in (_corpus_name(corpus), DEFAULT):
        for corpora in entries:
            if key in corpora:
                return corpora[key]
    _log.warning("%s does not list %s; what it has seen is unknown", path, name)
    return UNKNOWN


def allowed_exposure(
    path: Path, choice: Choice, corpus: str, identity: Identity | None, *, allow: bool
) -> str:
    """Do as `exposure`, but refuse a model that was trained on the corpus's labels.

    Raises:
        UserError: as `exposure`; the model has seen the labels and `allow` is false.
    """
    value = exposure(path, choice, corpus, identity)
    if value == LABELS and identity:
        name = _model_name(choice, identity)
        if not allow:
            raise UserError(
                f"{name} was trained on the emotion labels of {corpus} ({path}), so its results "
                "there would mean nothing; take another model, or, to compare all the same, "
                "give --allow_contaminated true"
            )
        _log.warning("%s was trained on the emotion labels of %s (%s)", name, corpus, path)
    return value


def _model_name(choice: Choice, identity: Identity) -> str:
    """Name the published model that it is, else take the last part of its id or path.

    A directory under another name than the model's is a model that the file does not list, unless
    the digest of its weights is known.
    """
    return identity.published or (model_name(choice.model) if choice.model else choice.name)


def _corpus_name(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _load(path: Path) -> dict[str, dict[str, str]]:
    """Read pattern -> corpus or `DEFAULT` -> value, in the file's order, and check all of it."""
    return {str(pattern): _entry(path, str(pattern), e) for pattern, e in read_yaml(path).items()}


def _entry(path: Path, pattern: str, entry: object) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise UserError(
            f"{path}: {pattern} must hold `corpus: value` lines, the first of them {DEFAULT}"
        )
    for corpus, value in entry.items():
        if value not in VALUES:
            raise UserError(
                f"{path}: {pattern} has {value!r} for {corpus}; legal values are "
                f"{', '.join(VALUES)}"
            )
    if DEFAULT not in entry and pattern != EVERYTHING:
        raise UserError(
            f"{path}: {pattern} has no {DEFAULT}, for the corpora that it does not name; add "
            f"`{DEFAULT}: {UNKNOWN}` if nothing better is known"
        )
    return {_corpus_name(str(corpus)): value for corpus, value in entry.items()}
