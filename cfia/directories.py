"""Directories that appear whole or not at all, and the one function that removes them.

A program removes nothing that no program of ours has made: a directory must bear a marker.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cfia.errors import UserError

MARKER = ".done.json"  # of the output of a stage (cfia/marker.py)
EXPERIMENT = "experiment.yaml"  # of exp/<system>/<scheme> (cfia/experiment.py)
_WORKPLACE = ".workplace"  # of a directory in which another is filled, or tables are staged
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a write has no more room, however much is there
_MARKERS = (MARKER, EXPERIMENT, _WORKPLACE)


def obstacle(path: Path) -> str:
    """Say why there cannot be a directory of this name; "" if there can, or is one."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            target = place.readlink()
            return f"{place} is a link to {target}, which is not there; make that, or the link anew"
        if place.exists() and not place.is_dir():
            return f"{place} is a file; move it away, or name another directory"
    return ""


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a directory elsewhere; it replaces `path` when the block ends well.

    A symbolic link keeps its target, and the target is replaced.

    Raises:
        UserError: `path` holds something that no program of ours has made.
    """
    target = Path(path).resolve()
    _refuse_others(target)
    with workplace(target) as place:
        new = place / "new"
        new.mkdir()
        with _named(new, target):
            yield new
        if target.exists():
            # Two renames, not one: for a moment neither name exists, which a reader takes
            # for "not made yet", never for a mixture of the old and the new.
            os.replace(target, place / "old")
        os.replace(new, target)


@contextlib.contextmanager
def _named(new: Path, target: Path) -> Iterator[None]:
    """Let an error of the file system name where a file was to be, not the temporary place.

    A full disk is that of the new files, though a write names none.
    """
    try:
        yield
    except OSError as error:
        place = Path(str(error.filename))
        if error.filename is None and error.errno in _FULL:
            place = target
        elif place.is_relative_to(new):
            place = target / place.relative_to(new)
        else:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """Make a directory beside `target` for the block, to prepare in it what goes there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target, "tmp")
    place = target.with_name(f".{target.name}.tmp.{os.getpid()}")
    place.mkdir()
    (place / _WORKPLACE).touch()
    try:
        yield place
    finally:
        _remove_tree(place)


def remove(path: Path) -> None:
    """Remove a directory at once: a kill leaves it whole, or none of it under its name.

    A symbolic link keeps its target, which is emptied.

    Raises:
        UserError: it holds something that no program of ours has made.
    """
    target = path.resolve()
    _refuse_others(target)
    _remove_leftovers(target, "old")
    old = target.with_name(f".{target.name}.old.{os.getpid()}")
    target.rename(old)
    if path.is_symlink():
        target.mkdir()
    _remove_tree(old)


def _remove_leftovers(target: Path, kind: str) -> None:
    """Remove what killed processes have left of their work on a directory."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.{kind}.*"):
        with contextlib.suppress(OSError):  # another process removes it, too
            _remove_tree(left)


def _is_ours(path: Path) -> bool:
    return any((path / name).is_file() for name in _MARKERS) or not any(path.iterdir())


def _refuse_others(path: Path) -> None:
    if path.exists() and not (path.is_dir() and _is_ours(path)):
        raise UserError(
            f"{path} is there and no program of cfia made it (there is no {MARKER} in it); move it "
            "away, or name another directory"
        )


def _remove_tree(path: Path) -> None:
    """Remove a directory of ours, its marker last, so that a later call can go on."""
    if not _is_ours(path):
        return
    for inside in path.iterdir():
        if inside.name in _MARKERS:
            continue
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()
    for name in _MARKERS:
        (path / name).unlink(missing_ok=True)
    path.rmdir()
