"""The one way in which all benchmarks take times, so that their figures can be believed.

The sides of a comparison alternate, so that all see the same machine, and take turns until the
fastest two of each agree within 5 %. Where they don't before a time limit, or where other processes
kept a processor busy meanwhile, the figure says "not alone", and why.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfia.files import write_if_changed
from tests.bench.others import BEFORE, Others, Watch

AGREE = 0.05  # of the fastest: how far the second fastest turn of a side may be from it
BUSY = 0.1  # processors that others may keep busy beside a measurement


@dataclass(frozen=True)
class Turn:
    """One turn of a side: seconds on the clock and of processors, and what else it found."""

    seconds: float
    cpu: float
    found: Any = None


@dataclass(frozen=True)
class Conditions:
    """Under what conditions a figure was taken.

    Attributes:
        not_alone: why the figure may be wrong; "" where nothing speaks against it.
        turns: of each side; gaps: of each, by what share its second fastest took longer than its
            fastest, None where there was one turn.
    """

    not_alone: str
    turns: int
    gaps: dict[str, float | None]
    others: Others

    def words(self) -> str:
        """What a printed figure says of it: nothing, or a line."""
        return f"  not alone: {self.not_alone}\n" if self.not_alone else ""

    def record(self) -> dict[str, Any]:
        """What a figure's JSON says of it."""
        return asdict(self)


@dataclass(frozen=True)
class Turns:
    """All turns of a comparison, by side, and the conditions."""

    of: dict[str, list[Turn]]
    conditions: Conditions

    def fastest(self, side: str) -> Turn:
        """The turn that took the fewest seconds on the clock."""
        return min(self.of[side], key=lambda turn: turn.seconds)

    def least(self, side: str) -> tuple[float, float]:
        """The fewest seconds on the clock, and the fewest of processors."""
        turns = self.of[side]
        return min(turn.seconds for turn in turns), min(turn.cpu for turn in turns)


def timed(function: Callable[[], Any]) -> Turn:
    """Call a function in this process; its value is what the turn has found."""
    began, began_cpu = time.perf_counter(), time.process_time()
    found = function()
    return Turn(time.perf_counter() - began, time.process_time() - began_cpu, found)


def in_turns(
    sides: Mapping[str, Callable[[], Turn]], time_limit: float, before: float = BEFORE
) -> Turns:
    """Give each side a turn after the other, until all agree with themselves.

    Args:
        sides: by their names; each call is a turn.
        time_limit: seconds after which no turn is begun that would probably end later; each side
            has one turn all the same.
        before: seconds to look at the machine before the first turn.
    """
    watch, began = Watch(before=before), time.monotonic()
    of: dict[str, list[Turn]] = {side: [] for side in sides}
    rounds = 0
    while True:
        for side, turn in sides.items():
            of[side].append(turn())
        rounds += 1
        spent = time.monotonic() - began
        if all(agree(turns) for turns in of.values()) or spent * (1 + 1 / rounds) > time_limit:
            return Turns(of, _conditions(of, watch.so_far()))


def once(turn: Callable[[], Turn]) -> tuple[Turn, Conditions]:
    """Take a turn of what cannot be repeated; what others do alone can speak against it."""
    watch = Watch(before=0)
    taken, others = turn(), watch.so_far()
    return taken, Conditions(_busy(others), 1, {}, others)


def gap(turns: list[Turn]) -> float | None:
    """By what share the second fastest took longer than the fastest; None for a single turn."""
    fastest = sorted(turn.seconds for turn in turns)[:2]
    return fastest[1] / fastest[0] - 1 if len(fastest) == 2 else None


def agree(turns: list[Turn]) -> bool:
    """Whether the fastest two agree."""
    found = gap(turns)
    return found is not None and found <= AGREE


def _conditions(of: Mapping[str, list[Turn]], others: Others) -> Conditions:
    gaps = {side: gap(turns) for side, turns in of.items()}
    apart = [
        f"the fastest two of {side} differ by {found:.0%}"
        for side, found in gaps.items()
        if found is not None and found > AGREE
    ]
    single = ["there was one turn of each side"] if None in gaps.values() else []
    reasons = [*filter(None, [_busy(others)]), *single, *apart]
    return Conditions("; ".join(reasons), len(next(iter(of.values()))), gaps, others)


def _busy(others: Others) -> str:
    if others.during is None or others.during <= BUSY:
        return ""
    return f"other processes kept {others.during:.1f} processors busy"


def add_arguments(parser: argparse.ArgumentParser, *, turns: bool = True) -> None:
    """Add the options that all benchmarks have."""
    if turns:
        parser.add_argument(
            "--time_limit", type=float, default=600, metavar="SECONDS",
            help="of a comparison: no more turns after it (default: 600)",
        )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the figures there, too")


class Figures:
    """The figures of a benchmark, which are in its file as soon as they are there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[Any] = []

    def add(self, result: Any) -> None:
        """Add a dataclass or a dictionary."""
        self._rows.append(result if isinstance(result, dict) else asdict(result))
        if self._path is not None:
            write_if_changed(self._path, json.dumps(self._rows, indent=2) + "\n")
