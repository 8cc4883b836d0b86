#!/usr/bin/env python3
"""Run a job, or an array of jobs, on this machine: the train_cmd of cmd_backend=local.

The command line and the log are those of Kaldi's run.pl, so that a site's own run.pl, queue.pl or
slurm.pl can replace it. Each task runs through `bash -c`, in a process group of its own,
with its output in its own log. Needs nothing but Python 3.8 and the modules beside it.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves it out
from job_command import Job, cannot_run, fail, parse, report, say
from job_gpus import Place, gpus
from job_signals import Keeper, Signals, stop_groups
from run_progress import Progress

USAGE = """Usage: run.py [options] [JOB=1:N] [options] <log> <command> [args ...]
Run a command with its output in a log; with JOB=1:N, N commands, several at a time. JOB, or any
other name, is replaced by the task's number in the log's name and in every argument. An argument
without white space reaches bash as it is, so \\| and \\> work; one with white space is quoted.

  run.py JOB=1:4 exp/log/count.JOB.log wc -l data/split/JOB/text \\> exp/count.JOB

  --max-jobs-run N    tasks at a time (default: the processors, or with --gpu the GPUs)
  --gpu N             GPUs per task (default: 0); each task sees only its own, which no task of
                      another run.py gets; it waits where others have all
  --jobs-per-gpu N    tasks that share a GPU (default: 1)
  --num-threads N     threads per task, for the log (default: 1)
  --mem, --time, --config, --requeue   for clusters; ignored here

While tasks run, a terminal shows how many are done, and the last line of the log of the one that
runs longest; elsewhere, a line says so every five minutes.
An option may be written with - or _. Exits with 1 if any task failed, after all have run."""


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def places(job: Job) -> list[Place]:
    """List the places of the tasks that may run at the same time."""
    per_task = job.number("gpu", 0)
    if per_task == 0:
        return [Place()] * min(job.last, job.number("max_jobs_run", processors()))
    devices = gpus()
    if len(devices) < per_task:
        fail(f"--gpu {per_task} asks for more GPUs than are here ({len(devices)})", 1)
    groups = [tuple(devices[i : i + per_task]) for i in range(0, len(devices), per_task)]
    shared = job.number("jobs_per_gpu", 1)
    slots = range(1, shared + 1) if shared > 1 else [0]
    # Every GPU once before any is shared.
    return [Place(group, slot) for slot in slots for group in groups if len(group) == per_task]


@dataclasses.dataclass
class Task:
    """A running task; its process leads a process group of the same number."""

    number: int
    log: str
    head: int  # bytes of the log before the task's own
    place: Place
    started: float
    process: subprocess.Popen[bytes]


def _date() -> str:
    return time.strftime("%a %b %d %H:%M:%S %Z %Y")


def start(job: Job, number: int, place: Place, keeper: Keeper) -> Task:
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
            env={**os.environ, **place.variables},
            start_new_session=True,
            preexec_fn=lambda: keeper.tell(os.getpid()),
        )
    return Task(number, log, head, place, time.time(), process)


def finish(job: Job, task: Task, keeper: Keeper) -> int:
    """Write the end of a task's log; returns its exit code, as bash gives it."""
    code = task.process.wait()
    keeper.tell(-task.process.pid)
    task.place.release()
    code = 128 - code if code < 0 else code
    seconds = int(time.time() - task.started)
    threads = job.number("num_threads", 1)
    end = f"# Ended (code {code}) at {_date()}, elapsed time {seconds} seconds"
    try:
        with open(task.log, "a", encoding="utf-8") as output:
            output.write(f"# Accounting: time={seconds} threads={threads}\n{end}\n")
    except OSError as error:  # such as a full disk, which has cut what the task has said, too
        say(f"{task.log} cannot be written: {error.strerror}; mend that, and run it again")
        code = code or 1
    return code


def _take(free: list[Place], running: list[Task]) -> Place | None:
    """Take the place that the fewest tasks share, of those that no other run.py has."""
    busy = [task.place.devices for task in running]
    for place in sorted(free, key=lambda place: busy.count(place.devices)):
        if place.take():
            free.remove(place)
            return place
    return None


def _devices(free: list[Place]) -> str:
    return ", ".join(dict.fromkeys(device for place in free for device in place.devices))


def run(job: Job, free: list[Place], signals: Signals) -> tuple[list[int], int]:
    """Run all tasks; returns the numbers of failed ones, and the signal that ended it, or 0."""
    keeper = Keeper(lambda groups: stop_groups(groups, lambda: time.sleep(0.05)))
    waiting = list(range(job.last, job.first - 1, -1))
    running: list[Task] = []
    failed: list[int] = []
    stopped, progress = 0, Progress(job.last - job.first + 1, say)
    most, waits = job.number("max_jobs_run", len(free)), False
    try:
        while (waiting or running) and not stopped:
            while waiting and len(running) < most and (place := _take(free, running)):
                running.append(start(job, waiting.pop(), place, keeper))
            if not running and not waits:
                waits = True
                say(f"waits for a GPU: another run.py has {_devices(free)}")
            oldest = (running[0].number, running[0].log, running[0].head) if running else (0, "", 0)
            progress.show(len(waiting), len(running), len(failed), oldest)
            stopped = signals.wait(1.0)
            for task in [task for task in running if task.process.poll() is not None]:
                running.remove(task)
                free.append(task.place)
                if finish(job, task, keeper) != 0:
                    failed.append(task.number)
    finally:
        progress.clear()
        stop_groups(
            [task.process.pid for task in running],
            lambda: [signals.wait(0.05), *(task.process.poll() for task in running)],
        )
        for task in running:
            finish(job, task, keeper)
        keeper.close()
    return failed, stopped


def main() -> None:
    """Parse, run, report."""
    signals = Signals()
    job = parse(sys.argv[1:], USAGE)
    free = places(job)
    try:
        failed, stopped = run(job, free, signals)
    except OSError as error:
        cannot_run(job, error)
    if stopped:
        log = job.expand(job.log, "*")
        name = signal.Signals(stopped).name
        fail(f"stopped by {name}, and with it the tasks; log is in {log}", 128 + stopped)
    if failed:
        report(job, failed)
        sys.exit(1)


if __name__ == "__main__":
    main()
