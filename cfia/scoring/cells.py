"""The values of a table's cells: a score with its interval, a mean with its spread, a p-value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A score in percent with its interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, scores: Mapping[str, Any], metric: str) -> Estimate:
        """Take a metric of the pooled scores, or of a subset's, of a scores.json."""
        return cls(scores[metric], *(scores["ci95"][metric] or ()))


@dataclass(frozen=True)
class Spread:
    """A mean and the standard deviation beside it, where there is one."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Mean and standard deviation of some values; the latter only of several."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) if values[1:] else None)


@dataclass(frozen=True)
class Difference:
    """A signed difference, in points of percent, with its interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PValue:
    """A p-value."""

    value: float


Cell = str | int | Estimate | Spread | Difference | PValue | None


def show(cell: Cell) -> str:
    """Render a cell as text, two decimals for percent."""
    match cell:
        case None:
            return "–"
        case Estimate(value, low, high) if low is not None and high is not None:
            return f"{value:.2f} [{low:.2f}, {high:.2f}]"
        case Estimate(value):
            return f"{value:.2f}"
        case Spread(mean, std):
            return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"
        case Difference(value, low, high) if low is not None and high is not None:
            return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
        case Difference(value):
            return f"{value:+.2f}"
        case PValue(value):
            return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
        case _:
            return str(cell)
