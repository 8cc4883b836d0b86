"""The mini recipe at toy size with cmd_backend=slurm, on a real Slurm that ends its jobs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe
from tests.shell.test_recipe import SMALL, make_corpus
from tests.signals import heed_signals
from tests.support.processes import eventually
from tests.support.slurm_cluster import Cluster

pytestmark = pytest.mark.slow
STAGES = ["--stage", "3"]


def on_cluster(recipe: Recipe) -> subprocess.Popen[str]:
    """Start the recipe at stage 3."""
    return subprocess.Popen(
        recipe.command(*STAGES), env=os.environ | recipe.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed_signals,
    )  # fmt: skip


def training_runs(recipe: Recipe) -> bool:
    """Whether a training has come so far that it has something to go on from."""
    return any(recipe.directory.glob("exp/*/session/fold*/train.log"))


def requeue_one(cluster: Cluster) -> bool:
    """Requeue a task that runs, as Slurm does with one that it preempts."""
    with contextlib.suppress(subprocess.CalledProcessError):  # It has just ended.
        for task in cluster.client("squeue", "-h", "-t", "RUNNING", "-o", "%i").split()[:1]:
            cluster.client("scontrol", "requeue", task)
            return True
    return False


def test_interrupted_and_requeued_it_ends_with_the_bytes_of_the_local_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    local, other = (Recipe(tmp_path / name, "mini_iemocap", SMALL) for name in ("local", "other"))
    local.corpus = other.corpus = tmp_path / "corpus"
    make_corpus(local)
    local.run()
    other.run("--stop_stage", "2")
    other.environment = {**cluster.environment, "cmd_backend": "slurm"}

    run = on_cluster(other)
    eventually("a task runs", lambda: any(state == "RUNNING" for _, state in cluster.queue()))
    began = time.monotonic()
    run.terminate()
    said, _ = run.communicate(timeout=60)
    eventually("the queue is empty", lambda: not cluster.queue())
    assert time.monotonic() - began < 5
    assert run.returncode == 143
    assert "slurm.py: stopped by SIGTERM, and with it job 1" in said
    assert said.splitlines()[-1].startswith("run.sh: stopped by SIGTERM")

    run = on_cluster(other)
    cluster.wait_for("a training runs", lambda: training_runs(other), seconds=300)
    cluster.wait_for("one is requeued", lambda: requeue_one(cluster))
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 0, said
    assert not list(other.directory.rglob(".slurm-*")), "the directories of exit statuses are gone"
    assert local.files() == other.files()
    assert len(local.files()) > 50
