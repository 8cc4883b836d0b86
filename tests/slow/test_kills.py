"""The driver of the kills, for a few kills of the first stages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell.recipes import ROOT

pytestmark = pytest.mark.slow


def test_at_toy_size(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.slow.kills", "--toy", "--kills", "3", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"(?m)^kill \d \(toy\): stage [0-3] after ", done.stdout)) == 3
    assert done.stdout.splitlines()[-1] == "all identical"
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2  # it takes no directory that has something
    assert (tmp_path / "undisturbed" / "toy" / "dump").is_dir()
