"""What the tests of utils/run.py share: running it, and reading what a job wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "utils" / "run.py"


def run(
    cwd: Path, *arguments: str, env: dict[str, str] | None = None, cpus: Sequence[int] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUN, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=None if cpus is None else lambda: os.sched_setaffinity(0, cpus),
    )


def run_well(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
    result = run(cwd, *arguments, env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def output(log: Path) -> str:
    """What the job itself wrote: the log without its comments."""
    text = log.read_bytes().decode()
    return text.partition("\n#\n")[2].rpartition("# Accounting: ")[0]
