"""Files of JSON lines that jobs append to, each line through to the disk, so that a kill loses one.

A lock keeps apart two copies of one job, such as the orphan of a lost node and the job that
replaces it: the second waits, and then finds what the first has done.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cfia import lock
from cfia.errors import UserError

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, job: int) -> Iterator[int]:
    """Open the file of a job for reading and appending, and lock it; give its handle.

    Raises:
        UserError: it cannot be written; or another process has removed it since.
    """
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        _lock(handle, path, job)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, path: Path, job: int) -> None:
    if not lock.take(handle, fcntl.LOCK_EX, path):
        _log.info("another process is at work on job %d; waiting for its end", job)
        fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink == 0:
        raise UserError(
            f"{path.parent} was finished or begun again by another process; run the stage again"
        )


def read(path: Path) -> list[Any]:
    """Read the lines; none if there is no file. A last line that a kill has cut is left out.

    Raises:
        ValueError, RecursionError: a line is no JSON.
    """
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def keep(handle: int, values: Iterable[Any]) -> None:
    """Cut a file behind its first lines, which are those of the values."""
    os.ftruncate(handle, sum(len(_line(value)) for value in values))


def append(handle: int, value: Any) -> None:
    """Append a line."""
    with open(handle, "ab", closefd=False) as file:
        file.write(_line(value))
    os.fsync(handle)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk and the like into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); free some space or correct "
            "the permissions, and run the same command again: it goes on from where it was"
        ) from None
