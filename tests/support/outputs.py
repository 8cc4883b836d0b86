"""The files that the stages of a recipe have made, and which of them nothing depends on."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

MADE = ("data", "dump", "exp")  # the directories of a recipe that its stages make

# Of what no bytes are promised, by patterns of paths in the recipe, and why.
NOT_PROMISED = {
    "*.log": "says when, and by which command; nothing reads it",
    "exp/log/*": "lists of what is left to do, written anew by each run",
    "exp/study/*/times.*": "of trainings; nothing reads it",
    "*/tensorboard*": "times; nothing reads it",
    "*.lock": "says who is at work, and goes with them",
}

# What a killed process leaves beside the file or directory that it was writing, removing, holding.
_LEFTOVER = re.compile(r"\..+\.((tmp|old)\.\d+(\.old)?|lock)")


def matches(path: Path, patterns: Iterable[str]) -> bool:
    """Whether a path in a recipe is of one of these patterns."""
    return any(fnmatch.fnmatchcase(str(path), pattern) for pattern in patterns)


def is_leftover(path: Path) -> bool:
    """Whether a path inside a recipe is of what a killed process has left."""
    return any(_LEFTOVER.fullmatch(part) for part in path.parts)


def outputs(recipe: Path, *, without: Sequence[str] = ()) -> dict[str, bytes]:
    """All files that a recipe's stages have made but logs and leftovers, by relative path.

    Args:
        without: names of files that are not wanted.
    """
    paths = [path for made in MADE for path in (recipe / made).rglob("*") if path.is_file()]
    return {
        str(inside): path.read_bytes()
        for path in sorted(paths)
        for inside in [path.relative_to(recipe)]
        if not matches(inside, NOT_PROMISED)
        and not is_leftover(inside)
        and path.name not in without
    }


def differences(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    """The paths whose bytes differ, or that one side lacks."""
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def restore(recipe: Path, finished: Path) -> None:
    """Put back what the stages of a recipe had made when `finished` was copied."""
    for made in MADE:
        shutil.rmtree(recipe / made, ignore_errors=True)
        if (finished / made).exists():
            shutil.copytree(finished / made, recipe / made)


def keep(recipe: Path, finished: Path) -> Path:
    """Copy what the stages of a recipe have made, for `restore`; an earlier copy goes."""
    shutil.rmtree(finished, ignore_errors=True)
    for made in MADE:
        if (recipe / made).exists():
            shutil.copytree(recipe / made, finished / made)
    return finished
