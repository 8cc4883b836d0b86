"""The benchmarks of training run, at a size that says nothing about times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, tmp_path: Path, *arguments: str) -> tuple[str, Any]:
    """What a benchmark printed, and the figures that it wrote."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *arguments, "--json", str(figures)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout, json.loads(figures.read_text()) if figures.exists() else None


def test_a_step(tmp_path: Path) -> None:
    options = ["--scale", "0.03", "--batches", "1", "--repeats", "1", "--steps", "1"]
    printed, figures = run("bench_step", tmp_path, *options, "--forms", "literal")
    assert [(row["form"], row["setting"]) for row in figures] == [
        ("literal", "defaults"),
        ("literal", "path.sh"),
    ]
    assert all(row["seconds"] > 0 and row["peak_mib"] > 0 for row in figures)
    assert figures[0]["faster"] == figures[1]["faster"] == 1
    assert "MALLOC_MMAP_MAX_" in printed


@pytest.mark.slow
def test_an_epoch(tmp_path: Path) -> None:
    printed, figures = run("bench_epoch", tmp_path, "--scale", "0.003", "--dir", str(tmp_path))
    one, two = figures
    assert one["two_processors"] == one["seconds"]
    assert two["two_processors"] == two["seconds"] / 2
    assert one["tflop"] == two["tflop"] > 0
    assert 0.5 < one["input_share"] < 0.8
    assert "matrix products" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_runs_on_a_gpu_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    printed, figures = run("bench_gpu", tmp_path)
    assert printed == "There is no GPU here that torch can see, so there is nothing to measure.\n"
    assert figures is None


@pytest.mark.slow
def test_runs_with_several_jobs_at_a_time(tmp_path: Path) -> None:
    options = ["--on", "cpu", "--scale", "0.01", "--epochs", "1", "--dir", str(tmp_path)]
    _, figures = run("bench_gpu", tmp_path, *options, "--jobs", "1", "2", "--schemes", "session")
    assert [(row["scheme"], row["jobs"]) for row in figures] == [("session", 1), ("session", 2)]
    assert all(row["seconds"] > 0 for row in figures)
