"""Several run.py --gpu at once: whom each GPU belongs to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.shell.jobs import RUN, output, run
from tests.support.processes import eventually

HOLD = "touch began; while [ ! -e end ]; do sleep 0.02; done"


@contextlib.contextmanager
def holding(place: Path, *options: str, visible: str = "0,1") -> Iterator[subprocess.Popen[str]]:
    """A run.py with one task that holds a GPU; its directory is `place`, the locks beside it."""
    place.mkdir()
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(place.parent)}
    command = [sys.executable, str(RUN), "--gpu", "1", *options, "a.log", "bash", "-c", HOLD]
    process = subprocess.Popen(command, cwd=place, env=env, stderr=subprocess.PIPE, text=True)
    try:
        eventually("the task begins", (place / "began").exists)
        yield process
    finally:
        (place / "end").touch()
        process.communicate(timeout=60)


def device(cwd: Path, *options: str, visible: str = "0,1", **env: str) -> str:
    """The device that a task of another run.py gets."""
    place = {"CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(cwd), **env}
    result = run(cwd, "--gpu", "1", *options, "a.log", "echo", "$CUDA_VISIBLE_DEVICES", env=place)
    assert (result.returncode, result.stderr) == (0, "")
    return output(cwd / "a.log").strip()


def test_a_second_run_takes_the_gpu_that_the_first_has_not(tmp_path: Path) -> None:
    assert device(tmp_path) == "0"
    with holding(tmp_path / "first"):
        assert device(tmp_path) == "1"
        assert device(tmp_path, "--jobs-per-gpu", "2") == "1", "the first one asked for its own"
    assert device(tmp_path) == "0"


def test_runs_that_share_gpus_fill_every_one_before_any_is_shared(tmp_path: Path) -> None:
    share = ("--jobs-per-gpu", "2")
    with holding(tmp_path / "first", *share):
        assert device(tmp_path, *share) == "1"
        with holding(tmp_path / "second", *share):
            assert device(tmp_path, *share) == "0"


def test_where_others_have_all_gpus_a_run_waits_and_says_so(tmp_path: Path) -> None:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "TMPDIR": str(tmp_path)}
    with holding(tmp_path / "first", visible="0") as first:
        command = [sys.executable, str(RUN), "--gpu", "1", "a.log", "echo", "ran"]
        second = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert second.stderr.readline() == "run.py: waits for a GPU: another run.py has 0\n"
        assert not (tmp_path / "a.log").exists()
        first.kill()  # whose lock holds nobody any longer
        assert second.wait(timeout=60) == 0
        second.stderr.close()
    assert output(tmp_path / "a.log") == "ran\n"


def test_in_a_job_of_slurm_the_devices_are_the_jobs_own(tmp_path: Path) -> None:
    with holding(tmp_path / "first", visible="0"):
        assert device(tmp_path, visible="0", SLURM_JOB_ID="7") == "0"


def test_without_a_place_for_locks_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "cfia-gpus").write_text("in the way")
    with holding(tmp_path / "first", visible="0"):
        assert device(tmp_path, visible="0") == "0"
