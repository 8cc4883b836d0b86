"""What run.py adds to each task of an array, against a loop of bash that starts the same commands.

Both run one task after the other, in turns. Nothing is asserted about times.

    python -m tests.bench.bench_dispatch --tasks 100
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.bench import processes, timing

RUN = processes.ROOT / "utils" / "run.py"


def main() -> None:
    """Measure, and print milliseconds per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    timing.add_arguments(parser)
    arguments = parser.parse_args()
    one = [sys.executable, str(RUN), "--max-jobs-run", "1"]
    forms = {
        "loop": ["bash", "-c", f"for ((i = 0; i < {arguments.tasks}; i++)); do bash -c true; done"],
        "array": [*one, f"JOB=1:{arguments.tasks}", "a.JOB.log", "true"],
        "start": [*one, "a.log", "true"],
    }
    with tempfile.TemporaryDirectory() as directory:
        sides = {
            name: partial(processes.run, command, cwd=Path(directory))
            for name, command in forms.items()
        }
        turns = timing.in_turns(sides, arguments.time_limit)
    seconds = {name: turns.fastest(name).seconds for name in forms}
    added = (seconds["array"] - seconds["loop"]) / arguments.tasks
    print(f"added to each of {arguments.tasks} tasks: {1000 * added:.1f} ms")
    print(f"a job of one task, all in all: {1000 * seconds['start']:.0f} ms")
    print(turns.conditions.words(), end="")
    figures = timing.Figures(arguments.json)
    figures.add({"added": added, **seconds, "conditions": turns.conditions.record()})


if __name__ == "__main__":
    main()
