"""The driver of the rehearsal at toy size: both kills, and a second sitting without work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell.recipes import ROOT

pytestmark = pytest.mark.slow


def test_at_toy_size(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.slow.rehearsal", "--toy", str(tmp_path / "work")]
    first, again = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert [line for line in first.stdout.splitlines() if line.startswith("stage 3")] == [
        "stage 3, start 1",
        "stage 3, start 2",
    ]
    rows, rows_again = (
        [line for line in done.stdout.splitlines() if line.startswith("| ")]
        for done in (first, again)
    )
    assert [row.split("|")[1].strip() for row in rows] == [
        "stage", "1 data", "2 folds", "3 audio features, killed once", "4 text features",
        "5 training, killed once", "6 posteriors", "7 scores", "8 tables, plots",
    ]  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert "start" not in again.stdout
    assert rows_again == rows
