"""Files of the wrong kind: what may stand in the place of a file that a program reads."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from cfia import marker
from cfia.experiment import NAME
from cfia.naming import fold_and_seed
from tests.support.experiment import mark_again, seal

CONTENTS = {
    "empty": b"",
    "a list": b"[1, 2]\n",
    "a number": b"3\n",
    "null": b"null\n",
    "a word": b"word\n",
    "no UTF-8": b"\xff\xfe\n",
    "brackets": b"[" * 999 + b"\n",
    "a date": b"a: 2024-13-01\n",
    "digits": b'{"a": ' + b"1" * 5000 + b"}\n",
}


def contents(name: str, whole: bytes) -> Iterator[tuple[str, bytes]]:
    """What may stand in a file's place: others, and its own without a key or with another value."""
    yield from CONTENTS.items()
    if name.endswith(".pt"):
        own = torch.load(io.BytesIO(whole), weights_only=True)
        for way, value in (("a saved list", [1]), ("a saved number", 3), *changed(own)):
            buffer = io.BytesIO()
            torch.save(value, buffer)
            yield way, buffer.getvalue()
    elif name.endswith((".yaml", ".json")):
        own = json.loads(whole) if name.endswith("json") else yaml.safe_load(whole)
        for way, value in changed(own):
            yield way, json.dumps(value).encode()  # is YAML, too


def changed(
    values: Mapping[str, Any], others: Sequence[Any] = (None, 3, "word", [1], {"a": 1})
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A mapping without each of its keys, and with other values of them; and so what is in it."""
    for key, value in values.items():
        yield f"no {key}", {k: v for k, v in values.items() if k != key}
        for other in others:
            yield f"{key} is {other!r}", {**values, key: other}
        if isinstance(value, dict):
            for way, inner in changed(dict(list(value.items())[:2]), (None, [1])):
                rest = dict(list(value.items())[2:])
                yield f"{key}, {way}", {**values, key: {**inner, **rest}}


def put(path: Path, content: bytes | None) -> None:
    """Write a content; None puts a directory in the file's place."""
    remove(path)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def vouch(path: Path) -> None:
    """Make the markers and digests of a file's directory those of what it is now.

    As a program of another version might have written it: no digest tells that it is wrong.
    """
    if path.name == NAME:
        try:
            values = yaml.safe_load(path.read_text())
            seal(path, values)
        except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError, RecursionError):
            return
    elif path.is_file() and path.name not in (marker.NAME, ".posteriors.json"):
        recorded = marker.read(path.parent)
        if recorded is not None and path.name in recorded.files:
            mark_again(path.parent)
            if fold_and_seed(path.parent.name):
                mark_posteriors_again(path.parent)


def mark_posteriors_again(training: Path) -> None:
    """Bind the posteriors of a training to its network as it is now."""
    recorded = marker.read(training, ".posteriors.json")
    trained = marker.read(training)
    assert recorded is not None
    assert trained is not None
    inputs = {**recorded.inputs, "best.pt": trained.files["best.pt"]["sha256"]}
    marker.finish(training, recorded.options, inputs, name=".posteriors.json", files=recorded.files)
