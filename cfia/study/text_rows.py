"""Rows of a study that are tested with gold, recognised and corrupted text, by their systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cfia.asr.word_errors import Errors, read
from cfia.figures.word_errors import ErrorCurve
from cfia.naming import ASR
from cfia.options import GOLD
from cfia.scoring.cells import Estimate
from cfia.scoring.scores_file import Scored
from cfia.study.study_rows import Result


@dataclass(frozen=True)
class Block:
    """The rows of one system: the first with gold text, the others held against it.

    Attributes:
        heading: the system, in words.
        base: the row that is trained and tested with gold text, if it has text.
        rows: all of them.
    """

    heading: str
    rows: tuple[Result, ...]

    @property
    def base(self) -> Result:
        """The row that the others are held against."""
        return self.rows[0]

    @cached_property
    def curve(self) -> list[tuple[float, Estimate]]:
        """Word error rate and UA, of the trained networks by rising errors in the test's text."""
        points = [
            (rate, Estimate.of(result.scored.scores["pooled"], "ua"))
            for result in self.rows
            if result.scored and result.row.tested != ASR
            for rate in [tested_errors(result)]
            if rate is not None
        ]
        return sorted(points, key=lambda point: point[0])

    @property
    def recognised(self) -> Result | None:
        """The row that tests the base's networks with a recogniser's text, if it is finished."""
        found = (r for r in self.rows if r.row.tested == ASR and r.scored and not asr_trained(r))
        return next(found, None)

    @property
    def slope(self) -> float | None:
        """Points of UA for each percent of word errors, by least squares; None of one rate."""
        rates, values = np.array([(rate, ua.value) for rate, ua in self.curve]).reshape(-1, 2).T
        return float(np.polyfit(rates, values, 1)[0]) if len(set(rates)) > 1 else None


def has_errors(results: Sequence[Result]) -> bool:
    """Whether some rows are tested with gold text that has errors, of which there is a curve."""
    return any(isinstance(result.row.tested, int) for result in results)


def blocks(results: Sequence[Result]) -> list[Block]:
    """Group the rows by their headings."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.block, []).append(result)
    return [Block(name, tuple(group)) for name, group in groups.items()]


def asr_trained(result: Result) -> bool:
    """Whether a row is trained with a recogniser's text."""
    return result.row.protocol.get("text_source") == ASR


def tested_errors(result: Result) -> float | None:
    """Give the word error rate, in percent, of the text that a finished row is tested with.

    None where it is not known; 0 of gold text, or of none.
    """
    if result.scored is None:
        return None
    counted = count_errors(result)
    return counted.rate if counted else 0.0 if _tested_text(result.scored) == GOLD else None


def count_errors(result: Result) -> Errors | None:
    """Read the word errors of the text that a finished row is tested with; None where unknown."""
    if result.scored is None or (name := _tested_text(result.scored)) == GOLD:
        return None
    measured = read(result.scored.trained.experiment.parts["test"].data / ASR / name)
    return measured.whole if measured else None


def _tested_text(scored: Scored) -> str:
    experiment = scored.trained.experiment
    return str(experiment.protocol.get("tested_text", experiment.recogniser or GOLD))


def error_curves(results: Sequence[Result]) -> tuple[list[ErrorCurve], ErrorCurve | None]:
    """Give the curves of the systems that take text, and the level of one that takes none."""
    curves, level = [], None
    for block in blocks(results):
        if block.base.scored is None:
            continue
        if "text" in block.base.row.modalities:
            point = None
            if block.recognised and block.recognised.scored:
                ua = Estimate.of(block.recognised.scored.scores["pooled"], "ua")
                rate = tested_errors(block.recognised)
                point = None if rate is None else (rate, ua)
            curves.append(ErrorCurve(block.heading, block.curve, point))
        else:
            level = ErrorCurve(block.heading, block.curve)
    return curves, level
