#!/usr/bin/env python3
"""Run a job, or an array of jobs, on a Slurm cluster: the train_cmd of cmd_backend=slurm.

The command line and the logs are those of run.py and of Kaldi's slurm.pl. All tasks are one array
job of Slurm. Each runs through run.py on its node, and writes a file with its exit status, which
this program waits for; so a task that Slurm has ended is told from one that has failed. The
working directory must be on a file system that the nodes share.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves it out
from job_command import Job, cannot_run, fail, parse, report, say, tail
from job_signals import Keeper, Signals
from run_progress import Progress
from slurm_conf import read_conf
from slurm_queue import Call, Listed, Queue

USAGE = """Usage: slurm.py [options] [JOB=1:N] [options] <log> <command> [args ...]
Run a command on a Slurm cluster with its output in a log; with JOB=1:N, N commands, as one array
job. What JOB stands for, how words reach bash and what a log has: see run.py --help.

  slurm.py --mem 4G --time 4:00:00 JOB=1:4 exp/log/a.JOB.log wc -l data/JOB/text \\> exp/a.JOB

  --max-jobs-run N    tasks at a time (default: as many as Slurm starts)
  --gpu N             GPUs per task (default: 0)
  --num-threads N     threads per task (default: 1)
  --mem SIZE          memory per thread, such as 4G
  --time TIME         the time limit of a task, such as 4:00:00
  --config FILE       what sbatch gets for these, and for options of your own
                      (default: conf/slurm.conf, if it is there)
  --requeue N         how often a task is put into the queue again that met its time limit or was
                      preempted; it must go on from where it was (default: 10)

An option may be written with - or _. Exits with 1 if any task failed, after all have run. A signal
cancels the job."""

# Slurm ends these, and not the command; a task that goes on from where it was is run again.
RESUMABLE = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
REQUEUES = 10
# Reasons to wait that pass by themselves.
USUAL = ("", "None", "Resources", "Priority", "BeginTime", "Cleaning", "JobArrayTaskLimit")
PATIENCE = {"COMPLETED": 15.0}  # seconds in which an exit status must appear; of other states, 3
CANCEL = 4.0  # seconds for Slurm to end the tasks when this program is stopped
LASTING = 10.0  # seconds until a reason to wait is said
TOLD = 10  # tasks whose state is said
SUBMIT = 300.0  # seconds to find a controller that can be reached
SHORTER = "; give run.sh a smaller --nj: less than MaxArraySize of `scontrol show config`"

TASK = """\
# Slurm sends SIGTERM to all processes of a task that it ends: the runner ends the command, and what
# becomes of the task is what the queue says. Nor does a runner that was killed say anything.
ended=
trap ended=true TERM
done={directory}/done.${{SLURM_ARRAY_TASK_ID}}
[ ! -e "${{done}}" ] || exit 0 # requeued, though it had ended
{python} {run} --num-threads {threads} {range} {job}
code=$?
[ "${{code}}" -eq 0 ] || sleep 0.5
if [ "${{code}}" -eq 0 ] || {{ [ "${{code}}" -lt 128 ] && [ -z "${{ended}}" ]; }}; then
    echo "${{code}}" > "${{done}}.new.${{SLURM_RESTART_COUNT:-0}}"
    mv "${{done}}.new.${{SLURM_RESTART_COUNT:-0}}" "${{done}}"
fi
exit "${{code}}"
"""


class Array:
    """An array job of Slurm, and what is known of its tasks.

    Attributes:
        left: numbers of the tasks without an end.
        failed: why a task failed: a state of Slurm's, or "" if its log tells.
    """

    def __init__(self, job: Job, directory: Path) -> None:
        self.job, self.directory = job, directory
        self.left = dict.fromkeys(range(job.first, job.last + 1))
        self.failed: dict[int, str] = {}
        self.number = 0
        self._missing: dict[int, float] = {}  # since when a task has been without state and status
        self._requeued: dict[int, int] = {}
        self._reasons: dict[str, float] = {}  # why tasks wait, since when
        self._said: set[str] = set()

    def submit(self, sbatch: list[str], signals: Signals) -> int:
        """Give the job to Slurm; returns a signal that came meanwhile, or 0."""
        script = f"#!/bin/sh\nexec bash {shlex.quote(str(self.directory / 'task'))}\n"
        write_task(self.job, self.directory / "task")
        words = [*sbatch, *self._options()]
        until, stopped, call = time.monotonic() + SUBMIT, 0, Call(words, script)
        while not stopped:
            if not call.ended():
                stopped = signals.wait(0)
            # One that was not reached has taken nothing.
            elif "onnect failure" in call.complaint and time.monotonic() < until:
                self._say_once("the controller of Slurm cannot be reached; trying again")
                stopped = signals.wait(2.0)
                call = call if stopped else Call(words, script)
            else:
                break
        number = call.done(CANCEL) and re.search("^([0-9]+)(;.*)?$", call.output, re.MULTILINE)
        if number:
            self.number = int(number[1])
        elif not stopped:
            fail(f"Slurm refused the job: {call.complaint or call.output.strip()}"
                 + SHORTER * ("job array" in call.complaint), 1)  # fmt: skip
        return stopped

    def _options(self) -> list[str]:
        limit = self.job.options.get("max_jobs_run")
        name = Path(self.job.expand(self.job.log, "")).name.partition(".")[0] or "job"
        return [
            "--parsable", "--requeue", "--open-mode=append", f"--job-name={name}",
            f"--array={self.job.first}-{self.job.last}" + (f"%{limit}" if limit else ""),
            f"--output={self._output()}",
        ]  # fmt: skip

    def _output(self) -> str:
        # Slurm replaces what begins with %, and a backslash cannot be said.
        path = str(self.directory)
        return "/dev/null" if "\\" in path else path.replace("%", "%%") + "/slurm.%a"

    def read_ends(self) -> None:
        """Take the exit statuses that have been written."""
        for path in self.directory.iterdir():
            number = path.name[5:] if path.name.startswith("done.") else ""
            if number.isdigit() and int(number) in self.left:
                if path.read_text().strip() != "0":
                    self.failed[int(number)] = ""
                del self.left[int(number)]

    def judge(self, tasks: dict[int, Listed]) -> None:
        """Find tasks that Slurm has ended, by a listing that is newer than the exit statuses."""
        now = time.monotonic()
        for number in list(self.left):
            task = tasks.get(number, Listed("gone"))
            if not task.ended and task.state != "gone":
                self._missing.pop(number, None)
                since = now if task.reason in USUAL else self._reasons.setdefault(task.reason, now)
                if task.state == "PENDING" and now - since > LASTING:
                    self._say_once(f"job {self.number} waits: {task.reason}")
            elif task.state in RESUMABLE and self._requeue(number, task):
                self._missing.pop(number, None)
            elif now - self._missing.setdefault(number, now) > PATIENCE.get(task.state, 3.0):
                self.failed[number] = task.state
                del self.left[number]
        if self._missing:
            with contextlib.suppress(OSError):  # A change of ours renews what NFS has cached.
                (self.directory / "look").touch()
                (self.directory / "look").unlink()

    def _requeue(self, number: int, task: Listed) -> bool:
        times = self._requeued.get(number, 0)
        if times >= self.job.number("requeue", REQUEUES):
            return False
        if not Call(["scontrol", "requeue", f"{self.number}_{number}"]).done(2.0):
            return False  # Perhaps it is still being ended: the next listing tries again.
        self._requeued[number] = times + 1
        say(f"task {number} ended by {task.state}; it goes on from the queue")
        task.state = "PENDING"
        return True

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            say(text)
            self._said.add(text)


def write_task(job: Job, path: Path) -> None:
    """Write what each task runs, as a script for bash."""
    utils = Path(__file__).resolve().parent
    text = TASK.format(
        directory=shlex.quote(str(path.parent)),
        python=shlex.quote(sys.executable),
        run=shlex.quote(str(utils / "run.py")),
        threads=job.number("num_threads", 1),
        range=f"{job.name}=${{SLURM_ARRAY_TASK_ID}}" if job.name else "",
        job=" ".join(map(shlex.quote, [job.log, *job.command])),
    )
    path.write_bytes(os.fsencode(text))


def make_directories(job: Job) -> Path:
    """Make the directories of all logs, and one beside them for the exit statuses.

    A job of Slurm whose output has no directory fails without a word.
    """
    varies = job.name and job.name in str(Path(job.log).parent)
    for number in range(job.first, job.last + 1 if varies else job.first + 1):
        Path(job.expand(job.log, number)).parent.mkdir(parents=True, exist_ok=True)
    place = Path(job.expand(job.log, job.first)).resolve().parent
    return Path(tempfile.mkdtemp(prefix=".slurm-", dir=place))


def show(array: Array, tasks: dict[int, Listed], progress: Progress) -> None:
    """Show how many tasks wait and run, and the log of the first that runs."""
    ours = {n: tasks.get(n, Listed("PENDING")) for n in array.left}
    running = [n for n, task in ours.items() if task.state in ("RUNNING", "COMPLETING")]
    oldest = (array.job.first, "", 0)
    if running:
        log = array.job.expand(array.job.log, running[0])
        oldest = (running[0], log, _head(log))
    progress.show(len(ours) - len(running), len(running), len(array.failed), oldest)


def _head(log: str) -> int:
    with contextlib.suppress(OSError), open(log, "rb") as handle:
        return max(0, handle.read(65536).find(b"\n#\n")) + 3
    return 0


def watch(array: Array, queue: Queue, signals: Signals) -> int:
    """Wait for all tasks; returns the signal that ended it, or 0."""
    began, stopped = time.monotonic(), 0
    progress = Progress(array.job.last - array.job.first + 1, say)
    try:
        while array.left and not stopped:
            answered = queue.look()
            array.read_ends()
            if answered:
                array.judge(queue.tasks)
            show(array, queue.tasks, progress)
            stopped = signals.wait(min(1.0, max(0.1, (time.monotonic() - began) / 20)))
    finally:
        progress.clear()
    return stopped


def settle(queue: Queue, numbers: Iterable[int], signals: Signals, seconds: float) -> bool:
    """Wait until no task of these is in the queue; returns whether that came true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if queue.look(soon=True) and all(
            queue.tasks.get(number, Listed("CANCELLED")).ended for number in numbers
        ):
            return True
        signals.wait(0.05)
    return False


def cancel(numbers: Iterable[int], seconds: float) -> bool:
    """Have Slurm end jobs; returns whether it agreed in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if Call(["scancel", *map(str, numbers)]).done(until - time.monotonic()):
            return True
        time.sleep(0.2)
    return False


def run(array: Array, sbatch: list[str], signals: Signals) -> int:
    """Run all tasks; returns the signal that ended it, or 0."""

    def end(numbers: set[int]) -> None:
        if numbers:
            cancel(numbers, 600.0)
            shutil.rmtree(array.directory, ignore_errors=True)

    keeper = Keeper(end)
    stopped = array.submit(sbatch, signals)
    if not array.number:
        keeper.close()
        return stopped
    keeper.tell(array.number)
    queue = Queue(array.number)
    try:
        stopped = stopped or watch(array, queue, signals)
    finally:
        # An ended task may have a living copy: of a node that was given up, and came back.
        numbers = range(array.job.first, array.job.last + 1)
        until = time.monotonic() + CANCEL
        if array.left or not settle(queue, numbers, signals, 3.0):
            if not cancel([array.number], CANCEL):
                say(f"Slurm does not answer; when it does, end the job: scancel {array.number}")
            settle(queue, numbers, signals, until - time.monotonic())
        keeper.tell(-array.number)
        keeper.close()
    return stopped


def tell(array: Array) -> None:
    """Say what failed, and why."""
    report(array.job, list(array.failed))
    lost = {number: state for number, state in sorted(array.failed.items()) if state}
    for number, state in list(lost.items())[:TOLD]:
        say(f"task {number} wrote no exit status; Slurm says that it is {state}")
    if lost:
        tail(str(array.directory / f"slurm.{min(lost)}"))


def main() -> None:
    """Parse, submit, wait, report."""
    signals = Signals()
    job = parse(sys.argv[1:], USAGE, lambda _: True)
    if job.number("jobs_per_gpu", 1) > 1:
        way = "`option gpu=* --gres=shard:$0` in conf/slurm.conf, where the site has set that up"
        fail(f"--jobs-per-gpu is for run.py; Slurm shares a GPU by {way}", 2)
    sbatch = read_conf(job).sbatch(job)
    if shutil.which(sbatch[0]) is None:
        fail(f"there is no {sbatch[0]} here; submit from a machine of the cluster, or set"
             " cmd_backend=local in cmd.sh", 1)  # fmt: skip
    try:
        directory = make_directories(job)
        array = Array(job, directory)
        try:
            stopped = run(array, sbatch, signals)
            if array.failed and not stopped:
                tell(array)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    except OSError as error:
        cannot_run(job, error)
    if stopped:
        log = job.expand(job.log, "*")
        name = signal.Signals(stopped).name
        what = f", and with it job {array.number}" if array.number else " before it had a job"
        fail(f"stopped by {name}{what}; log is in {log}", 128 + stopped)
    sys.exit(1 if array.failed else 0)


if __name__ == "__main__":
    main()
