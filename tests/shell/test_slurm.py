"""utils/slurm.py on a real Slurm: arrays, and tasks that somebody ends."""

from __future__ import annotations

import time
from pathlib import Path

from tests.shell.jobs import output
from tests.support.slurm_cluster import Cluster


def test_forty_short_tasks_take_less_than_20_seconds(slurm: Cluster, tmp_path: Path) -> None:
    began = time.monotonic()
    done = slurm.run(tmp_path, "JOB=1:40", "log/a.JOB.log", "echo", "JOB")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 20
    for task in range(1, 41):
        assert output(tmp_path / "log" / f"a.{task}.log") == f"{task}\n"
    assert len(list((tmp_path / "log").iterdir())) == 40, "nothing else is left"
    assert slurm.queue() == []


ENDINGS = {
    1: "echo well",
    2: "kill -9 $$",  # the command
    3: "kill -9 $PPID; sleep 60",  # the runner
    4: 'scancel "${SLURM_ARRAY_JOB_ID}_4"; sleep 60',
    5: "echo well",
}


def test_what_ends_a_task_fails_it_and_none_of_the_others(slurm: Cluster, tmp_path: Path) -> None:
    for task, text in ENDINGS.items():
        (tmp_path / f"{task}.sh").write_text(text)
    job = ["--max-jobs-run", "4", "JOB=1:5", "a.JOB.log", "bash", "JOB.sh"]
    began = time.monotonic()
    done = slurm.run(tmp_path, *job)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "slurm.py: 3 / 5 failed, log is in a.*.log"
    assert lines[1] == "# bash 2.sh"
    said = [line for line in lines if line.startswith("slurm.py: task")]
    assert said == [
        "slurm.py: task 3 wrote no exit status; Slurm says that it is FAILED",
        "slurm.py: task 4 wrote no exit status; Slurm says that it is CANCELLED",
    ]
    assert "# Ended (code 137)" in (tmp_path / "a.2.log").read_text()
    assert "# Ended (code 143)" in (tmp_path / "a.4.log").read_text()
    assert [output(tmp_path / f"a.{task}.log") for task in (1, 5)] == ["well\n"] * 2
    assert time.monotonic() - began < 20
    assert slurm.queue() == []


def test_jobs_per_gpu_is_an_error_that_names_the_sites_own_way(
    slurm: Cluster, tmp_path: Path
) -> None:
    done = slurm.run(tmp_path, "--gpu", "1", "--jobs-per-gpu", "2", "a.log", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("slurm.py: --jobs-per-gpu is for run.py")
    assert "`option gpu=* --gres=shard:$0` in conf/slurm.conf" in done.stderr
    assert list(tmp_path.iterdir()) == []
