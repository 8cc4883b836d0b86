#!/usr/bin/env python3
"""Run the stages of a recipe, and end all that they have started when a signal asks for it.

A shell that waits for a program heeds a signal only when that program has ended, or dies alone. So
ser.sh runs below this program, which is the process that the user has called: SIGTERM to it alone
is enough.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves it out
from job_command import fail
from job_signals import Signals

MARK = "CFIA_SUPERVISOR"  # the variable that tells the command which process is above it
FIRST = 0.5  # seconds in which a Ctrl-C, which all processes get, ends them
LAST = 4.5  # seconds from the signal to SIGKILL: more than run.py and slurm.py take to end jobs


def processes() -> dict[int, tuple[int, int, str]]:
    """List all processes of this machine: their parents, sessions, and when they began."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.name)] = (int(fields[1]), int(fields[3]), fields[19])
    return found


class Below:
    """The processes below this one that are in its session.

    Those in sessions of their own are jobs, which run.py and slurm.py end, and know how to.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}  # when each began, for numbers are used again
        self._told: set[int] = set()

    def alive(self) -> list[int]:
        """List those that live; one that is known, whoever has become its parent."""
        everything, me = processes(), os.getpid()
        self._known = {
            pid: began for pid, began in self._known.items()
            if pid in everything and everything[pid][2] == began
        }  # fmt: skip
        parents = {me, *self._known}
        more = parents
        while more:
            more = {p for p, (parent, _, _) in everything.items() if parent in more} - parents
            parents = parents | more
        for pid in parents - {me}:
            if everything[pid][1] == os.getsid(0):
                self._known[pid] = everything[pid][2]
        return list(self._known)

    def tell(self, number: int) -> None:
        """Send a signal to all that live and have not got it."""
        for pid in set(self.alive()) - self._told:
            try:
                os.kill(pid, number)
            except OSError:
                continue
            self._told.add(pid)

    def forget(self) -> None:
        """Let the next signal be for all of them again."""
        self._told.clear()


def end(command: subprocess.Popen[bytes], number: int, signals: Signals) -> None:
    """End the command and all below it."""
    below, began = Below(), time.monotonic()
    below.alive()
    while number == signal.SIGINT and below.alive() and time.monotonic() < began + FIRST:
        signals.wait(0.05)
        command.poll()
    while below.alive() and time.monotonic() < began + LAST:
        below.tell(signal.SIGTERM)
        signals.wait(0.05)
        command.poll()
    below.forget()
    below.tell(signal.SIGKILL)
    command.wait()


def main() -> None:
    """Run the command of the arguments, and end as it does."""
    signals = Signals()
    words = sys.argv[1:]
    sys.argv[0] = "run.sh"
    command = subprocess.Popen(words, env={**os.environ, MARK: str(os.getpid())})
    stopped = 0
    while not stopped and command.poll() is None:
        stopped = signals.wait(3600.0)
    if not stopped:
        code = command.wait()
        sys.exit(128 - code if code < 0 else code)
    end(command, stopped, signals)
    again = "run the same command again"
    if any(word == "--force" or word.startswith("--force=") for word in words):
        again += ", without --force"
    name = signal.Signals(stopped).name
    fail(f"stopped by {name}, and all jobs with it; to go on, {again}", 128 + stopped)


if __name__ == "__main__":
    main()
