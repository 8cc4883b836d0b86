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
from cfia.scoring.scores_file import Scored, score
from cfia.scoring.trained import TrainedExperiment, find_trained
from cfia.study.study_file import Row
from cfia.study.study_plan import Entry, StudyPlan


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
        ours = "ours (oracle)" if self.scored.trained.oracle else "ours"
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
        return consistency_share(self.scored.trained) if self.scored else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation; the latter only where there are several values."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if values[1:] else None)


def results(plan: StudyPlan) -> list[Result]:
    """The results of a plan's rows, in their order.

    Raises:
        UserError: a file of a run is broken.
    """
    experiments = {trained.directory: trained for trained in _find(plan.request.expdir)}
    scored: dict[tuple[Path, tuple[int, ...]], Scored | None] = {}
    found = []
    for entry in plan.entries:
        if entry.experiment is None:
            found.append(Result(entry, None, f"not run: {entry.reason}"))
            continue
        key = (entry.experiment.directory, entry.experiment.seeds)
        if key not in scored:
            scored[key] = _scored(experiments.get(key[0]), key[1])
        found.append(Result(entry, scored[key], _status(scored[key], key[1])))
    return found


def _find(expdir: Path) -> list[TrainedExperiment]:
    """The runs that there are; none where nothing has been trained yet."""
    begun = any(expdir.glob("*/*/fold*_seed*"))
    return find_trained(expdir) if begun else []


def _scored(trained: TrainedExperiment | None, seeds: Sequence[int]) -> Scored | None:
    """The scores of a run's parts with some seeds; None where no such seed is finished."""
    trainings = [t for t in trained.trainings if t.seed in seeds] if trained else []
    if trained is None or not trainings:
        return None
    own = dataclasses.replace(trained, trainings=trainings, missing=[])
    return score(own)


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


def consistency_share(trained: TrainedExperiment) -> float | None:
    """The norm of the consistency terms' gradient, relative to the cross entropy's.

    That of history.csv at the epoch that was selected, mean over folds and seeds; None where a
    fold has none.
    """
    shares = []
    for part in trained.trainings:
        path = part.directory / "history.csv"
        if not path.exists():
            return None
        with open(path, encoding="utf-8", newline="") as handle:
            selected = [row for row in csv.DictReader(handle) if float(row["selected"])]
        shares += [float(row["con_grad_ratio"]) for row in selected]
    return float(np.mean(shares)) if shares else None
