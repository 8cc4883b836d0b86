"""What a command and all that it starts cost: time, processor time, memory. Linux alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 2.0  # seconds between two looks


@dataclass
class Cost:
    """Of one run of a command.

    Attributes:
        seconds: on the clock.
        processor: seconds of processors; of a run that was killed, what was seen of each process.
        largest: bytes of the largest process at its peak.
        together: bytes of all processes at the peak, what they share counted once.
        code: exit code; None if it was killed here.
    """

    seconds: float
    processor: float
    largest: int
    together: int
    code: int | None


@dataclass
class _Seen:
    """The most that was seen of each process, and of all together."""

    ticks: dict[int, int] = field(default_factory=dict)
    largest: int = 0
    together: int = 0

    def look(self, root: int) -> None:
        """Look at a process and its descendants."""
        together = 0
        for pid in descendants(root):
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = _stat(pid)
                self.ticks[pid] = int(fields[11]) + int(fields[12])
                self.largest = max(self.largest, _kib(pid, "status", "VmHWM"))
                together += _kib(pid, "smaps_rollup", "Pss")
        self.together = max(self.together, together)


def measure(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    kill_when: Callable[[], bool] | None = None,
) -> Cost:
    """Run a command to its end, or until `kill_when` says so: then every process of it is killed.

    Its output is added to `log`.
    """
    seen, began = _Seen(), time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    looked, killed = -EVERY, False
    while True:
        if time.monotonic() - looked >= EVERY:
            seen.look(process.pid)
            looked = time.monotonic()
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            processor = usage.ru_utime + usage.ru_stime
            break
        if kill_when is not None and kill_when():
            kill(lambda: descendants(process.pid))
            killed = True
            process.wait()
            processor = sum(seen.ticks.values()) / TICKS
            break
        time.sleep(0.2)
    wall = time.monotonic() - began
    code = None if killed else process.returncode
    return Cost(wall, processor, seen.largest, seen.together, code)


def kill(alive: Callable[[], Sequence[int]]) -> None:
    """Stop all processes that `alive` lists, so that none can start another; then kill them."""
    stopped: list[int] = []
    while left := [pid for pid in alive() if pid not in stopped]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped += left
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """A process and all below it that are alive."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                children.setdefault(parent(int(path.name)), []).append(int(path.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat behind the command's name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _kib(pid: int, file: str, key: str) -> int:
    """Bytes that a line of a file in /proc/<pid> gives in kB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    return 0
