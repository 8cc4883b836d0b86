"""Slurm's programs, called so that neither a signal nor a controller that is away blocks us."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Sequence

# States in which a task will not run any more, unless somebody requeues it.
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL",
         "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")  # fmt: skip
SHORTEST, LONGEST = 2.0, 30.0  # seconds from question to question, as a job grows old
ANSWER = 60.0  # seconds that a question may take
MOMENT = 0.02  # seconds in which what a program has written is read


class Call:
    """A program that runs, and what it has written when it has ended.

    Attributes:
        code: its exit status; None before its end.
        output: what it wrote on stdout.
        complaint: what it wrote on stderr as one line, without the program's name.
    """

    def __init__(self, words: Sequence[str], text: str = "") -> None:
        self.code: int | None = None
        self.output, self.complaint = "", ""
        self._text: bytes | None = os.fsencode(text)
        # In a session of its own, for a Ctrl-C at the terminal is ours to answer.
        self._process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def ended(self, seconds: float = MOMENT) -> bool:
        """Wait for its end, so long at most; returns whether it has come."""
        if self.code is not None:
            return True
        text, self._text = self._text, None  # which is given once
        try:
            output, errors = self._process.communicate(text, max(seconds, MOMENT))
        except subprocess.TimeoutExpired:
            return False
        lines = errors.decode(errors="replace").splitlines()
        self.complaint = "; ".join(x.split("error: ", 1)[-1].strip() for x in lines if x.strip())
        self.output, self.code = output.decode(errors="replace"), self._process.returncode
        return True

    def done(self, seconds: float) -> bool:
        """Wait for its end, and kill it if it does not come; returns whether it went well."""
        if not self.ended(seconds):
            self._process.kill()
            self.ended(1.0)
        return self.code == 0


@dataclasses.dataclass
class Listed:
    """What the queue says of a task."""

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED


class Queue:
    """The tasks of one job as Slurm lists them: asked for now and then, never waited for.

    Attributes:
        tasks: the last answer, by the task's number; those that are not in it are gone.
    """

    def __init__(self, number: int) -> None:
        self.tasks: dict[int, Listed] = {}
        self._words = ["squeue", "-h", "-r", "-t", "all", "-j", str(number), "-o", "%K|%T|%r"]
        self._call: Call | None = None
        self._began = time.monotonic()
        self._next = self._asked = self._began

    def look(self, soon: bool = False) -> bool:
        """Ask, or see whether an answer has come; returns whether one has.

        A controller that does not answer is asked again: only its own word that it knows no such
        job means that all tasks are gone.
        """
        now = time.monotonic()
        if self._call is None:
            if soon or now >= self._next:
                self._call, self._asked = Call(self._words), now
            return False
        if not self._call.ended() and (now - self._asked < ANSWER or self._call.done(MOMENT)):
            return False
        call, self._call = self._call, None
        self._next = now + min(LONGEST, max(SHORTEST, (now - self._began) / 20))
        gone = "Invalid job id" in call.complaint
        if call.code == 0 or gone:
            self.tasks = {} if gone else _parse(call.output)
        return call.code == 0 or gone


def _parse(listing: str) -> dict[int, Listed]:
    tasks = {}
    for line in listing.splitlines():
        number, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if number.isdigit():
            tasks[int(number)] = Listed(state, reason)
    return tasks
