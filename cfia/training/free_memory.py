"""How much memory is free: of a GPU, of the machine, or of the group that a job may not exceed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_FILES = ("inactive_file", "active_file")  # of memory.stat: pages that files can be read into again


@dataclass(frozen=True)
class Free:
    """Free memory.

    Attributes:
        size: bytes that can still be taken; what is cached of files makes way, and counts as free.
        where: whose they are, for the log.
    """

    size: int
    where: str


def free_memory(root: Path = Path("/")) -> Free:
    """Find the least free memory of the machine and of the process's control groups.

    A job of a cluster has a group whose limit is far below the memory of the machine. It is in
    groups within groups, of version 1 or 2, and each may have a limit (the kernel's
    Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).

    Args:
        root: where proc/ is, and what it names.
    """
    found = [Free(_of_machine(root), "of this machine")]
    for group in _groups(root):
        free = _of_group(group)
        if free is not None:
            found.append(Free(free, f"below the limit of the control group {group}"))
    return min(found, key=lambda free: free.size)


def free_on(device: torch.device) -> Free:
    """Find the free memory of a GPU: nobody's, or what this process has taken and does not use."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return Free(free + own, "on the GPU")


def _of_machine(root: Path) -> int:
    """Give the bytes that are free, or half of all memory where that is not known."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(kib)
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _groups(root: Path) -> Iterator[Path]:
    """Find the directories of the process's groups of memory, and of those that they are in."""
    try:
        # <number>:<controllers>:<path>, where version 2 has no controllers.
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    paths = {line.split(":", 2)[1]: PurePosixPath(line.split(":", 2)[2]) for line in lines}
    for mount in mounts:
        # <id> <parent> <device> <mounted part> <mount point> ... - <type> <source> <options>
        left, _, right = mount.partition(" - ")
        kind, _, options = right.split(" ", 2)
        path = paths.get("")
        if kind == "cgroup" and "memory" in options.split(","):
            path = next((paths[c] for c in paths if "memory" in c.split(",")), None)
        elif kind != "cgroup2":
            continue
        part, point = left.split()[3:5]
        top = root / point.lstrip("/")
        # In a container the path may be another one than is mounted; its own group is the top then.
        inner = path.relative_to(part) if path and path.is_relative_to(part) else PurePosixPath()
        yield from (top / name for name in (inner, *inner.parents) if (top / name).is_dir())


def _of_group(group: Path) -> int | None:
    """Give the bytes that a group can still take; None: it has no limit."""
    for usage, limits, prefix in (
        ("memory.current", ("memory.max", "memory.high"), ""),  # version 2
        ("memory.usage_in_bytes", ("memory.limit_in_bytes",), "total_"),  # version 1
    ):
        values = [_read(group / name) for name in limits]
        given = [int(value) for value in values if value.isdecimal()]  # others are "max"
        used = _read(group / usage)
        if given and used:
            rows = (line.split() for line in _read(group / "memory.stat").splitlines())
            files = {row[0]: int(row[1]) for row in rows}
            cached = sum(files.get(prefix + name, 0) for name in _FILES)
            return max(0, min(given) - int(used) + cached)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
