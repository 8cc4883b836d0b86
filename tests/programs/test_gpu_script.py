"""tests/bench/gpu.sh, which measures on a GPU machine without a network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import devices, gpu_line, gpu_missing, gpu_wheels
from tests.bench.processes import ROOT

SCRIPT = ROOT / "tests" / "bench" / "gpu.sh"
PARTS = ["tests", "dumps", "stack", "step", "corpus", "epoch", "memory", "runs"]


def environment(**more: str) -> dict[str, str]:
    """Neither a GPU nor the caller's OUT."""
    own = {k: v for k, v in os.environ.items() if k not in ("OUT", "COMMIT", "PYTHONPATH")}
    return {**own, "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable, **more}


def script(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], env=environment(**more), cwd="/", capture_output=True, text=True
    )


def test_help_and_usage_errors() -> None:
    done = script("--help")
    assert done.returncode == 0
    assert "tests/bench/gpu.sh --carry" in done.stdout
    for arguments in (["--wet"], ["--wheels"], ["--carry", "--python", "new"]):
        done = script(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("gpu.sh: ")
        assert done.stderr.count("\n") == 1


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = script("--wheels", str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{devices.NO_GPU}\n")


def test_without_such_a_python_it_says_so(tmp_path: Path) -> None:
    bare = tmp_path / "python"  # one that has nothing but its own library
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    for python, words in (("/none/python", "is not there or older"), (bare, "has no PyTorch or")):
        done = script("--dry", PYTHON=str(python))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"gpu.sh: {python} {words}")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_on_processors_it_runs_to_its_end(tmp_path: Path) -> None:
    done = script("--dry", OUT=str(tmp_path), COMMIT="abc")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (tmp_path / "gpu.jsonl").read_text() == done.stdout
    log = (tmp_path / "gpu.log").read_text()
    assert [line["part"] for line in lines] == PARTS
    assert [line["outcome"] for line in lines] == ["done"] * len(PARTS), log
    of = {line["part"]: line["figures"] for line in lines}
    for line in lines:
        assert (line["on"], line["card"], line["commit"]) == ("cpu", None, "abc")
        assert line["torch"]
    assert of["tests"][0]["passed"] == of["tests"][0]["failed"] == 0 < of["tests"][0]["skipped"]
    assert [row["weights"] for row in of["dumps"]] == ["random"] * 4
    assert [row["by"] for row in of["dumps"]] == ["this project's network"] + 3 * ["transformers"]
    assert all(row["difference"] < 1e-4 and row["gflop"] > 0 for row in of["dumps"])
    assert {row["layout"] for row in of["stack"]} == {"B C T F", "B T C F"}
    assert [row["form"] for row in of["step"]] == ["literal", "cfia_net", "cfia_net_paper"]
    assert [row.get("precision") for row in of["epoch"]] == ["float32", "bf16", None]
    assert 0 < of["epoch"][2]["busy"] <= 1
    assert all(row["peak_mib"] > 100 for row in of["memory"])
    assert [(row["jobs"], row["trainings"]) for row in of["runs"]] == [(2, 2)]


@pytest.mark.slow
def test_a_signal_ends_all_and_leaves_nothing(tmp_path: Path) -> None:
    mark = f"TMPDIR={tmp_path}".encode()
    with subprocess.Popen(
        [SCRIPT, "--dry"], env=environment(TMPDIR=str(tmp_path)), stdout=subprocess.DEVNULL
    ) as process:
        while len(having(mark)) < 3:  # bash, timeout, python
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    assert having(mark) == []
    assert list(tmp_path.iterdir()) == []


def having(variable: bytes) -> list[str]:
    """The processes that have a variable."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or is another's
            if variable in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize(
    ("status", "log", "outcome"),
    [
        (0, "", {"outcome": "done"}),
        (124, "half", {"outcome": "cut", "why": "it took longer than 9 s"}),
        (137, "", {"outcome": "cut", "why": "it took longer than 9 s"}),
        (1, "Traceback\nRuntimeError: no memory\n\n",
         {"outcome": "failed", "why": "exit status 1: RuntimeError: no memory"}),
        (1, "Traceback\nModuleNotFoundError: No module named 'kaldiio'\n",
         {"outcome": "not measured", "why": "kaldiio is not here"}),
        (3, "", {"outcome": "failed", "why": "exit status 3: it said nothing"}),
    ],
)  # fmt: skip
def test_what_became_of_a_part(status: int, log: str, outcome: dict[str, str]) -> None:
    assert gpu_line.became(status, 9, log) == outcome


def test_what_a_gpu_machine_may_lack(tmp_path: Path) -> None:
    there = gpu_wheels.needed(gpu_wheels.THERE, "3.12")
    assert {"torch", "numpy", "filelock"} <= there
    found = gpu_wheels.needed(("kaldiio", "soundfile", "transformers"), "3.12") - there
    assert {"kaldiio", "soundfile", "cffi", "pycparser", "tokenizers", "regex"} <= found
    assert not found & {"torch", "numpy", "tomli"}
    for name in ("numpy-9-py3-none-any.whl", "kaldi_native_fbank-9-cp312-cp312-x.whl",
                 "of_no_one-1.0-py3-none-any.whl", "pip-1-py3-none-any.whl"):  # fmt: skip
        (tmp_path / name).touch()
    assert gpu_missing.missing(tmp_path) == [tmp_path / "of_no_one-1.0-py3-none-any.whl"]
