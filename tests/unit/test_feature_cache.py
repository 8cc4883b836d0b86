"""Where features are kept: --feature_cache auto goes by the memory that is free, and says so."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cfia.errors import UserError
from cfia.kaldi.archive import entry
from cfia.kaldi.table import write_table
from cfia.training.feature_cache import Room, keep
from cfia.training.features import FeatureSet, InMemory, OnDevice, OnDisk, Shaping
from cfia.training.free_memory import Free, free_memory
from tests.bench import limits, processes

GB = 10**9
PROCESSORS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """feats.scp of ten frames for each of two utterances, 200 bytes each, of an archive of 436."""
    directory = tmp_path_factory.mktemp("features")
    archive, scp = b"", {}
    for utt in ("u0", "u1"):
        data, offset = entry(utt, np.ones((10, 5), dtype=np.float32))
        scp[utt] = f"{directory}/raw.ark:{len(archive) + offset}"
        archive += data
    (directory / "raw.ark").write_bytes(archive)
    write_table(directory / "feats.scp", scp)
    return directory / "feats.scp"


def kept(
    feats_scp: Path, cache: str, size: int = GB, gpu: int | None = None, jobs: int = 1
) -> list[FeatureSet]:
    """Keep both utterances, each in a part of its own, with so much free memory."""
    sets = [OnDisk(feats_scp, [utt], Shaping(1, 512)) for utt in ("u0", "u1")]
    room = None if gpu is None else Room(torch.device("cpu"), Free(gpu, "on the GPU"), jobs)
    return keep(sets, cache, Free(size, "of this machine"), room)


def automatic(feats_scp: Path, size: int) -> list[FeatureSet]:
    return kept(feats_scp, "auto", size)


def test_auto_takes_a_third_of_a_gpu_for_all_jobs_on_it(
    features: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for free, jobs, kind, said in (
        (1200, 1, OnDevice, "auto: gpu, for 0.00 GB of features are at most 33% of the 0.00 GB"),
        (1199, 1, InMemory, "auto: ram, for "),
        (2400, 2, OnDevice, "that are free on the GPU / 2 jobs"),
        (2399, 2, InMemory, "auto: ram, for "),
    ):
        caplog.clear()
        assert {type(found) for found in kept(features, "auto", gpu=free, jobs=jobs)} == {kind}
        (line,) = caplog.messages
        assert said in line


def test_what_a_gpu_cannot_hold_is_a_sentence(features: Path) -> None:
    assert type(kept(features, "gpu", gpu=400)[0]) is OnDevice
    wanted = "^0.00 GB of features are more than the 0.00 GB that are free on the GPU; give"
    with pytest.raises(UserError, match=wanted):
        kept(features, "gpu", gpu=399)
    # Posteriors and gates, which read an utterance once, have no room there.
    assert type(kept(features, "gpu")[0]) is InMemory


def test_auto_goes_by_what_is_free_and_says_why(
    features: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    enough = 4 * 400 * PROCESSORS  # both parts together are a fourth of it, for each processor
    for size, kind, kept, said in (
        (enough, InMemory, "in memory", "auto: ram, for 0.00 GB of features are at most 0.00 GB"),
        (enough - 1, OnDisk, "mapped from", "auto: mmap, for 0.00 GB of features are more than"),
        (430, OnDisk, "mapped from", "auto: mmap, "),
        (429, OnDisk, "read from", "auto: none, for archives of 0.00 GB are more than the 0.00 GB"),
    ):
        caplog.clear()
        for found in automatic(features, size):
            assert type(found) is kind
            assert found.kept.startswith(kept)
        (line,) = caplog.messages
        assert said in line
        assert "free of this machine" in line


def machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> Path:
    """A machine of 50 GB, 20 of them free, and the control groups of a process on it."""
    proc = {"meminfo": "MemTotal: 50000000 kB\nMemAvailable: 20000000 kB\n"}
    proc |= {"self/cgroup": cgroup, "self/mountinfo": mounts}
    for name, text in (*((f"proc/{k}", v) for k, v in proc.items()), *files.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = """30 20 0:1 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
31 20 0:2 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
"""
V2 = "31 20 0:2 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def group(version: int, limit: object, usage: int, files: int) -> dict[str, str]:
    stat = f"inactive_file {files // 2}\nactive_file {files - files // 2}\nanon 7\n"
    if version == 2:
        return {"memory.max": f"{limit}\n", "memory.current": f"{usage}\n", "memory.stat": stat}
    total = stat.replace("inactive", "total_inactive").replace("\nactive", "\ntotal_active")
    total = f"inactive_file 0\nactive_file 0\n{total}"
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{usage}\n",
        "memory.stat": total,
    }


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_job_counts_and_cached_files_are_free(tmp_path: Path, version: int) -> None:
    """The job has its limit, the step below it none: as Slurm makes them."""
    cgroup = "5:cpu:/\n4:hugetlb,memory:/slurm/job_7/step_0\n0::/\n"
    top, mounts, none = "sys/fs/cgroup/memory", V1, "9223372036854771712"
    if version == 2:
        cgroup, top, mounts, none = "0::/slurm/job_7/step_0\n", "sys/fs/cgroup", V2, "max"
    job, step = f"{top}/slurm/job_7", f"{top}/slurm/job_7/step_0"
    files = {f"{job}/{k}": v for k, v in group(version, 8 * GB, 7 * GB, 3 * GB).items()}
    files |= {f"{step}/{k}": v for k, v in group(version, none, 6 * GB, 0).items()}
    free = free_memory(machine(tmp_path, cgroup, mounts, files))
    assert free.size == 4 * GB
    assert free.where == f"below the limit of the control group {tmp_path}/{job}"


def test_a_container_that_sees_its_own_group_alone(tmp_path: Path) -> None:
    mounts = V2.replace("0:2 / ", "0:2 /docker/7 ")
    files = {f"sys/fs/cgroup/{k}": v for k, v in group(2, 5 * GB, 6 * GB, 0).items()}
    assert free_memory(machine(tmp_path / "1", "0::/docker/7\n", mounts, files)).size == 0
    assert free_memory(machine(tmp_path / "2", "0::/another/8\n", mounts, files)).size == 0


@pytest.mark.parametrize("limit", [30 * GB, "max"])
def test_a_limit_above_what_is_free_or_none_does_not_count(tmp_path: Path, limit: object) -> None:
    files = {f"sys/fs/cgroup/job/{k}": v for k, v in group(2, limit, GB, 0).items()}
    free = free_memory(machine(tmp_path, "0::/job\n", V2, files))
    assert free == Free(1024 * 20_000_000, "of this machine")


def test_of_this_machine() -> None:
    assert 2**20 < free_memory().size < 2**50


def test_in_a_control_group_of_this_machine() -> None:
    """A real one, which a process enters before it looks."""
    with limits.limited(200 * 2**20) as group:
        if group is None:
            pytest.skip(limits.NOT_PERMITTED)
        code = "from cfia.training.free_memory import *; f = free_memory(); print(f.size, f.where)"
        command = limits.within(group, [sys.executable, "-c", code])
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=processes.ROOT
        )
    size, where = done.stdout.split(maxsplit=1)
    assert 100 * 2**20 < int(size) < 200 * 2**20
    assert where == f"below the limit of the control group {group}\n"
