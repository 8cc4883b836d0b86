#!/usr/bin/env python3
"""Run the stages of a recipe, and end all that they have started when a signal asks for it.

A shell that waits for a program heeds a signal only when that program has ended, or dies alone. So
ser.sh runs below this program, which is the process that the user has called: SIGTERM to it alone
is enough. If this program, ser.sh or a program of it is killed, as the system does where memory
ends, what is left of the run is ended too, for the same command may follow at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves it out
from job_command import fail, say
from job_signals import Keeper, Signals

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


class Run:
    """The processes that this one has started, and all that those have.

    They are told by `MARK` in their environment, for what was left by a parent that was killed has
    another, or by their parents. Those in this one's session are to be ended. Those in sessions of
    their own are jobs, which run.py and slurm.py end, and know how to.
    """

    def __init__(self) -> None:
        self._mark, self._session = f"{MARK}={os.getpid()}".encode(), os.getsid(0)
        self._known: dict[int, str] = {}  # when each began, for numbers are used again
        self._told: set[int] = set()

    def _marked(self, pids: set[int]) -> set[int]:
        found = set()
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.add(pid)
        return found

    def _look(self) -> tuple[list[int], list[int]]:
        """List those that live: in this session, one that is known among them, and jobs."""
        everything = processes()
        self._known = {
            pid: began for pid, began in self._known.items()
            if pid in everything and everything[pid][2] == began
        }  # fmt: skip
        run = self._known.keys() | self._marked(everything.keys() - self._known.keys())
        more = run
        while more:
            more = {p for p, (parent, _, _) in everything.items() if parent in more} - run
            run = run | more
        jobs = [pid for pid in run if pid in everything and everything[pid][1] != self._session]
        for pid in run.difference(jobs) & everything.keys():
            self._known[pid] = everything[pid][2]
        return list(self._known), jobs

    def alive(self) -> list[int]:
        """List those that live in this session."""
        return self._look()[0]

    def jobs(self) -> list[int]:
        """List those that live in other sessions."""
        return self._look()[1]

    def tell(self, number: int) -> None:
        """Send a signal to all of this session that live and have not got it."""
        for pid in set(self.alive()) - self._told:
            try:
                os.kill(pid, number)
            except OSError:
                continue
            self._told.add(pid)

    def forget(self) -> None:
        """Let the next signal be for all of them again."""
        self._told.clear()


def end(run: Run, number: int, pause: Callable[[float], object]) -> None:
    """End all processes of a run, as a signal asks for it; wait for jobs that others end."""
    began = time.monotonic()
    run.alive()
    while number == signal.SIGINT and run.alive() and time.monotonic() < began + FIRST:
        pause(0.05)
    while run.alive() and time.monotonic() < began + LAST:
        run.tell(signal.SIGTERM)
        pause(0.05)
    run.forget()
    run.tell(signal.SIGKILL)
    while run.jobs() and time.monotonic() < began + LAST:
        pause(0.05)


def main() -> None:
    """Run the command of the arguments, and end as it does."""
    signals, run = Signals(), Run()
    words = sys.argv[1:]
    sys.argv[0] = "run.sh"

    def end_without_me(commands: set[int]) -> None:
        if commands:  # which this process has not seen to end
            end(run, signal.SIGTERM, time.sleep)

    keeper = Keeper(end_without_me)
    command = subprocess.Popen(words, env={**os.environ, MARK: str(os.getpid())})
    keeper.tell(command.pid)
    stopped = 0
    while not stopped and command.poll() is None:
        stopped = signals.wait(3600.0)
    again = "to go on, run the same command again"
    if any(word == "--force" or word.startswith("--force=") for word in words):
        again += ", without --force"
    code = 128 + stopped if stopped else command.wait()
    code = 128 - code if code < 0 else code
    if code > 128:  # a signal to this program, to the command, or to one that it has waited for
        end(run, stopped, signals.wait)
    command.wait()
    keeper.tell(-command.pid)
    keeper.close()
    if stopped:
        name = signal.Signals(stopped).name
        fail(f"stopped by {name}, and all jobs with it; {again}", code)
    if code == 128 + signal.SIGKILL:
        say(f"a program of this run was killed, and all jobs were ended with it; {again}")
    sys.exit(code)


if __name__ == "__main__":
    main()
