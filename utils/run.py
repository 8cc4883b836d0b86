#!/usr/bin/env python3
"""Run a job, or an array of jobs, on this machine: the train_cmd of cmd_backend=local.

The command line and the log are those of Kaldi's run.pl, so that a site's own run.pl, queue.pl or
slurm.pl can replace it. Each task runs through `bash -c`, in a process group of its own,
with its output in its own log. Needs nothing but Python 3.8 and run_progress.py beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves it out
from run_progress import Progress, cut

USAGE = """Usage: run.py [options] [JOB=1:N] [options] <log> <command> [args ...]
Run a command with its output in a log; with JOB=1:N, N commands, several at a time. JOB, or any
other name, is replaced by the task's number in the log's name and in every argument. An argument
without white space reaches bash as it is, so \\| and \\> work; one with white space is quoted.

  run.py JOB=1:4 exp/log/count.JOB.log wc -l data/split/JOB/text \\> exp/count.JOB

  --max-jobs-run N    tasks at a time (default: the processors, or with --gpu the GPUs)
  --gpu N             GPUs per task (default: 0); each task sees only its own
  --jobs-per-gpu N    tasks that share a GPU (default: 1)
  --num-threads N     threads per task, for the log (default: 1)
  --mem, --time, --config   for clusters; ignored here

While tasks run, a terminal shows how many are done, and the last line of the log of the one that
runs longest; elsewhere, a line says so every five minutes.
An option may be written with - or _. Exits with 1 if any task failed, after all have run."""

NUMBERS = {"max_jobs_run": 1, "gpu": 0, "jobs_per_gpu": 1, "num_threads": 1}  # smallest values
IGNORED = ("mem", "time", "config")
# A log may hold "=" too, but then as a path or with an ending.
RANGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=([^/.]*|[^/]*:[^/]*)")
GRACE = 5.0  # seconds from SIGTERM to SIGKILL
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


def parse(arguments: Sequence[str]) -> Job:
    """Parse the command line; a usage error ends the program with exit code 2."""
    rest = list(arguments)
    job = Job("", [])
    while rest:
        word = rest[0]
        if word in ("--help", "-h"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` has read enough
            print(USAGE)
            sys.exit(0)
        if word.startswith("-"):
            _take_option(rest, job)
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


def _take_option(rest: list[str], job: Job) -> None:
    word, equals, value = rest.pop(0).partition("=")
    name = word[2:].replace("-", "_") if word.startswith("--") else ""
    if name not in NUMBERS and name not in IGNORED:
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


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def places(job: Job) -> list[dict[str, str]]:
    """List the variables to add to the environment, for each task that may run at the same time."""
    per_task = job.number("gpu", 0)
    if per_task == 0:
        return [{}] * min(job.last, job.number("max_jobs_run", processors()))
    devices = gpus()
    if len(devices) < per_task:
        fail(f"--gpu {per_task} asks for more GPUs than are here ({len(devices)})", 1)
    ends = range(per_task, len(devices) + 1, per_task)
    groups = [{"CUDA_VISIBLE_DEVICES": ",".join(devices[end - per_task : end])} for end in ends]
    # Every GPU once before any is shared.
    shared = groups * job.number("jobs_per_gpu", 1)
    return shared[: job.number("max_jobs_run", len(shared))]


@dataclasses.dataclass
class Task:
    """A running task; its process leads a process group of the same number."""

    number: int
    log: str
    head: int  # bytes of the log before the task's own
    place: dict[str, str]
    started: float
    process: subprocess.Popen[bytes]


def _date() -> str:
    return time.strftime("%a %b %d %H:%M:%S %Z %Y")


def start(job: Job, number: int, place: dict[str, str], keeper: Keeper) -> Task:
    """Write the head of a task's log and start it."""
    log, command = job.expand(job.log, number), job.shell(number)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    comment = command.replace("\n", "\n# ")
    with open(log, "wb") as output:
        head = output.write(os.fsencode(f"# {comment}\n# Started at {_date()}\n#\n"))
    with open(log, "ab") as output:
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **place},
            start_new_session=True,
            preexec_fn=lambda: keeper.tell(os.getpid()),
        )
    return Task(number, log, head, place, time.time(), process)


def finish(job: Job, task: Task) -> int:
    """Write the end of a task's log; returns its exit code, as bash gives it."""
    code = task.process.wait()
    code = 128 - code if code < 0 else code
    seconds = int(time.time() - task.started)
    threads = job.number("num_threads", 1)
    with open(task.log, "a", encoding="utf-8") as output:
        output.write(f"# Accounting: time={seconds} threads={threads}\n")
        output.write(f"# Ended (code {code}) at {_date()}, elapsed time {seconds} seconds\n")
    return code


class Keeper:
    """A process that ends the tasks if this one is killed by a signal that it cannot catch.

    It reads the numbers of process groups, as they come and go, from a pipe that nobody but this
    program holds open; so the end of the pipe is the end of this program.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._keep()

    def tell(self, number: int) -> None:
        """Send a task's process group, or the negative of one whose task has ended."""
        with contextlib.suppress(BrokenPipeError):  # If somebody killed it, go on without.
            os.write(self._write, b"%d\n" % number)

    def close(self) -> None:
        """End the process, when no task is left."""
        os.close(self._write)
        os.waitpid(self._pid, 0)

    def _keep(self) -> NoReturn:
        os.setsid()
        for number in Signals.STOP:
            signal.signal(number, signal.SIG_IGN)
        os.close(self._write)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        groups: set[int] = set()
        try:
            with os.fdopen(self._read) as lines:
                for group in map(int, lines):
                    groups.add(group) if group > 0 else groups.discard(-group)
            stop_groups(groups, lambda: time.sleep(0.05))
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


def run(job: Job, free: list[dict[str, str]], signals: Signals) -> tuple[list[int], int]:
    """Run all tasks; returns the numbers of failed ones, and the signal that ended it, or 0."""
    keeper = Keeper()
    waiting = list(range(job.last, job.first - 1, -1))
    running: list[Task] = []
    failed: list[int] = []
    stopped, progress = 0, Progress(job.last - job.first + 1, say)
    try:
        while (waiting or running) and not stopped:
            while waiting and free:
                place = min(free, key=[task.place for task in running].count)
                free.remove(place)
                running.append(start(job, waiting.pop(), place, keeper))
            oldest = (running[0].number, running[0].log, running[0].head)
            progress.show(len(waiting), len(running), len(failed), oldest)
            stopped = signals.wait(1.0)
            for task in [task for task in running if task.process.poll() is not None]:
                running.remove(task)
                free.append(task.place)
                keeper.tell(-task.process.pid)
                if finish(job, task) != 0:
                    failed.append(task.number)
    finally:
        progress.clear()
        stop_groups(
            [task.process.pid for task in running],
            lambda: [signals.wait(0.05), *(task.process.poll() for task in running)],
        )
        for task in running:
            finish(job, task)
        keeper.close()
    return failed, stopped


def report(job: Job, failed: list[int]) -> None:
    """Say what failed, and show the end of the first failed task's log."""
    count = f"{len(failed)} / {job.last - job.first + 1}" if job.name else "job"
    say(f"{count} failed, log is in {job.expand(job.log, '*')}")
    log = job.expand(job.log, min(failed))
    with open(log, "rb") as handle:
        handle.seek(max(0, Path(log).stat().st_size - 65536))
        lines = handle.read().decode(errors="replace").split("\n")[-TAIL - 1 :]
    # Only the last state of a progress bar, which writes over its own line.
    shown = "\n".join(cut(line.rpartition("\r")[2], WIDEST) for line in lines)
    sys.stderr.write(shown)


def main() -> None:
    """Parse, run, report."""
    signals = Signals()
    job = parse(sys.argv[1:])
    free = places(job)
    try:
        failed, stopped = run(job, free, signals)
    except OSError as error:
        fail(f"cannot run the job: {error.filename or 'log'}: {error.strerror}", 1)
    if stopped:
        log = job.expand(job.log, "*")
        name = signal.Signals(stopped).name
        fail(f"stopped by {name}, and with it the tasks; log is in {log}", 128 + stopped)
    if failed:
        report(job, failed)
        sys.exit(1)


if __name__ == "__main__":
    main()
