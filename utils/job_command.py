"""The command line of run.py and slurm.py, which is Kaldi's run.pl's, and what both say."""

from __future__ import annotations

import dataclasses
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from run_progress import cut

# Options that are numbers, with the smallest values.
NUMBERS = {"max_jobs_run": 1, "gpu": 0, "jobs_per_gpu": 1, "num_threads": 1, "requeue": 0}
TEXTS = ("mem", "time", "config")
# A log may hold "=" too, but then as a path or with an ending.
RANGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=([^/.]*|[^/]*:[^/]*)")
TAIL, WIDEST = 20, 500  # lines of a failed task's log that are shown, and columns of each
LARGEST = 1_000_000  # of all numbers on the command line; no scheduler has longer arrays


def say(text: str) -> None:
    """Print one message on stderr, under this program's name."""
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)


def fail(text: str, code: int) -> NoReturn:
    """End with a message."""
    say(text)
    sys.exit(code)


@dataclasses.dataclass
class Job:
    """A parsed command line; `name` is "" if it is not an array."""

    log: str
    command: list[str]
    name: str = ""
    first: int = 1
    last: int = 1
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    def number(self, option: str, default: int) -> int:
        """Get the value of an option that is a whole number."""
        return int(self.options.get(option, default))

    def expand(self, text: str, value: object) -> str:
        """Replace the array's name in `text`."""
        return text.replace(self.name, str(value)) if self.name else text

    def shell(self, task: int) -> str:
        """Build the command of one task as bash reads it."""
        return " ".join(quote(self.expand(word, task)) for word in self.command)


def quote(word: str) -> str:
    """Quote a word with white space, or an empty one; any other stays as it is."""
    return shlex.quote(word) if not word or re.search(r"[ \t\r\n\f\v]", word) else word


def parse(
    arguments: Sequence[str], usage: str, known: Callable[[str], bool] = lambda _: False
) -> Job:
    """Parse the command line; a usage error ends the program with exit code 2.

    Args:
        arguments: of the program.
        usage: what --help prints.
        known: whether an option that not every program has is taken, by its name with "_".
    """
    rest = list(arguments)
    job = Job("", [])
    while rest:
        word = rest[0]
        if word in ("--help", "-h"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` has read enough
            print(usage)
            sys.exit(0)
        if word.startswith("-"):
            _take_option(rest, job, known)
        elif RANGE.fullmatch(word):
            if job.name:
                fail(f"a second range, {word}, after that of {job.name}", 2)
            job.name, job.first, job.last = _range(rest.pop(0))
        else:
            break
    if len(rest) < 2:
        fail("needs a log and a command; try --help", 2)
    job.log, job.command = rest[0], rest[1:]
    if job.name and job.name not in job.log:
        fail(f"the tasks need a log each: put {job.name} into the log's name, {job.log}", 2)
    return job


def _take_option(rest: list[str], job: Job, known: Callable[[str], bool]) -> None:
    word, equals, value = rest.pop(0).partition("=")
    name = word[2:].replace("-", "_") if word.startswith("--") else ""
    if not name or not (name in NUMBERS or name in TEXTS or known(name)):
        fail(f"unknown option {word}; try --help", 2)
    if not equals and not rest:
        fail(f"option {word} needs a value", 2)
    value = value if equals else rest.pop(0)
    if name in NUMBERS and not NUMBERS[name] <= _whole(value) <= LARGEST:
        fail(f"{word} is '{value}'; it takes a whole number, {NUMBERS[name]} to {LARGEST}", 2)
    job.options[name] = value


def _range(word: str) -> tuple[str, int, int]:
    name, _, value = word.partition("=")
    begin, colon, end = value.partition(":")
    first, last = _whole(begin), _whole(end if colon else begin)
    if not 1 <= first <= last <= LARGEST:
        fail(f"{word} is not a range; expected {name}=A:B with 1 <= A <= B <= {LARGEST}", 2)
    return name, first, last


def _whole(text: str) -> int:
    """Read a whole number; -1 if it is none, or has too many digits for int()."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else -1


def report(job: Job, failed: Sequence[int]) -> None:
    """Say what failed, and show the end of the first failed task's log."""
    count = f"{len(failed)} / {job.last - job.first + 1}" if job.name else "job"
    say(f"{count} failed, log is in {job.expand(job.log, '*')}")
    tail(job.expand(job.log, min(failed)))


def cannot_run(job: Job, error: OSError) -> NoReturn:
    """End because of the file system; a write that has failed names no file, but it is a log's."""
    name = error.filename or job.expand(job.log, "*")
    fail(f"cannot run the job: {name}: {error.strerror}; mend that, and run it again", 1)


def tail(path: str) -> None:
    """Show the end of a log on stderr, if there is one."""
    try:
        with open(path, "rb") as handle:
            handle.seek(max(0, Path(path).stat().st_size - 65536))
            lines = handle.read().decode(errors="replace").split("\n")[-TAIL - 1 :]
    except FileNotFoundError:  # of a task that never began
        return
    # Only the last state of a progress bar, which writes over its own line.
    sys.stderr.write("\n".join(cut(line.rpartition("\r")[2], WIDEST) for line in lines))
