"""The GPUs of this machine, and locks by which several run.py at once share them out."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import re
import subprocess
import tempfile
from pathlib import Path


def gpus() -> list[str]:
    """List the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them.

    If it is set, they are those that it names, up to the first -1. A split GPU is listed by its
    instances.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = [device.strip() for device in visible.split(",")]
        return list(itertools.takewhile(lambda device: device not in ("", "-1"), devices))
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _devices(listing.stdout.decode(errors="replace")) if listing.returncode == 0 else []


def _devices(listing: str) -> list[str]:
    devices: list[str] = []
    for line in listing.splitlines():
        gpu = re.match(r"GPU ([0-9]+):", line)
        instance = re.match(r"\s+MIG .*UUID: (MIG-[^)]*)\)", line)
        if gpu:
            devices.append(gpu[1])
        elif instance:
            if devices and devices[-1].isdigit():
                devices.pop()  # The whole GPU cannot be used beside its instances.
            devices.append(instance[1])
    return devices


@dataclasses.dataclass
class Place:
    """Where a task may run.

    Attributes:
        devices: its GPUs; none for a task without.
        slot: which of the tasks that share them it has, from 1; 0 if they are its alone.
    """

    devices: tuple[str, ...] = ()
    slot: int = 0
    _held: list[int] = dataclasses.field(default_factory=list, compare=False)

    @property
    def variables(self) -> dict[str, str]:
        """What a task's environment has besides."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.devices)} if self.devices else {}

    def take(self) -> bool:
        """Lock the GPUs against other run.py; returns False if one of them has them."""
        for device in self.devices:
            alone = fcntl.LOCK_SH if self.slot else fcntl.LOCK_EX
            locks = [(device, alone)] + [(f"{device}.{self.slot}", fcntl.LOCK_EX)] * bool(self.slot)
            if not all(self._lock(_lock_file(name), kind) for name, kind in locks):
                self.release()
                return False
        return True

    def _lock(self, path: Path, kind: int) -> bool:
        try:
            self._held.append(_open(path))
            fcntl.flock(self._held[-1], kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # Where nothing can be locked, nobody waits.
            pass
        return True

    def release(self) -> None:
        """Let others have the GPUs; the end of this program does so, too."""
        while self._held:
            os.close(self._held.pop())


def _lock_file(name: str) -> Path:
    # In a job of a scheduler, a machine's first GPU is another one than in the next job.
    job = os.environ.get("SLURM_JOB_ID", "")
    name = re.sub("[^A-Za-z0-9.-]", "_", f"{job}-{name}" if job else name)
    return Path(tempfile.gettempdir()) / "cfia-gpus" / name


def _open(path: Path) -> int:
    """Open a lock file, which may be another user's, so that every user can do so."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY)
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir()
        path.parent.chmod(0o1777)
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    with contextlib.suppress(PermissionError):
        os.fchmod(handle, 0o644)
    return handle
