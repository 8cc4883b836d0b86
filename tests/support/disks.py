"""A disk of its own, which is full or read-only when a test says so. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.data_files import mounted

PAGE = 4096  # bytes; a file takes whole ones


def mounted_disk(path: Path, size: str) -> Iterator[Disk]:
    """A disk of this size, such as "128k", at a new directory; for a fixture."""
    for disk in mounted(path, size):
        yield Disk(disk)


class Disk:
    """A file system that is mounted at a directory."""

    def __init__(self, path: Path):
        self.path = path

    @contextlib.contextmanager
    def full(self, pages: int) -> Iterator[None]:
        """Leave so many pages to what runs in the block."""
        ballast = self.path / "ballast"
        status = os.statvfs(self.path)
        size = status.f_bavail * status.f_frsize - pages * PAGE
        with open(ballast, "wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, size)
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nobody, root included, write in the block."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)
