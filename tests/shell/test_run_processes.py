"""utils/run.py: what runs at once, on which GPUs, and how it ends, with real processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.shell.jobs import RUN, output, run
from tests.signals import heed_signals
from tests.support.processes import alive, eventually

# Concurrency. Tasks write down when they began and ended, on one clock.

CLOCKED = """\
import os, pathlib, sys, time
task, together = sys.argv[1:]
began = time.monotonic_ns()
pathlib.Path("began." + task).touch()
# The first tasks wait for one another, so that they are seen to run at the same time.
while int(task) <= int(together) and len(list(pathlib.Path().glob("began.*"))) < int(together):
    time.sleep(0.01)
time.sleep(0.03)
print(began, time.monotonic_ns(), os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


def clocked(
    cwd: Path,
    tasks: int,
    *options: str,
    together: int,
    env: dict[str, str] | None = None,
    cpus: Sequence[int] | None = None,
) -> list[tuple[int, int, str]]:
    """Run tasks of which at least `together` must overlap; when each ran, and with which GPUs.

    The locks of the GPUs are in `cwd`, apart from those of other tests.
    """
    (cwd / "clocked.py").write_text(CLOCKED)
    result = run(
        cwd,
        *options,
        f"JOB=1:{tasks}",
        "a.JOB.log",
        sys.executable,
        "clocked.py",
        "JOB",
        str(together),
        env={"TMPDIR": str(cwd), **(env or {})},
        cpus=cpus,
    )
    assert (result.returncode, result.stderr) == (0, "")
    rows = [output(cwd / f"a.{task}.log").split() for task in range(1, tasks + 1)]
    return [(int(began), int(ended), devices) for began, ended, devices in rows]


def most_at_once(rows: Sequence[tuple[int, int, str]]) -> int:
    return max(sum(began <= at < ended for began, ended, _ in rows) for at, _, _ in rows)


def test_max_jobs_run_limits_what_runs_at_once(tmp_path: Path) -> None:
    assert most_at_once(clocked(tmp_path, 7, "--max-jobs-run", "3", together=3)) == 3


def test_the_processors_limit_what_runs_at_once(tmp_path: Path) -> None:
    processors = sorted(os.sched_getaffinity(0))
    assert most_at_once(clocked(tmp_path, 3, together=1, cpus=processors[:1])) == 1
    some = processors[:2]
    for began in tmp_path.glob("began.*"):
        began.unlink()
    assert most_at_once(clocked(tmp_path, 5, together=len(some), cpus=some)) == len(some)


def by_device(rows: Sequence[tuple[int, int, str]]) -> dict[str, int]:
    """For each value of CUDA_VISIBLE_DEVICES, how many tasks had it at once."""
    devices = sorted({row[2] for row in rows})
    return {device: most_at_once([row for row in rows if row[2] == device]) for device in devices}


def test_each_task_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    rows = clocked(tmp_path, 6, "--gpu", "1", together=2, env={"CUDA_VISIBLE_DEVICES": "4,7"})
    assert by_device(rows) == {"4": 1, "7": 1}


def test_jobs_per_gpu_shares_gpus_evenly(tmp_path: Path) -> None:
    options = ["--gpu", "1", "--jobs-per-gpu", "2"]
    rows = clocked(tmp_path, 6, *options, together=4, env={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert by_device(rows) == {"0": 2, "1": 2}
    assert most_at_once(rows) == 4


def test_max_jobs_run_holds_with_gpus_too(tmp_path: Path) -> None:
    options = ["--gpu", "1", "--max-jobs-run", "2"]
    rows = clocked(tmp_path, 5, *options, together=2, env={"CUDA_VISIBLE_DEVICES": "0,1,2"})
    assert most_at_once(rows) == 2


def test_a_task_may_have_several_gpus(tmp_path: Path) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c,GPU-d,GPU-e"}
    rows = clocked(tmp_path, 4, "--gpu", "2", together=2, env=env)
    assert by_device(rows) == {"GPU-a,GPU-b": 1, "GPU-c,GPU-d": 1}


def with_nvidia_smi(directory: Path, text: str) -> dict[str, str]:
    """An environment in which nvidia-smi is a program that prints `text`."""
    program = directory / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] || exit 1\ncat <<'EOF'\n{text}EOF\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("listing", "devices"),
    [
        ("GPU 0: NVIDIA H100 (UUID: GPU-1a)\nGPU 1: NVIDIA H100 (UUID: GPU-2b)\n", ["0", "1"]),
        (
            "GPU 0: NVIDIA H100 (UUID: GPU-1a)\n"
            "  MIG 1g.10gb     Device  0: (UUID: MIG-3c)\n"
            "  MIG 1g.10gb     Device  1: (UUID: MIG-4d)\n",
            ["MIG-3c", "MIG-4d"],
        ),
    ],
)
def test_gpus_are_those_that_the_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, devices: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    env = with_nvidia_smi(tmp_path, listing)
    rows = clocked(tmp_path, 4, "--gpu", "1", together=2, env=env)
    assert by_device(rows) == dict.fromkeys(devices, 1)


@pytest.mark.parametrize("visible", ["", "-1", "-1,0"])
def test_asking_for_a_gpu_where_none_is_is_an_error(tmp_path: Path, visible: str) -> None:
    result = run(tmp_path, "--gpu", "1", "a.log", "true", env={"CUDA_VISIBLE_DEVICES": visible})
    assert result.returncode == 1
    assert re.fullmatch(r"run\.py: --gpu 1 asks for more GPUs[^\n]*\n", result.stderr)
    assert not (tmp_path / "a.log").exists()


def test_without_gpu_the_devices_are_left_alone(tmp_path: Path) -> None:
    rows = clocked(tmp_path, 1, "--gpu", "0", together=1, env={"CUDA_VISIBLE_DEVICES": "5,6"})
    assert rows[0][2] == "5,6"


# Signals

# Tasks that write their processes' numbers down and sleep: bash alone, and with a child.
ALONE = "echo $$ > new.JOB; mv new.JOB pids.JOB; exec sleep 300"
WITH_CHILD = "sleep 300 & echo $$ $! > new.JOB; mv new.JOB pids.JOB; wait"
STUBBORN = f"trap '' TERM; {ALONE}"


@contextlib.contextmanager
def sleepers(
    cwd: Path, sleeper: str, *command: str, tasks: int = 2
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start tasks that sleep; gives the runner and all processes of the tasks."""
    job = [f"JOB=1:{tasks}", "--max-jobs-run", str(tasks), "a.JOB.log", "bash", "-c", sleeper]
    process = subprocess.Popen(
        [*command, sys.executable, RUN, *job],
        cwd=cwd,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    files = [cwd / f"pids.{task}" for task in range(1, tasks + 1)]
    try:
        eventually("tasks start", lambda: all(file.exists() for file in files))
        yield process, [int(pid) for file in files for pid in file.read_text().split()]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "sleeper"),
    [
        (signal.SIGTERM, 143, WITH_CHILD),
        (signal.SIGINT, 130, ALONE),
        (signal.SIGHUP, 129, ALONE),
    ],
    ids=["SIGTERM", "SIGINT", "SIGHUP"],
)
def test_a_signal_ends_all_processes(
    tmp_path: Path, number: signal.Signals, code: int, sleeper: str
) -> None:
    with sleepers(tmp_path, sleeper) as (process, pids):
        process.send_signal(number)
        _, message = process.communicate(timeout=30)
        assert process.returncode == code
        assert not any(map(alive, pids))
    assert message.startswith(f"run.py: stopped by {number.name}")
    assert message.count("\n") == 1
    assert "# Ended (code 143)" in (tmp_path / "a.1.log").read_text()


def test_no_further_task_starts_after_a_signal(tmp_path: Path) -> None:
    job = ["JOB=1:3", "--max-jobs-run", "1", "a.JOB.log", "touch", "began.JOB;", "sleep", "300"]
    process = subprocess.Popen([sys.executable, RUN, *job], cwd=tmp_path, stderr=subprocess.DEVNULL)
    eventually("the first task starts", (tmp_path / "began.1").exists)
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert [path.name for path in tmp_path.glob("began.*")] == ["began.1"]


def test_a_task_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with sleepers(tmp_path, STUBBORN, tasks=1) as (process, pids):
        process.terminate()
        assert process.wait(timeout=60) == 143
        eventually("killed processes end", lambda: not any(map(alive, pids)))
    assert "# Ended (code 137)" in (tmp_path / "a.1.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_runner_leaves_no_task_behind(tmp_path: Path) -> None:
    with sleepers(tmp_path, WITH_CHILD) as (process, pids):
        process.kill()
        process.wait()
        eventually("orphans end", lambda: not any(map(alive, pids)))


def test_a_signal_reaches_the_tasks_of_a_runner_in_a_task(tmp_path: Path) -> None:
    outer = [sys.executable, str(RUN), "outer.log"]
    with sleepers(tmp_path, ALONE, *outer) as (process, pids):
        process.terminate()
        assert process.wait(timeout=60) == 143
        eventually("inner tasks end", lambda: not any(map(alive, pids)))


def test_ctrl_c_reaches_a_runner_that_a_script_left_in_the_background(tmp_path: Path) -> None:
    # A script's background jobs start with SIGINT ignored.
    background = ["bash", "-c", '"$@" & echo $! > runner; wait', "-"]
    with sleepers(tmp_path, ALONE, *background) as (_, pids):
        os.kill(int((tmp_path / "runner").read_text()), signal.SIGINT)
        eventually("tasks end", lambda: not any(map(alive, pids)))
