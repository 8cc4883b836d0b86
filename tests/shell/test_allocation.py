"""What path.sh sets of the C library's memory allocation reaches a recipe's jobs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.shell.jobs import output

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({}, ["MALLOC_MMAP_MAX_=0", "MALLOC_TRIM_THRESHOLD_=1099511627776"]),
        (
            {"MALLOC_MMAP_MAX_": "", "MALLOC_TRIM_THRESHOLD_": "5"},
            ["MALLOC_MMAP_MAX_=", "MALLOC_TRIM_THRESHOLD_=5"],
        ),
    ],
    ids=["the recipe's", "the user's own"],
)
def test_a_job_gets_the_setting(tmp_path: Path, own: dict[str, str], wanted: list[str]) -> None:
    script = '. ./path.sh && . ./cmd.sh && ${train_cmd} "$1" env'
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    log = tmp_path / "log"
    subprocess.run(
        ["bash", "-c", script, "-", str(log)],
        cwd=ROOT / "egs" / "mini_iemocap",
        env={**environment, **own},
        check=True,
    )
    found = [line for line in output(log).splitlines() if line.startswith("MALLOC_")]
    assert sorted(found) == wanted
