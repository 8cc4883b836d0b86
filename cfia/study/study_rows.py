"""The finished runs of a study: what each row of its tables has to show."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfia.posteriors import average, concatenate
from cfia.scoring.cells import Spread
from cfia.scoring.scores_file import Scored, score_run
from cfia.scoring.trained import Run, find_runs, load
from cfia.study.study_file import Row
from cfia.study.study_plan import Entry, Plan


@dataclass(frozen=True)
class Result:
    """A row of a study and its scores, of the study's seeds alone; None where there are none.

    Attributes:
        status: why there are no scores, or which seeds are left out; "" if all is there.
    """

    entry: Entry
    scored: Scored | None
    status: str

    @property
    def row(self) -> Row:
        """The row that it is the result of."""
        return self.entry.row

    @property
    def source(self) -> str:
        """Whose numbers these are, and what they lack."""
        if self.scored is None:
            return self.status
        ours = "ours (oracle)" if self.scored.run.oracle else "ours"
        return f"{ours}; {self.status}" if self.status else ours

    def per_seed(self, metric: str) -> list[float]:
        """The pooled score of each seed."""
        assert self.scored is not None
        return [seed["pooled"][metric] for seed in self.scored.scores["seeds"].values()]

    def over_folds(self, metric: str) -> Spread:
        """The mean over folds, of single seeds: their mean, and their standard deviation."""
        assert self.scored is not None
        means = [
            float(np.mean([fold[metric] for fold in seed["folds"].values()]))
            for seed in self.scored.scores["seeds"].values()
        ]
        return spread(means)

    def share(self) -> float | None:
        """The consistency terms' share of the gradient; see `consistency_share`."""
        return consistency_share(self.scored.run) if self.scored else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation; the latter only where there are several values."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if values[1:] else None)


def results(plan: Plan) -> list[Result]:
    """The results of a plan's rows, in their order.

    Raises:
        UserError: a file of a run is broken.
    """
    runs = {run.directory: run for run in _find(plan.setting.expdir)}
    scored: dict[tuple[Path, tuple[int, ...]], Scored | None] = {}
    found = []
    for entry in plan.entries:
        if entry.training is None:
            found.append(Result(entry, None, f"not run: {entry.reason}"))
            continue
        key = (entry.training.directory, entry.training.seeds)
        if key not in scored:
            scored[key] = _scored(runs.get(key[0]), key[1])
        found.append(Result(entry, scored[key], _status(scored[key], key[1])))
    return found


def _find(expdir: Path) -> list[Run]:
    """The runs that there are; none where nothing has been trained yet."""
    begun = any(expdir.glob("*/*/fold*_seed*/config.yaml"))
    return find_runs(expdir) if begun else []


def _scored(run: Run | None, seeds: Sequence[int]) -> Scored | None:
    """The scores of a run's parts with some seeds; None where no such seed is finished."""
    parts = [part for part in run.parts if part.seed in seeds] if run else []
    if run is None or not parts:
        return None
    own = dataclasses.replace(run, parts=parts, missing=[])
    outputs = load(own)
    return Scored(own, outputs, score_run(own, outputs))


def _status(scored: Scored | None, seeds: Sequence[int]) -> str:
    if scored is None:
        return "not finished: run the study again"
    left = [str(seed) for seed in seeds if seed not in scored.outputs.seeds]
    return f"not finished: without seed {', '.join(left)}" if left else ""


def same_seeds(result: Result, seeds: Sequence[int]) -> Scored:
    """A result as if trained with some of its seeds alone."""
    assert result.scored is not None
    outputs = result.scored.outputs
    pooled = average([concatenate(list(outputs.seeds[seed].values())) for seed in seeds])
    return dataclasses.replace(result.scored, outputs=dataclasses.replace(outputs, pooled=pooled))


def consistency_share(run: Run) -> float | None:
    """The norm of the consistency terms' gradient, relative to the cross entropy's.

    That of history.csv at the epoch that was selected, mean over folds and seeds; None where a
    fold has none.
    """
    shares = []
    for part in run.parts:
        path = part.directory / "history.csv"
        if not path.exists():
            return None
        with open(path, encoding="utf-8", newline="") as handle:
            selected = [row for row in csv.DictReader(handle) if float(row["selected"])]
        shares += [float(row["con_share"]) for row in selected]
    return float(np.mean(shares)) if shares else None
