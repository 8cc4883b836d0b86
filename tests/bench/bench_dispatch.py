"""What run.py adds to each task of an array, against a loop of bash that starts the same commands.

Both run one task after the other; the least of several times is taken. Nothing is
asserted about times.

    python -m tests.bench.bench_dispatch --tasks 100
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "utils" / "run.py"


def seconds(command: Sequence[str], directory: str) -> float:
    """Run a command; returns how long it took."""
    began = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print milliseconds per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    one = [sys.executable, str(RUN), "--max-jobs-run", "1"]
    forms = {
        "loop": ["bash", "-c", f"for ((i = 0; i < {arguments.tasks}; i++)); do bash -c true; done"],
        "array": [*one, f"JOB=1:{arguments.tasks}", "a.JOB.log", "true"],
        "start": [*one, "a.log", "true"],
    }
    with tempfile.TemporaryDirectory() as directory:
        times = {
            name: min(seconds(command, directory) for _ in range(arguments.repeats))
            for name, command in forms.items()
        }
    added = (times["array"] - times["loop"]) / arguments.tasks
    print(f"added to each of {arguments.tasks} tasks: {1000 * added:.1f} ms")
    print(f"a job of one task, all in all: {1000 * times['start']:.0f} ms")


if __name__ == "__main__":
    main()
