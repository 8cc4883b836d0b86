"""What a run of a recipe in the real shell has made, without the time at which it did."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.shell.recipes import Recipe
from tests.support.data_files import tree
from tests.support.outputs import outputs


def made(recipe: Recipe) -> dict[str, bytes]:
    """The files of which bytes are promised, with the corpus; times, and what digests them, out.

    Everything else is the same if the command is, in the same place.
    """
    files = outputs(recipe.directory)
    found = {name: timeless(name, data, files) for name, data in files.items()}
    corpus = {f"corpus/{name}": data for name, data in tree(recipe.corpus).items()}
    return found | corpus


def timeless(name: str, data: bytes, files: dict[str, bytes]) -> bytes:
    """A file without the time of a training, or the digest of what has it."""
    path = Path(name)
    if path.name == "provenance.yaml":
        return re.sub(rb"(?m)^started: .*$", b"", data)
    if path.name == ".done.json" and str(path.with_name("provenance.yaml")) in files:
        marker = json.loads(data)
        del marker["files"]["provenance.yaml"]["sha256"], marker["sha256"]
        return json.dumps(marker).encode()
    return data
