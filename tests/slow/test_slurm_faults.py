"""utils/slurm.py on a real Slurm whose limits, nodes and controller end what they ran."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.shell.jobs import output
from tests.support.processes import alive, eventually
from tests.support.slurm_cluster import Cluster

pytestmark = pytest.mark.slow

# A task that is not done at the first time; where it ran, and its process, are written down.
TWICE = """\
echo $$ > pid.$1
echo "$SLURMD_NODENAME" >> tries.$1
if [ "$(wc -l < tries.$1)" -lt "$2" ]; then exec sleep 600; fi
echo went on
"""


def tries(cwd: Path, task: int) -> list[str]:
    """The nodes on which a task was tried."""
    file = cwd / f"tries.{task}"
    return file.read_text().split() if file.exists() else []


def sleepers(cwd: Path, times: int = 2, tasks: int = 2) -> list[str]:
    """The words of an array whose tasks need so many tries."""
    (cwd / "twice.sh").write_text(TWICE)
    return [f"JOB=1:{tasks}", "a.JOB.log", "bash", "twice.sh", "JOB", str(times)]


def test_a_task_that_meets_its_time_limit_goes_on_in_the_queue(
    cluster: Cluster, tmp_path: Path
) -> None:
    once, never = tmp_path / "once", tmp_path / "never"
    for place in (once, never):
        place.mkdir()
    other = cluster.begin(never, "--time", "1", "--requeue", "0", *sleepers(never, tasks=1))
    done = cluster.run(once, "--time", "1", *sleepers(once))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stderr.splitlines()) == [
        f"slurm.py: task {task} ended by TIMEOUT; it goes on from the queue" for task in (1, 2)
    ]
    assert output(once / "a.2.log") == "went on\n"
    _, said = other.communicate(timeout=120)
    assert other.returncode == 1
    assert "task 1 wrote no exit status; Slurm says that it is TIMEOUT" in said
    assert "DUE TO TIME LIMIT" in said, "Slurm's own words"
    assert cluster.queue() == []


def test_a_task_that_is_preempted_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.begin(tmp_path, "--num-threads", "4", *sleepers(tmp_path, tasks=1))
    eventually("it runs", lambda: len(tries(tmp_path, 1)) == 1)
    cluster.client("sbatch", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null",
                   "--wrap", "sleep 1")  # fmt: skip
    _, said = job.communicate(timeout=120)
    assert (job.returncode, said) == (0, "")
    assert len(tries(tmp_path, 1)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_submitter_leaves_nothing_in_the_queue(
    cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    job = cluster.begin(tmp_path, *sleepers(tmp_path, tasks=12))
    eventually("eight run", lambda: all(tries(tmp_path, task) for task in range(1, 9)))
    began = time.monotonic()
    job.send_signal(number)
    _, said = job.communicate(timeout=60)
    eventually("the queue is empty", lambda: not cluster.queue())
    assert time.monotonic() - began < 5
    pids = [int(path.read_text()) for path in tmp_path.glob("pid.*")]
    eventually("no process is left", lambda: not any(map(alive, pids)))
    if number != signal.SIGKILL:
        assert job.returncode == 128 + number
        assert said.startswith(f"slurm.py: stopped by {number.name}, and with it job ")
    eventually("its directory is gone", lambda: not list(tmp_path.glob(".slurm-*")))


def test_a_signal_while_the_controller_is_away_is_heeded(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.begin(tmp_path, *sleepers(tmp_path, tasks=1))
    eventually("it runs", lambda: bool(tries(tmp_path, 1)))
    cluster.stop_controller()
    job.terminate()
    _, said = job.communicate(timeout=10)
    assert job.returncode == 143
    assert "Slurm does not answer; when it does, end the job: scancel " in said
    cluster.start_controller()


def test_a_node_that_goes_down_gives_its_task_to_another(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.begin(tmp_path, *sleepers(tmp_path, tasks=1))
    eventually("it runs", lambda: bool(tries(tmp_path, 1)))
    first = tries(tmp_path, 1)[0]
    orphan = int((tmp_path / "pid.1").read_text())
    cluster.kill(first)
    _, said = job.communicate(timeout=120)
    assert job.returncode == 0, said
    assert len(tries(tmp_path, 1)) == 2
    assert tries(tmp_path, 1)[1] != first
    assert alive(orphan), "a process that nobody watched any more ran beside its copy"


def test_a_controller_that_restarts_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    text = "touch began.JOB; while [ ! -e end ]; do sleep 0.1; done; exit $((JOB - 1))"
    job = cluster.begin(tmp_path, "JOB=1:2", "a.JOB.log", "bash", "-c", text)
    eventually("both run", lambda: len(list(tmp_path.glob("began.*"))) == 2)
    cluster.stop_controller()
    late = cluster.begin(tmp_path, "late.log", "echo", "late")
    time.sleep(5)
    assert job.poll() is None, "a controller that does not answer is no end"
    cluster.start_controller()
    time.sleep(3)
    (tmp_path / "end").touch()
    _, said = job.communicate(timeout=120)
    assert job.returncode == 1
    assert said.startswith("slurm.py: 1 / 2 failed, log is in a.*.log\n")
    _, said = late.communicate(timeout=120)
    assert late.returncode == 0, said
    assert said == "slurm.py: the controller of Slurm cannot be reached; trying again\n"
    assert output(tmp_path / "late.log") == "late\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--time", "9:00:00"], "Requested time limit is invalid"),
        (["--mem", "900G"], "Memory specification can not be satisfied"),
        (["--gpu", "9"], "Requested node configuration is not available"),
        (["JOB=1:4000"], "Invalid job array specification; give run.sh a smaller --nj"),
    ],
)
def test_a_job_that_slurm_refuses_is_an_error_with_its_words(
    cluster: Cluster, tmp_path: Path, options: list[str], why: str
) -> None:
    done = cluster.run(tmp_path, *options, "log/JOB.log", "true")
    assert done.returncode == 1
    assert done.stderr.startswith("slurm.py: Slurm refused the job: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "log").iterdir()) == []


def test_a_log_directory_that_goes_away_ends_the_job(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.begin(tmp_path, "JOB=1:2", "log/a.JOB.log", "sleep", "600")
    eventually("it runs", lambda: (tmp_path / "log" / "a.2.log").exists())
    (tmp_path / "log").rename(tmp_path / "away")
    _, said = job.communicate(timeout=60)
    assert job.returncode == 1
    assert said.startswith("slurm.py: cannot run the job: ")
    assert said.count("\n") == 1
    eventually("the queue is empty", lambda: not cluster.queue())


def test_paths_with_spaces_and_signs_that_slurm_replaces(cluster: Cluster, tmp_path: Path) -> None:
    place = tmp_path / "two  words of %a, it's $HOME \\ ü"
    place.mkdir()
    done = cluster.run(place, "JOB=1:2", "log of JOB/a.JOB.log", "printf", "%s", "in JOB,  $X")
    assert (done.returncode, done.stderr) == (0, "")
    assert output(place / "log of 2" / "a.2.log") == "in 2,  $X"
    failed = cluster.run(place, "b.log", "kill", "-9", "$PPID")
    assert "task 1 wrote no exit status; Slurm says that it is FAILED" in failed.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [place.name]


def test_a_task_has_the_gpu_that_slurm_gives_it(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.run(tmp_path, "--gpu", "1", "a.log", "echo", "$CUDA_VISIBLE_DEVICES")
    assert done.returncode == 0, done.stderr
    assert output(tmp_path / "a.log") == "0\n"


def test_a_job_that_waits_for_what_does_not_come_by_itself_says_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    for node in ("n1", "n2"):
        cluster.client("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    job = cluster.begin(tmp_path, "a.log", "true")
    assert job.stderr is not None
    assert re.match(r"slurm.py: job \d+ waits: .*[Nn]ode", job.stderr.readline())
    for node in ("n1", "n2"):
        cluster.client("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert job.wait(timeout=60) == 0
    job.stderr.close()
