"""A control group with a limit of memory, for measurements; what files leave in the page cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

# Where groups are made, and the files of their limit and of swapping, of version 1 and 2.
_TOPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.swappiness"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.swap.max"),
)
NOT_PERMITTED = (
    "No control group with a limit of memory can be made here: that takes root, and a system that "
    "has the memory controller in /sys/fs/cgroup. Nothing is measured under a limit."
)


@contextlib.contextmanager
def limited(size: int) -> Iterator[Path | None]:
    """Make a group of at most so many bytes, cached files included, without swap.

    Yields:
        Its directory, for processes that enter themselves in its cgroup.procs; None where none is
        permitted.
    """
    for top, limit, swap in _TOPS:
        if not (top / "cgroup.procs").exists():
            continue
        group = top / f"cfia-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():  # it is not where the controller is of the other version
                (group / limit).write_text(str(size))
                if (group / swap).exists():
                    (group / swap).write_text("0")
                yield group
                return
        finally:
            group.rmdir()
    yield None


def within(group: Path | None, command: Sequence[str]) -> list[str]:
    """Write a command so that it runs in a group, if one is given."""
    enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)] if group else []
    return [*enter, *command]


def forget(root: Path) -> None:
    """Drop the archives below a directory from the page cache, as if nobody had read them.

    Cached pages belong to the group that has read them first, and others read them for nothing.
    """
    for archive in root.rglob("*.ark"):
        with archive.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
