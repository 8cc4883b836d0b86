"""The results of a study's rows: the scores of their experiments, where these are finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cfia.experiment import in_brackets
from cfia.scoring.cells import Spread
from cfia.scoring.scores_file import Scored, score
from cfia.scoring.significance import Comparison, holm
from cfia.scoring.trained import TrainedExperiment, begun_experiments, find_trained
from cfia.study.planned import PlannedExperiment
from cfia.study.study_file import Row
from cfia.study.study_plan import StudyPlan
from cfia.training.history import HISTORY, read_history


@dataclass(frozen=True)
class Result:
    """A row of a study and the scores of its experiment.

    The scores are of the row's seeds alone; None where none of these is finished.

    Attributes:
        status: why there are no scores, or which seeds are left out; "" if nothing is missing.
        comparison: with the row that it is held against, if there is one with scores.
        p_holm: the p-value of that comparison, corrected by Holm.
    """

    row: Row
    experiment: PlannedExperiment | None
    scored: Scored | None
    status: str
    comparison: Comparison | None = None
    p_holm: float = 1.0

    @property
    def name(self) -> str:
        """What the row is called: as its file says, else by its configuration."""
        return self.row.name or self.row.system

    @property
    def source(self) -> str:
        """The column `numbers`: ours, and which seeds are missing; or why there are none."""
        if self.scored is None:
            return self.status
        ours = f"ours{in_brackets(self.scored.trained.experiment.scheme_words)}"
        return f"{ours}; {self.status}" if self.status else ours

    def per_seed(self, metric: str) -> list[float]:
        """List the pooled score of each seed."""
        assert self.scored is not None
        return [seed["pooled"][metric] for seed in self.scored.scores["seeds"].values()]

    def over_folds(self, metric: str) -> Spread:
        """Average over folds, for single seeds; return mean and spread over the seeds."""
        assert self.scored is not None
        seeds = self.scored.scores["seeds"].values()
        folds = [[fold[metric] for fold in seed["folds"].values()] for seed in seeds]
        return Spread.of([float(np.mean(scores)) for scores in folds])


def results(plan: StudyPlan) -> list[Result]:
    """Score the rows of a plan, in their order.

    Raises:
        UserError: a file of an experiment is broken.
    """
    expdir = plan.request.expdir
    begun = begun_experiments(expdir)
    experiments = {trained.directory: trained for trained in find_trained(expdir)} if begun else {}

    @cache  # rows may share an experiment
    def scored(directory: Path, seeds: tuple[int, ...]) -> Scored | None:
        return _score_seeds(experiments.get(directory), seeds)

    rows = []
    for entry in plan.entries:
        planned = entry.experiment
        if planned is None:
            rows.append(Result(entry.row, None, None, f"not run: {entry.reason}"))
        else:
            scores = scored(planned.directory, planned.seeds)
            rows.append(Result(entry.row, planned, scores, _status(scores, planned.seeds)))
    return rows


def finished(results: Sequence[Result]) -> list[Scored]:
    """List the scores of the rows that have any."""
    return [result.scored for result in results if result.scored]


def _score_seeds(trained: TrainedExperiment | None, seeds: Sequence[int]) -> Scored | None:
    """Score an experiment by some of its seeds; None where no such seed is finished."""
    trainings = [t for t in trained.trainings if t.seed in seeds] if trained else []
    if trained is None or not trainings:
        return None
    return score(dataclasses.replace(trained, trainings=trainings, missing=[]))


def _status(scored: Scored | None, seeds: Sequence[int]) -> str:
    if scored is None:
        return "not finished: run the study again"
    left = [str(seed) for seed in seeds if seed not in scored.outputs.seeds]
    return f"not finished: without seed {', '.join(left)}" if left else ""


def compared(comparisons: Sequence[tuple[Result, Comparison | None]]) -> list[Result]:
    """Give results their comparisons, with p-values corrected for all of these together."""
    p_values = iter(holm([comparison.p_ua.p for _, comparison in comparisons if comparison]))
    return [
        dataclasses.replace(result, comparison=comparison, p_holm=next(p_values))
        if comparison
        else result
        for result, comparison in comparisons
    ]


def consistency_share(trained: TrainedExperiment) -> float | None:
    """Relate the norm of the consistency terms' gradient to that of the cross entropy.

    Read from history.csv at the epoch selected, mean over folds and seeds; None where a fold has
    no history.csv.
    """
    ratios: list[float] = []
    for training in trained.trainings:
        path = training.directory / HISTORY
        if not path.exists():
            return None
        history = read_history(path, ("con_grad_ratio", "selected"))
        ratios += list(history["con_grad_ratio"][history["selected"] != 0])
    return float(np.mean(ratios)) if ratios else None
