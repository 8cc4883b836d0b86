"""A run of a recipe of which one process, or all, are killed at some moment. Linux alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.slow.process_tree import kill, parent

MARK = "CFIA_KILLS"  # a variable that all processes of a run have, whoever is their parent
COPY = "a copy of"
LOOK = 0.02  # seconds between two looks
PATIENCE = 300.0  # seconds for a run to end of which a process was killed
OUTLIVE = 5.0  # seconds for what a killed run has left
_numbers = itertools.count()


@dataclass(frozen=True)
class Moment:
    """When to kill, and what.

    Attributes:
        stage, after: the stage, and the seconds since it began.
        everything: all processes; else one.
        copies: one of those that are copies of their parents, to do what is left when it is killed.
        which: says which one, as a share of their list.
    """

    stage: int
    after: float
    everything: bool
    copies: bool
    which: float


@dataclass(frozen=True)
class Killed:
    """A kill that was done.

    Attributes:
        stage: the one that ran, which may be a later one than the moment's.
        what: the process, or "all" and how many.
        after: seconds since the stage began.
        code: the exit code of the run, as Python gives it.
        outlived: seconds that a process of the run lived on after its end.
        said: the run's last line.
        fault: what was wrong; "" if nothing was.
    """

    stage: int
    what: str
    after: float
    code: int | None
    outlived: float
    said: str
    fault: str

    def __str__(self) -> str:
        ended = f"ended with {self.code}" if self.code else "finished nonetheless"
        left = f", the last process {self.outlived:.1f} s later" if self.outlived >= 0.1 else ""
        fault = f"; FAULT: {self.fault}" if self.fault else ""
        at = f"stage {self.stage} after {self.after:.2f} s"
        return f"{at}, {self.what}: {ended}{left}: {self.said}{fault}"


class Attempt:
    """A run that goes on in the background.

    Attributes:
        log: what it says.
        process: the one that a user has called.
    """

    def __init__(self, command: Sequence[str], log: Path, **environment: str):
        self.log, self._began, self._stages = log, time.monotonic(), dict[int, float]()
        self._mark = f"{MARK}={os.getpid()}.{next(_numbers)}"
        name, _, value = self._mark.partition("=")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **environment, name: value}, start_new_session=True,
            )  # fmt: skip

    def _look(self) -> bool:
        """Note which stages have begun; returns whether the run goes on."""
        said = self.log.read_text(errors="replace")
        for stage in re.findall(r"^\S+ \(run\.sh\) Stage (\d):", said, re.MULTILINE):
            self._stages.setdefault(int(stage), time.monotonic() - self._began)
        return self.process.poll() is None

    def moments(self) -> dict[int, float]:
        """Wait for the end; give the seconds after which each stage began, and -1, the end."""
        while self._look():
            time.sleep(LOOK)
        return {**self._stages, -1: time.monotonic() - self._began}

    def last_line(self) -> str:
        """The last that it has said."""
        return next(reversed(self.log.read_text(errors="replace").split("\n")[:-1]), "")

    def alive(self) -> list[int]:
        """All processes of the run that live, in the order in which they began."""
        found, mark = [], self._mark.encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # Of a process that has ended, unread by its parent, it is empty.
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return sorted(found)

    def kill_at(self, moment: Moment) -> Killed | None:
        """Kill at a moment, and wait for the end; None if the run ended before.

        A stage that the run has left when it is seen counts as begun.
        """
        while not any(stage >= moment.stage for stage in self._stages):
            if not self._look():
                return None
            time.sleep(LOOK)
        until = self._began + max(self._stages.values()) + moment.after
        while time.monotonic() < until:
            if not self._look():
                return None
            time.sleep(LOOK)
        what = self._kill_all() if moment.everything else self._kill_one(moment)
        if not what:
            return None
        self._look()
        stage = max(self._stages, key=lambda stage: self._stages[stage])
        after = time.monotonic() - self._began - self._stages[stage]
        return self._wait(stage, what, after)

    def _kill_all(self) -> str:
        number = len(self.alive())
        kill(self.alive)
        return f"all {number} processes" if number else ""

    def _kill_one(self, moment: Moment) -> str:
        while alive := {pid: called(pid) for pid in self.alive()}:
            of_kind = [pid for pid in alive if alive[pid].startswith(COPY) == moment.copies]
            pids = of_kind or list(alive)
            pid = pids[int(moment.which * len(pids))]
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                return alive[pid]
        return ""

    def _wait(self, stage: int, what: str, after: float) -> Killed:
        fault = ""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            fault = f"the run has not ended in {PATIENCE:.0f} s"
            kill(self.alive)
            self.process.wait()
        ended = time.monotonic()
        while (left := self.alive()) and time.monotonic() < ended + OUTLIVE:
            time.sleep(LOOK)
        outlived = time.monotonic() - ended
        if left:
            names = ", ".join(map(called, left))
            fault = f"{names} lived on for more than {OUTLIVE:.0f} s"
            kill(self.alive)
        if "Traceback" in self.log.read_text(errors="replace"):
            fault = fault or f"a traceback; see {self.log}"
        code = self.process.returncode
        return Killed(stage, what, after, code, outlived, self.last_line(), fault)


def called(pid: int) -> str:
    """What a process runs, shortly; or what its parent does, of which it is a copy."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        above = Path(f"/proc/{parent(pid)}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return f"{pid}, which has ended"
    scripts = [Path(word).name for word in words[:3] if word.endswith((".py", ".sh"))]
    name = scripts[0] if scripts else " ".join(words).strip()[:40]
    if "-m" in words[:3]:
        name = words[words.index("-m") + 1]
    return f"{COPY} {name}" if words == above.split("\0") else name
