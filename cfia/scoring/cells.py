"""Values as they stand in a table: a score with its interval, a mean with its spread, a p-value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A score in percent with its interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, scores: Mapping[str, Any], metric: str) -> Estimate:
        """A metric of the pooled scores, or of a subset's, of a scores.json."""
        return cls(scores[metric], *(scores["ci95"][metric] or ()))


@dataclass(frozen=True)
class Spread:
    """A mean and the standard deviation beside it, where there is one."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Difference:
    """A signed difference, in points of percent."""

    value: float


@dataclass(frozen=True)
class PValue:
    """A p-value."""

    value: float


Cell = str | int | Estimate | Spread | Difference | PValue | None


def show(cell: Cell) -> str:
    """A cell as text, two decimals for percent."""
    match cell:
        case None:
            return "–"
        case Estimate(value, low, high) if low is not None and high is not None:
            return f"{value:.2f} [{low:.2f}, {high:.2f}]"
        case Estimate(value):
            return f"{value:.2f}"
        case Spread(mean, std):
            return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"
        case Difference(value):
            return f"{value:+.2f}"
        case PValue(value):
            return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
        case _:
            return str(cell)
