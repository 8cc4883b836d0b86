"""A program that holds a directory, as another run would."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import sys
from pathlib import Path
from cfia import directories, lock
hold = {"making": lock.making, "reading": directories.reading}[sys.argv[1]]
with hold(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(kind: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that makes or reads a directory until its input ends; `-c` is its name."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, directory],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def release(process: subprocess.Popen[str]) -> None:
    """Let a holder end."""
    assert process.stdin is not None
    process.stdin.close()
