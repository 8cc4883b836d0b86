"""The benchmarks of training run, at a size that says nothing about speed.

Their times are held against the clock of the whole run: that finds a wrong unit or division.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cfia.study.costs import Measured, Run, read_costs
from tests.bench import limits
from tests.bench.bench_peers import merged

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, tmp_path: Path, *arguments: str) -> tuple[str, Any, float]:
    """What a benchmark printed, the figures that it wrote, and the seconds that it took."""
    began = time.monotonic()
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *arguments, "--json", str(figures)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    return done.stdout, json.loads(figures.read_text()) if figures.exists() else None, seconds


def test_a_step(tmp_path: Path) -> None:
    options = ["--scale", "0.03", "--batches", "1", "--time_limit", "0", "--steps", "1"]
    printed, figures, took = run("bench_step", tmp_path, *options, "--forms", "literal")
    assert [(row["form"], row["setting"]) for row in figures] == [
        ("literal", "defaults"),
        ("literal", "path.sh"),
    ]
    for row in figures:
        assert 1e-4 < row["seconds"] < took / 4, "of two steps in each of two processes"
        assert 100 < row["peak_mib"] < 10_000
        assert f"a step {row['seconds']:7.3f} s" in printed
        assert f"peak {row['peak_mib']:5.0f} MiB" in printed
        assert row["share"] == pytest.approx(row["gflop"] / row["seconds"] / row["rate"])
        assert "there was one turn of each side" in row["conditions"]["not_alone"]
    assert figures[0]["faster"] == figures[1]["faster"] == 1
    assert "  not alone: " in printed
    assert "MALLOC_MMAP_MAX_" in printed


@pytest.mark.slow
def test_an_epoch(tmp_path: Path) -> None:
    printed, figures, took = run(
        "bench_epoch", tmp_path, "--scale", "0.003", "--dir", str(tmp_path), "--time_limit", "0"
    )
    one, two = figures
    assert one["seconds"] + two["seconds"] < took
    assert one["two_processors"] == one["seconds"]
    assert two["two_processors"] == two["seconds"] / 2
    assert one["tflop"] == two["tflop"] > 0
    assert 0.5 < one["input_share"] < 0.8
    assert "matrix products" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["--limit=1.2", "--shared"])
def test_an_epoch_in_two_ways(tmp_path: Path, what: str) -> None:
    options = ["--scale", "0.003", "--dir", str(tmp_path), "--time_limit", "0", what]
    printed, figures, took = run("bench_epoch", tmp_path, *options)
    if figures is None:
        assert printed == f"{limits.NOT_PERMITTED}\n"
        pytest.skip(limits.NOT_PERMITTED)
    one, two = figures
    assert [row["cache"] for row in figures] == ["ram", "mmap"]
    assert one["seconds"] + two["seconds"] < took
    assert f"{two['seconds'] / one['seconds']:.3f} times the epoch of" in printed
    trainings = 1 if what != "--shared" else 2
    for row in figures:
        assert 100 < row["own_mib"] < trainings * row["peak_mib"], "less than with mapped files"


@pytest.mark.slow
def test_a_corpus(tmp_path: Path) -> None:
    options = ["--files", "40", "--seconds", "0.1", "--time_limit", "0"]
    printed, figures, took = run("bench_corpus", tmp_path, *options)
    runs = [(row["way"], row["what"]) for row in figures]
    assert runs == [(way, what) for way in ("files", "table") for what in ("show", "make", "again")]
    assert sum(row["seconds"] for row in figures) < took
    assert all(10 < row["peak_mib"] < 1000 for row in figures)
    assert f"{figures[0]['seconds']:7.1f} s" in printed


@pytest.mark.slow
def test_a_corpus_that_grows(tmp_path: Path) -> None:
    printed, figures, took = run("bench_scale", tmp_path, "--utterances", "300", "600")
    rows = [row["row"] for row in figures]
    assert {"validate", "folds session", "dump job", "features", "score"} < {*rows}
    assert rows == [*rows[: len(rows) // 2]] * 2
    assert sum(row["seconds"] for row in figures) < took
    first, again = figures[0], figures[len(rows) // 2]
    assert again["growth"] == pytest.approx(again["seconds"] / first["seconds"] / 2)
    assert f"| validate | {first['seconds']:.1f} s, " in printed


@pytest.mark.slow
def test_runs_with_several_jobs_at_a_time(tmp_path: Path) -> None:
    options = ["--on", "cpu", "--scale", "0.01", "--epochs", "1", "--dir", str(tmp_path)]
    _, figures, took = run(
        "bench_gpu", tmp_path, *options, "--jobs", "1", "2", "--schemes", "session"
    )
    assert [(row["scheme"], row["jobs"]) for row in figures] == [("session", 1), ("session", 2)]
    one, two = (row["seconds"] for row in figures)
    assert 1 < one + two < took, "each starts Python and loads torch for five folds"
    assert [row["trainings"] for row in figures] == [5, 5]
    assert [row["faster"] for row in figures] == [1, pytest.approx(one / two)]


@pytest.mark.slow
def test_peers(tmp_path: Path) -> None:
    options = ["--scale", "0.03", "--batches", "1", "--time_limit", "0"]
    printed, figures, took = run(
        "bench_peers", tmp_path, *options, "--systems", "cfia_net", "superb"
    )
    assert [row["system"] for row in figures] == ["cfia_net", "superb"]
    assert figures[0]["times_cfia_net"] == 1
    for row in figures:
        assert row["cpu"] < 2 * row["seconds"] + 1
        assert row["seconds"] / (4425 / 32) < took / 4, "of two steps in each of two processes"
        assert 100 < row["peak_mib"] < 10_000
        assert f"peak {row['peak_mib']:5.0f} MiB" in printed
    assert figures[1]["weights"] < figures[0]["weights"]


@pytest.mark.slow
def test_costs(tmp_path: Path) -> None:
    """What is measured again takes the place of what was; the file is read as it is used."""
    path = tmp_path / "costs.yaml"
    options = ["--scale", "0.03", "--batches", "1", "--time_limit", "0"]
    options += ["--costs", str(path), "--systems"]
    run("bench_peers", tmp_path, *options, "linear", "linear_text")
    before = read_costs(path)
    _, figures, _ = run("bench_peers", tmp_path, *options, "memocmt_own", "linear_text")
    assert [(row["system"], row["given"]) for row in figures] == [
        ("memocmt_own", "audio_text"), ("linear", "text")
    ]  # fmt: skip
    assert [row["peak_mib"] for row in figures] == [None, None]
    costs = read_costs(path)
    (one,) = costs.runs
    assert one.seconds["linear"]["audio"] == before.runs[0].seconds["linear"]["audio"]
    assert one.seconds["linear"]["text"] == pytest.approx(figures[1]["cpu"], abs=0.1)
    assert one.seconds["memocmt_own"]["audio_text"] == pytest.approx(figures[0]["cpu"], abs=0.1)
    assert (costs.utterances, costs.frame_rate) == (4425, 50)


def test_runs_of_costs_are_joined_where_they_differ_in_the_load_alone() -> None:
    machine = Measured("a", 1, 2, 0.5, "c1")
    first = Run(machine, {"x": {"audio": 1.0, "text": 2.0}})
    busy = Run(replace(machine, load=3.0), {"x": {"text": 3.0}, "y": {"audio": 4.0}})
    other = Run(replace(machine, commit="c2"), {"x": {"audio": 5.0}, "y": {"audio": 6.0}})
    (joined,) = merged([first], busy)
    assert joined == Run(busy.measured, {"x": {"audio": 1.0, "text": 3.0}, "y": {"audio": 4.0}})
    assert merged([joined], other) == [Run(joined.measured, {"x": {"text": 3.0}}), other]
    assert merged([other], replace(other, measured=machine)) == [replace(other, measured=machine)]
