"""Rows of a corpus whose files' names say everything."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cfia.corpus.corpus_conf import Files, listed
from cfia.corpus.rows import Row, groups, match
from cfia.errors import UserError

_ENDING = re.compile(r"(?<=\.)[a-z0-9]+$")


def find(root: Path, patterns: Sequence[str]) -> list[str]:
    """Find files below a directory by globs, sorted; names that begin with a dot are none.

    `**` stands for any number of folders. The ending of a name may be of either case.
    """
    return sorted({file for pattern in patterns for file in _glob(root, pattern)})


def has(root: Path, pattern: str) -> bool:
    """Whether `find` would find a file; one is looked for."""
    return next(_glob(root, pattern), None) is not None


def _glob(root: Path, pattern: str) -> Iterator[str]:
    either = _ENDING.sub(lambda end: "".join(map(_either_case, end[0])), pattern)
    # Much faster than Path.glob on large trees, and hidden files are none.
    return glob.iglob(either, root_dir=root, recursive=True)  # noqa: PTH207


def _either_case(letter: str) -> str:
    return f"[{letter}{letter.upper()}]" if letter.isalpha() else letter


def read_files(root: Path, conf: Files) -> Iterator[Row]:
    """Give a row for each file: the groups of its name, and `file`, `folder` and `name`.

    `file` is the path below `root`, `folder` its folder, and `name` the name without the ending.

    Raises:
        UserError: a name does not match the pattern.
    """
    pattern = groups(conf["name"], "files.name")
    for file in find(root, listed(conf["glob"])):
        named = match(pattern, file)
        if named is None:
            raise UserError(
                f"{root / file} is not named as corpus.yaml says (files.name: {conf['name']}); "
                "rename it, move it away, or correct the pattern"
            )
        folder, _, last = file.rpartition("/")
        stem, dot, _ = last.rpartition(".")
        fields = {"file": file, "folder": folder or ".", "name": stem if dot else last, **named}
        yield Row(fields, f"{root}/{file}")
