"""Processes that tests wait for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Does a process run? One that has ended, unread by its parent, does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def left_of_group(group: int) -> list[str]:
    """What runs in a process group: the command lines."""
    members = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                members.append((process / "cmdline").read_text().replace("\0", " "))
    return members


def eventually(what: str, truth: Callable[[], bool]) -> None:
    """Wait until `truth` holds; fail after a long while."""
    until = time.monotonic() + 30
    while not truth():
        assert time.monotonic() < until, what
        time.sleep(0.02)
