"""The operations by which this process changes files, told as each is about to happen.

Python tells them itself (`sys.addaudithook`), so they are those of all code that runs, ours and
others'. What is written into an open file is not told; files that are not written under another
name first have tests of their own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Watcher = Callable[[str, Path], None]
"""Is called with the name of an operation and the path that it changes."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Of each operation: where in its arguments the path is, and where the directory's descriptor.
PATHS = {
    "os.mkdir": (0, 2), "os.remove": (0, 1), "os.rmdir": (0, 1), "os.rename": (1, 3),
    "os.link": (1, 3), "os.symlink": (1, 2), "os.truncate": (0, None),
}  # fmt: skip

_watchers: list[Watcher] = []
_hooks: list[Callable[[str, tuple[Any, ...]], None]] = []


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell a function what the block changes. A hook stays in the process, but says nothing."""
    if not _hooks:
        _hooks.append(_hook)
        sys.addaudithook(_hook)
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watchers or (event != "open" and event not in PATHS):
        return
    if event == "open":
        path, descriptor = arguments[0], None
        if not arguments[2] & WRITES:
            return
    else:
        place, directory = PATHS[event]
        path = arguments[place]
        descriptor = None if directory is None else arguments[directory]
    if isinstance(path, int):  # a file that is open already
        return
    where = Path(os.fsdecode(path))
    if descriptor not in (None, -1):
        where = Path(f"/proc/self/fd/{descriptor}").readlink() / where
    for watcher in list(_watchers):
        watcher(event, where.absolute())
