"""A signal to run.sh, or to all at a terminal, ends the recipe and all that it has started.

So does SIGKILL, to whichever process of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.signals import heed_signals
from tests.slow.process_tree import parent
from tests.support.processes import alive, eventually

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "mini_iemocap"

# A stage that runs two jobs, and one that waits for a program without run.py; each with a child.
JOBS = """\
cd "$(dirname "$0")"
exec run.py JOB=1:2 --max-jobs-run 2 a.JOB.log bash -c \
    'sleep 300 & echo $$ $! $PPID > new.JOB; mv new.JOB pids.JOB; wait'
"""
PROGRAM = """\
cd "$(dirname "$0")"
python3 -c 'import subprocess; subprocess.run(["sleep", "300"])' &
(sleep 300 & echo $! $$ > new.1; mv new.1 pids.1; wait)
"""


def test_every_recipe_is_the_process_that_a_user_has_called() -> None:
    egs = RECIPE.parent
    for script in (*egs.glob("*/run.sh"), egs / "TEMPLATE" / "recipe" / "run.sh"):
        assert '\nexec "${recipe_dir}/ser.sh"' in script.read_text(), script


def to_group(process: subprocess.Popen[str], number: int) -> None:
    os.killpg(process.pid, number)


def alone(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)


def started(directory: Path, stage: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a recipe whose stage 0 is this script; gives it and processes of the stage."""
    script = directory / "corpus.sh"
    script.write_text(f"#!/usr/bin/env bash\n{stage}")
    script.chmod(0o755)
    process = subprocess.Popen(
        [RECIPE / "run.sh", "--stage", "0", "--stop_stage", "0", "--force", "true"],
        env={**os.environ, "corpus_script": os.path.relpath(script, RECIPE)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=heed_signals,
    )  # fmt: skip
    files = [directory / f"pids.{task}" for task in ((1, 2) if stage == JOBS else (1,))]
    eventually("the stage runs", lambda: all(file.exists() for file in files))
    return process, [int(pid) for file in files for pid in file.read_text().split()]


@pytest.mark.parametrize(
    ("stage", "send", "number"),
    [
        (JOBS, alone, signal.SIGTERM),
        (JOBS, to_group, signal.SIGINT),
        (PROGRAM, alone, signal.SIGINT),
    ],
    ids=["SIGTERM to run.sh", "Ctrl-C", "SIGINT to run.sh alone"],
)
def test_a_signal_ends_all_within_5_seconds_and_says_how_to_go_on(
    tmp_path: Path,
    stage: str,
    send: Callable[[subprocess.Popen[str], int], None],
    number: signal.Signals,
) -> None:
    process, pids = started(tmp_path, stage)
    began = time.monotonic()
    send(process, number)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number
    assert not any(map(alive, pids))
    assert said.splitlines()[-1] == (
        f"run.sh: stopped by {number.name}, and all jobs with it; "
        "to go on, run the same command again, without --force"
    )
    assert "Traceback" not in said


@pytest.mark.parametrize("stage", [JOBS, PROGRAM], ids=["run.py", "corpus.sh"])
def test_a_killed_program_takes_all_others_along(tmp_path: Path, stage: str) -> None:
    """As a system kills that has no memory left."""
    process, pids = started(tmp_path, stage)
    check_killed(process, pids[-1], pids)


def test_a_killed_shell_takes_all_others_along(tmp_path: Path) -> None:
    process, pids = started(tmp_path, JOBS)
    check_killed(process, parent(pids[-1]), pids)


def check_killed(process: subprocess.Popen[str], pid: int, pids: list[int]) -> None:
    """Kill one; when the recipe has ended, none of the others lives: the next may begin."""
    os.kill(pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert not any(map(alive, pids))
    assert said.splitlines()[-1] == (
        "run.sh: a program of this run was killed, and all jobs were ended with it; "
        "to go on, run the same command again, without --force"
    )


def test_where_what_the_user_has_called_is_killed_the_rest_ends(tmp_path: Path) -> None:
    process, pids = started(tmp_path, JOBS)
    shell = parent(pids[-1])
    process.kill()
    process.communicate(timeout=60)
    eventually("the rest ends", lambda: not any(map(alive, [shell, *pids])))
