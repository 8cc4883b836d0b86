"""How the programs of utils/ end what they started, whichever signal ends them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

GRACE = 3.0  # seconds from SIGTERM to SIGKILL; a run has ended within five


class Keeper:
    """A process that ends the tasks if this one is killed by a signal that it cannot catch.

    It reads their numbers, as they come and go, from a pipe that nobody but this program holds
    open; so the end of the pipe is the end of this program.

    Args:
        end: ends those that are left: process groups, or jobs of a scheduler.
    """

    def __init__(self, end: Callable[[set[int]], object]) -> None:
        self._end = end
        self._read, self._write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._keep()

    def tell(self, number: int) -> None:
        """Send a task's number, or the negative of one that has ended."""
        with contextlib.suppress(BrokenPipeError):  # If somebody killed it, go on without.
            os.write(self._write, b"%d\n" % number)

    def close(self) -> None:
        """End the process, when no task is left."""
        os.close(self._write)
        os.waitpid(self._pid, 0)

    def _keep(self) -> NoReturn:
        os.setsid()
        for stop in Signals.STOP:
            signal.signal(stop, signal.SIG_IGN)
        os.close(self._write)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        left: set[int] = set()
        try:
            with os.fdopen(self._read) as lines:
                for number in map(int, lines):
                    left.add(number) if number > 0 else left.discard(-number)
            self._end(left)
        finally:
            os._exit(0)  # Never back into the caller's code, of which this is a copy.


class Signals:
    """Signals to wait for: they are handled between the steps of this program, not within one."""

    STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._read, write = os.pipe()
        for descriptor in (self._read, write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (*self.STOP, signal.SIGCHLD):
            # What nohup ignores stays ignored. SIGINT, which a script's `run.py &` starts without,
            # does not: Ctrl-C must end what the script has left in the background.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def wait(self, seconds: float) -> int:
        """Wait for a signal, that of a task's end among them; returns one to stop by, or 0."""
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            return next((n for n in os.read(self._read, 4096) if n in self.STOP), 0)
        return 0


def stop_groups(groups: Iterable[int], pause: Callable[[], object]) -> None:
    """End process groups: SIGTERM, and SIGKILL for those that remain after `GRACE`."""
    alive = [group for group in groups if _signal_group(group, signal.SIGTERM)]
    until = time.monotonic() + GRACE
    while alive and time.monotonic() < until:
        pause()
        alive = [group for group in alive if _signal_group(group, 0)]
    for group in alive:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False
