"""What else a machine does while something is measured, as /proc tells it.

Processors are counted: 0.5 is one that is busy half of the time. What a system does not tell is
None: in some sandboxes /proc/stat stays at zero, and not every kernel has /proc/pressure.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

BEFORE = 0.5  # seconds that are looked at before a measurement begins


@dataclass(frozen=True)
class Others:
    """What processes that are not of a measurement did on its machine.

    Attributes:
        before: processors that they kept busy before it began; during: while it ran.
        load: the system's mean of a minute, when it began.
        waited: the share of the time in which some process waited for a processor, ours too.
    """

    before: float | None
    during: float | None
    load: float | None
    waited: float | None


@dataclass(frozen=True)
class _Reading:
    at: float
    busy: float | None  # seconds of processors since the machine started, of all processes
    own: float  # of this process, and of those of its children that have ended
    waited: float | None  # seconds in which some process waited


class Watch:
    """Looks at the machine, for a moment before a measurement and while it runs.

    What children of this process did counts as its own once they have ended.

    Args:
        proc: where the system tells of itself.
        before: seconds to look before the measurement; 0 does not look.
    """

    def __init__(self, proc: Path = Path("/proc"), before: float = BEFORE) -> None:
        self._proc = proc
        load = _words(proc / "loadavg")
        self._load = float(load[0]) if load else None
        first = self._read()
        if before:
            time.sleep(before)
        self._began = self._read() if before else first
        self._before = _processors(first, self._began) if before else None

    def so_far(self) -> Others:
        """What others have done until now."""
        now = self._read()
        waited = None
        if now.waited is not None and self._began.waited is not None:
            waited = (now.waited - self._began.waited) / (now.at - self._began.at)
        return Others(self._before, _processors(self._began, now), self._load, waited)

    def _read(self) -> _Reading:
        used = os.times()
        own = used.user + used.system + used.children_user + used.children_system
        return _Reading(time.perf_counter(), _busy(self._proc), own, _waited(self._proc))


def _processors(first: _Reading, last: _Reading) -> float | None:
    if first.busy is None or last.busy is None:
        return None
    of_others = last.busy - first.busy - (last.own - first.own)
    return max(0.0, of_others / (last.at - first.at))


def _busy(proc: Path) -> float | None:
    """Seconds of processors that were not idle; what other machines of the host took counts."""
    words = _words(proc / "stat")  # the first line is of all processors
    if not words or words[0] != "cpu":
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else None


def _waited(proc: Path) -> float | None:
    words = _words(proc / "pressure" / "cpu")  # some avg10=.. avg60=.. avg300=.. total=<us>
    totals = [word.partition("=")[2] for word in words if word.startswith("total=")]
    return int(totals[0]) / 1e6 if totals else None


def _words(path: Path) -> list[str]:
    """The words of a file's first line; none where it cannot be read."""
    try:
        return path.read_text().partition("\n")[0].split()
    except OSError:
        return []
