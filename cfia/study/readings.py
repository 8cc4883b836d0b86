"""The table of the choices that the paper leaves open, moved one at a time, beside the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cfia.report.probe_note import probe_notes
from cfia.report.score_tables import describe_protocol, if_one_seed
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Spread
from cfia.scoring.scores_file import compare_systems
from cfia.scoring.significance import Comparison
from cfia.study.paper_tables import (
    Corpus,
    difference_cells,
    difference_columns,
    difference_notes,
    stand_in_notes,
)
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, compared, finished


def _columns(choices: Sequence[Result]) -> list[Column]:
    return [
        Column("point", "open point"),
        Column("here", "as we read it"),
        Column("value", "moved to"),
        Column("ua", "UA"),
        Column("beyond", "beyond the seeds"),
        *difference_columns(choices),
        Column("wa", "WA"),
        Column("system", "system"),
        Column("source", "numbers"),
        Column("protocol", "protocol"),
        Column("exposure", "encoders saw"),
    ]


@dataclass(frozen=True)
class Sweep:
    """A base and the choices moved from it; a choice counts by the spread of the base's seeds."""

    heading: str
    base: Result
    moved: tuple[Result, ...]

    def seeds(self) -> list[float]:
        """List the base's pooled UA of each seed; [] where the base has none."""
        return self.base.per_seed("ua") if self.base.scored else []

    def beyond(self, result: Result) -> bool:
        """Whether a choice moves UA (the mean of its seeds) out of the range of the base's."""
        seeds, value = self.seeds(), float(np.mean(result.per_seed("ua")))
        return not min(seeds) <= value <= max(seeds)


def sweeps(results: Sequence[Result]) -> list[Sweep]:
    """Group the rows by their headings, the first of each group the base."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.block, []).append(result)
    return [Sweep(name, group[0], tuple(group[1:])) for name, group in groups.items()]


def moved(result: Result) -> dict[str, str]:
    """Describe in words what a row moves: key to value."""
    return {key: _word(value) for key, value in result.row.moved.items()}


def _word(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_word, value)) or "none"
    return str(value)


def readings_table(plan: StudyPlan, results: Sequence[Result], corpus: Corpus) -> Table:
    """Lay out a row per choice: what it does to UA, against the base with the same seeds."""
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    choices: list[Result] = []
    families: list[str] = []
    for sweep in sweeps(results):
        # The base first, then its choices; p-values are corrected within the sweep.
        headings[len(rows)] = sweep.heading
        ours = compared([(result, _against_base(sweep, result)) for result in sweep.moved])
        rows += [_cells(plan, sweep, result) for result in (sweep.base, *ours)]
        choices += ours
        n = sum(result.comparison is not None for result in ours)
        families.append(f"{sweep.heading}, {n}")
    # From what the columns mean to what holds for this corpus and this recipe.
    notes = [
        *corpus.notes,
        *probe_notes([sweep.base.scored for sweep in sweeps(results) if sweep.base.scored]),
        *_notes(sweeps(results)),
        *difference_notes(choices, families),
        *_left_out(plan),
        *stand_in_notes(plan, results),
    ]
    title = f"What the paper leaves open, moved one choice at a time, on {corpus.title}"
    title += if_one_seed(finished(choices))
    return Table(title, _columns(choices), rows, notes, headings)


def _against_base(sweep: Sweep, result: Result) -> Comparison | None:
    """Compare a choice with the base, by the seeds that both have."""
    ours, base = result.scored, sweep.base.scored
    if ours is None or base is None:
        return None
    common = [seed for seed in ours.outputs.seeds if seed in base.outputs.seeds]
    if not common:
        return None
    return compare_systems(ours.outputs.only(common), base.outputs.only(common))


def _cells(plan: StudyPlan, sweep: Sweep, result: Result) -> dict[str, Cell]:
    changes = moved(result)
    cells: dict[str, Cell] = {
        "point": ", ".join(changes) or result.row.name or "the base",
        "value": ", ".join(changes.values()) or None,
        "system": result.row.system,
        "source": result.source,
    }
    if sweep.base.scored is not None:
        base = sweep.base.scored.trained.experiment
        settings = {**base.protocol, **base.config.flat()}
        cells["here"] = ", ".join(_word(settings[key]) for key in changes) or None
    if result.scored is None:
        return cells
    trained = result.scored.trained
    cells |= {
        "system": trained.label,
        "protocol": describe_protocol(trained, plan.standard),
        "exposure": trained.exposure_text,
        "ua": Spread.of(result.per_seed("ua")),
        "wa": Spread.of(result.per_seed("wa")),
    }
    if len(sweep.seeds()) > 1 and result is not sweep.base:
        cells["beyond"] = "yes" if sweep.beyond(result) else "no"
    return {**cells, **difference_cells(result)}


def _notes(shown: Sequence[Sweep]) -> list[str]:
    notes = [
        "UA, WA: pooled over the test utterances of all folds, of single seeds; with several seeds "
        "their mean ± standard deviation. Differences are to the base with the same seeds.",
        "Beyond the seeds: UA is outside the range that seeds alone give the base.",
    ]
    for sweep in shown:
        seeds, finished = sweep.seeds(), [result for result in sweep.moved if result.scored]
        if len(seeds) < 2 or not finished:
            continue
        means = [float(np.mean(result.per_seed("ua"))) for result in finished]
        beyond = sum(sweep.beyond(result) for result in finished)
        notes.append(
            f"{sweep.heading}: {len(seeds)} seeds of the base give UA from {min(seeds):.2f} to "
            f"{max(seeds):.2f} (standard deviation {Spread.of(seeds).std:.2f}); {len(means)} "
            f"choices give {min(means):.2f} to {max(means):.2f}, {beyond} of them beyond the seeds."
        )
    return notes


def _left_out(plan: StudyPlan) -> list[str]:
    same = [" ".join(f"{key} {_word(v)}" for key, v in row.moved.items()) for row in plan.left_out]
    return [f"Left out, for the base has them here: {', '.join(same)}."] if same else []
