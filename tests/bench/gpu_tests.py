"""Run the tests that are marked gpu, and count what became of them.

python -m tests.bench.gpu_tests --json tests.json
"""

from __future__ import annotations

import argparse
import sys

import pytest

from tests.bench import timing
from tests.bench.processes import ROOT


class Outcomes:
    """A plugin of pytest's: the tests by outcome."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test that fails while it is set up or taken down, this is what counts."""
        if report.when == "call" or report.outcome != "passed":
            self.of[report.outcome].append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported has failed."""
        if report.failed:
            self.of["failed"].append(report.nodeid)


def main() -> None:
    """Run them, in those files alone that have any, for others may import what is not here."""
    parser = argparse.ArgumentParser(description="Run the tests that are marked gpu.")
    timing.add_arguments(parser, turns=False)
    args = parser.parse_args()
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text()]
    outcomes = Outcomes()
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    code = pytest.main([*options, *map(str, sorted(files))], plugins=[outcomes])
    found = outcomes.of
    timing.Figures(args.json).add({**{k: len(v) for k, v in found.items()}, "names": found})
    sys.exit(code)


if __name__ == "__main__":
    main()
