"""The choices that the paper leaves open, moved one at a time, against the spread of the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cfia.report.score_tables import describe_protocol
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Spread
from cfia.scoring.scores_file import compare_systems
from cfia.scoring.significance import Comparison
from cfia.study.paper_tables import (
    DIFFERENCE,
    Corpus,
    Line,
    difference_cells,
    difference_notes,
    stand_in_notes,
    with_holm,
)
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, same_seeds, spread

COLUMNS = (
    Column("point", "open point"),
    Column("here", "as we read it"),
    Column("value", "moved to"),
    Column("ua", "UA"),
    Column("beyond", "beyond the seeds"),
    *DIFFERENCE,
    Column("wa", "WA"),
    Column("system", "system"),
    Column("source", "numbers"),
    Column("protocol", "protocol"),
    Column("exposure", "encoders saw"),
)


@dataclass(frozen=True)
class RowGroup:
    """A base and the choices moved from it; the base's seeds are the measure."""

    heading: str
    base: Result
    moved: tuple[Result, ...]

    def seeds(self) -> list[float]:
        """The base's pooled UA of each seed; [] where the base has none."""
        return self.base.per_seed("ua") if self.base.scored else []

    def beyond(self, result: Result) -> bool:
        """Whether a choice moves UA (the mean of its seeds) out of the range of the base's."""
        seeds, value = self.seeds(), float(np.mean(result.per_seed("ua")))
        return not min(seeds) <= value <= max(seeds)


def is_readings(results: Sequence[Result]) -> bool:
    """Whether the rows of a table move choices."""
    return any(result.row.moved for result in results)


def blocks(results: Sequence[Result]) -> list[RowGroup]:
    """The rows by their headings, the first of each the base."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.block, []).append(result)
    return [RowGroup(name, group[0], tuple(group[1:])) for name, group in groups.items()]


def moved(result: Result) -> dict[str, str]:
    """What a row moves, in words: key to value."""
    return {key: _word(value) for key, value in result.row.moved.items()}


def _word(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_word, value)) or "none"
    return str(value)


def readings_table(plan: StudyPlan, results: Sequence[Result], corpus: Corpus) -> Table:
    """A row per choice: what it does to UA, against the base with the same seeds."""
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    lines: list[Line] = []
    for block in blocks(results):
        headings[len(rows)] = block.heading
        compared = with_holm([(result, _against_base(block, result)) for result in block.moved])
        rows.append(_cells(block, Line(block.base, None, 1.0)))
        rows += [_cells(block, line) for line in compared]
        lines += compared
    notes = [
        *corpus.notes,
        *_notes(blocks(results)),
        *difference_notes(lines),
        *_left_out(plan),
        *stand_in_notes(plan, results),
    ]
    title = f"What the paper leaves open, moved one choice at a time, on {corpus.title}"
    return Table(title, COLUMNS, rows, notes, headings)


def _against_base(block: RowGroup, result: Result) -> Comparison | None:
    """The comparison with the base, of the seeds that both have."""
    if result.scored is None or block.base.scored is None:
        return None
    theirs = block.base.scored.outputs.seeds
    common = [seed for seed in result.scored.outputs.seeds if seed in theirs]
    if not common:
        return None
    return compare_systems(same_seeds(result, common), same_seeds(block.base, common))


def _cells(block: RowGroup, line: Line) -> dict[str, Cell]:
    result = line.result
    of = moved(result)
    cells: dict[str, Cell] = {
        "point": ", ".join(of) or "the base",
        "value": ", ".join(of.values()) or None,
        "system": result.row.system,
        "source": result.source,
    }
    if block.base.scored is not None:
        base = block.base.scored.trained.experiment
        settings = {**base.protocol, **base.config.flat()}
        cells["here"] = ", ".join(_word(settings[key]) for key in of) or None
    if result.scored is None:
        return cells
    trained = result.scored.trained
    cells |= {
        "system": trained.label,
        "protocol": describe_protocol(trained),
        "exposure": trained.exposure_text,
        "ua": spread(result.per_seed("ua")),
        "wa": spread(result.per_seed("wa")),
    }
    if len(block.seeds()) > 1 and result is not block.base:
        cells["beyond"] = "yes" if block.beyond(result) else "no"
    return {**cells, **difference_cells(line)}


def _notes(found: Sequence[RowGroup]) -> list[str]:
    notes = [
        "UA, WA: pooled over the test utterances of all folds, of single seeds; with several seeds "
        "their mean ± standard deviation. Differences are to the base with the same seeds.",
        "Beyond the seeds: UA is outside the range that seeds alone give the base.",
    ]
    for block in found:
        seeds, finished = block.seeds(), [r for r in block.moved if r.scored]
        if len(seeds) < 2 or not finished:
            continue
        means = [float(np.mean(result.per_seed("ua"))) for result in finished]
        beyond = sum(block.beyond(result) for result in finished)
        of = spread(seeds)
        assert isinstance(of, Spread)
        notes.append(
            f"{block.heading}: {len(seeds)} seeds of the base give UA from {min(seeds):.2f} to "
            f"{max(seeds):.2f} (standard deviation {of.std:.2f}); {len(means)} choices give "
            f"{min(means):.2f} to {max(means):.2f}, {beyond} of them beyond the seeds."
        )
    return notes


def _left_out(plan: StudyPlan) -> list[str]:
    same = [" ".join(f"{key} {_word(v)}" for key, v in row.moved.items()) for row in plan.left_out]
    return [f"Left out, for the base has them here: {', '.join(same)}."] if same else []


def label(values: Mapping[str, str]) -> str:
    """A choice on one line of the picture."""
    return ", ".join(f"{key}: {value}" for key, value in values.items())
