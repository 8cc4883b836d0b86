"""Dumps that are killed, meet a full disk or run twice: the same bytes, nothing done twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cfia.bin import dump_merge
from cfia.kaldi.table import read_table, write_table
from cfia.options import processors
from cfia.upstream.decoding import MOST
from cfia.upstream.dump_plan import Plan
from tests.support import tiny_models
from tests.support.dump_data import (
    NGPU,
    contents,
    long_data,
    noise,
    plan,
    run_dump,
    run_job,
    undisturbed,
    write_data,
)
from tests.support.processes import alive, eventually

ROOT = Path(__file__).parents[2]

# What a job imports when it runs.
PRELOADED = [
    "cfia.upstream.dump",
    "cfia.upstream.fbank",
    "cfia.upstream.text",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert_fast",
]


data = pytest.fixture(scope="module")(long_data)
whole = pytest.fixture(scope="module")(undisturbed)


def start_job(
    directory: Path, data: Path, ngpu: str = "--ngpu=0", prefix: str = ""
) -> subprocess.Popen[str]:
    """Job 1 in a process of its own, in a process group that a test can kill."""
    command = f'{prefix} exec "$0" -m cfia.bin.dump --dir "$1" --data "$2" --job 1 "$3"'
    return subprocess.Popen(
        ["bash", "-c", command, sys.executable, str(directory), str(data), ngpu],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_job_cut_anywhere_ends_with_the_same_bytes(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    """Every state that a kill between or within two writes can leave."""
    finished = tmp_path / "finished"
    plan(finished, data)
    run_job(finished, data, 1)
    archive = (finished / "raw_fbank.1.ark").read_bytes()
    lines = (finished / ".raw_fbank.1.journal").read_bytes().splitlines(keepends=True)
    ends = [0, 0, *(json.loads(line)["end"] for line in lines[1:])]
    states = [(n, *torn) for n in (0, 1, 3, 6) for torn in ((0, 0), (9, 70000))]
    for n, half, extra in states:
        cut = tmp_path / f"{n} {half} {extra}"
        plan(cut, data)
        journal = b"".join(lines[:n]) + (lines[n][:half] if n < len(lines) else b"")
        (cut / ".raw_fbank.1.journal").write_bytes(journal)
        (cut / ".raw_fbank.1.ark").write_bytes(archive[: ends[n] + extra])
        run_dump(cut, data, 1)
        assert contents(cut) == contents(whole), (n, half, extra)
        shutil.rmtree(cut)


def test_a_kill_between_the_scp_and_the_archives_name(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    plan(tmp_path, data)
    run_job(tmp_path, data, 1)
    (tmp_path / "raw_fbank.1.ark").rename(tmp_path / ".raw_fbank.1.ark")
    run_dump(tmp_path, data, plan(tmp_path, data))
    assert contents(tmp_path) == contents(whole)


def write_slow_data(directory: Path, data: Path, held: Sequence[str] = ()) -> Path:
    """The same audio through pipes that take their time and leave a line in `calls`.

    Those that are held wait for the file `go`.
    """
    shutil.copytree(data, directory)
    commands = {}
    for utterance, path in read_table(data / "wav.scp").items():
        wait = f"until [ -e '{directory}/go' ]; do sleep 0.1; done" if utterance in held else ":"
        begin = f"echo {utterance} >> '{directory}/calls'; {wait}"
        commands[utterance] = f"{begin}; sleep 0.1; cat '{path}' |"
    write_table(directory / "wav.scp", commands)
    return directory


def finished_batches(directory: Path, name: str = "fbank") -> list[dict[str, Any]]:
    journal = directory / f".raw_{name}.1.journal"
    lines = journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


@NGPU
def test_sigkill_loses_no_finished_batch_and_changes_no_byte(
    whole: Path, data: Path, tmp_path: Path, ngpu: str
) -> None:
    slow = write_slow_data(tmp_path / "data", data, held=Plan.load(whole).batches[-1])
    directory = tmp_path / "dump"
    calls = slow / "calls"
    assert plan(directory, slow, nj=1) == 1
    safe: dict[str, int] = {}
    for n, late in ((0, 0.05), (2, 0.0), (4, 0.12)):
        process = start_job(directory, slow, ngpu)
        while len(finished_batches(directory)) < n or not calls.exists():
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(late)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (directory / "raw_fbank.1.ark").exists()
        done = [u for batch in finished_batches(directory) for u in batch["frames"]]
        counts = Counter(calls.read_text().split())
        assert all(counts[u] == times for u, times in safe.items()), "a finished batch was redone"
        safe = {u: counts[u] for u in done}
        assert plan(directory, slow, nj=2) == 1
    assert safe
    (slow / "go").touch()
    run_dump(directory, slow, 1, ngpu)
    counts = Counter(calls.read_text().split())
    assert all(counts[u] == times for u, times in safe.items())
    assert contents(directory) == contents(whole)


def decoders(process: subprocess.Popen[str], directory: Path) -> list[int]:
    """The processes that decode for a job that is at work."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (directory / "calls").exists():
        assert process.poll() is None
        time.sleep(0.005)
    return [int(child) for child in children.read_text().split()]


@pytest.mark.skipif(processors() == 1, reason="one processor decodes in the job's own process")
def test_no_process_that_decodes_outlives_a_killed_job(data: Path, tmp_path: Path) -> None:
    slow = write_slow_data(tmp_path / "data", data)
    plan(tmp_path / "dump", slow)
    process = start_job(tmp_path / "dump", slow, "--ngpu=1")
    left = decoders(process, slow)
    assert len(left) == min(MOST, processors() - 1)
    process.kill()
    process.communicate()
    eventually("a process is left", lambda: not any(map(alive, left)))


@pytest.mark.skipif(processors() == 1, reason="one processor decodes in the job's own process")
def test_a_killed_process_that_decodes_ends_its_job_which_goes_on(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    slow = write_slow_data(tmp_path / "data", data)
    plan(tmp_path / "dump", slow)
    process = start_job(tmp_path / "dump", slow, "--ngpu=1")
    os.kill(decoders(process, slow)[0], signal.SIGKILL)
    said = process.communicate()[1].strip().splitlines()
    assert process.returncode == 1
    assert said == ["error: a process was killed, perhaps for want of memory; give fewer (--nj)"]
    run_dump(tmp_path / "dump", slow, 1)
    assert contents(tmp_path / "dump") == contents(whole)


def kill_at_a_random_moment(process: Any, directory: Path, name: str, rng: Any) -> None:
    """Kill a job when it has done a few batches more, and somewhere in the next ones."""
    wanted = len(finished_batches(directory, name)) + int(rng.integers(0, 4))
    while len(finished_batches(directory, name)) < wanted:
        assert process.is_alive()
        time.sleep(0.0005)
    time.sleep(float(rng.uniform(0, 0.01)))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def spoil_what_is_done(data: Path, done: list[dict[str, Any]]) -> None:
    """Make what finished batches were made from useless: doing one again would show."""
    text = read_table(data / "text")
    for utterance in {u for batch in done for u in batch["frames"]}:
        text[utterance] = "mat"
        Path(read_table(data / "wav.scp")[utterance]).unlink(missing_ok=True)
    write_table(data / "text", text)


@pytest.mark.parametrize("upstream", ["fbank", "bert"])
def test_ten_kills_redo_nothing(
    upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_SECONDS", 0.3)
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_CHARACTERS", 10)
    # A server that has the imports behind it starts a job in milliseconds.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, *PRELOADED])
    rng = np.random.default_rng(16)
    utterances = [f"s0-{i:03d}" for i in range(150)]
    data = write_data(tmp_path / "data", {u: noise(0.2, seed=i) for i, u in enumerate(utterances)})
    tiny_models.save_bert(tmp_path / "bert")
    flags = ["--model", str(tmp_path / "bert")] if upstream == "bert" else []
    whole, directory = tmp_path / "whole", tmp_path / "dump"
    for dump in (whole, directory):
        assert plan(dump, data, *flags, upstream=upstream) == 1
    run_dump(whole, data, 1)
    done: list[dict[str, Any]] = []
    for _ in range(10):
        process = processes.Process(target=run_job, args=(directory, data, 1))
        process.start()
        kill_at_a_random_moment(process, directory, upstream, rng)
        assert finished_batches(directory, upstream)[: len(done)] == done
        done = finished_batches(directory, upstream)
        spoil_what_is_done(data, done)
    assert 0 < len(done) < 150
    run_job(directory, data, 1)
    assert [batch["batch"] for batch in finished_batches(directory, upstream)] == list(range(150))
    dump_merge.main(["--dir", str(directory)])
    assert contents(directory) == contents(whole)


def test_two_copies_of_a_job_do_the_work_once(whole: Path, data: Path, tmp_path: Path) -> None:
    slow = write_slow_data(tmp_path / "data", data)
    plan(tmp_path / "dump", slow)
    copies = [start_job(tmp_path / "dump", slow) for _ in range(2)]
    said = [process.communicate()[1] for process in copies]
    assert [process.returncode for process in copies] == [0, 0]
    assert set(Counter((slow / "calls").read_text().split()).values()) == {1}
    assert sum("another process is at work on job 1" in text for text in said) == 1
    dump_merge.main(["--dir", str(tmp_path / "dump")])
    assert contents(tmp_path / "dump") == contents(whole)


@NGPU
def test_a_disk_that_cannot_be_written_is_one_sentence(
    whole: Path, data: Path, tmp_path: Path, ngpu: str
) -> None:
    plan(tmp_path, data)
    process = start_job(tmp_path, data, ngpu, prefix="ulimit -f 2000;")  # blocks of 1 KiB
    said = process.communicate()[1].strip().splitlines()
    assert process.returncode == 1
    assert said[-1].startswith(f"error: {tmp_path}/.raw_fbank.1.ark cannot be written (")
    assert not any("Traceback" in line for line in said)
    assert 0 < len(finished_batches(tmp_path)) < 5
    run_dump(tmp_path, data, plan(tmp_path, data))
    assert contents(tmp_path) == contents(whole)
