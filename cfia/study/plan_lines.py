"""What a plan trains, in lines for the screen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cfia.report.score_tables import counted
from cfia.study.planned import PlannedExperiment
from cfia.study.study_plan import StudyPlan


def describe_plan(plan: StudyPlan, finished: Iterable[Path]) -> list[str]:
    """Describe a plan in lines for the screen; `finished` are directories of trainings."""
    done = set(finished)
    counts = [_count(plan, planned) for planned in plan.experiments]
    lines = [
        f"  {planned.system}, {planned.scheme}: {_in_words(plan, planned, count, done)}"
        for planned, count in zip(plan.experiments, counts, strict=True)
    ]
    total = sum(
        count for planned, count in zip(plan.experiments, counts, strict=True)
        if not planned.trained_in
    )  # fmt: skip
    left = f", {len(done)} done, {total - len(done)} to do" if done else ""
    trainings = f"{counted(total, 'training')}{left}" if total else "trainings not counted yet"
    head = f"study {plan.study.name}: " if plan.study.name else ""
    head += f"{trainings}; {counted(len(plan.experiments), 'experiment')}{_seeds_in_words(plan)}"
    left_out = [
        f"  not run ({entry.row.table}): {plan.describe(entry.row)}: {entry.reason}"
        for entry in plan.entries
        if entry.reason
    ]
    return [head, *lines, *dict.fromkeys(left_out)]


def _count(plan: StudyPlan, planned: PlannedExperiment) -> int:
    """Count the trainings of an experiment; 0 where its folds are not known yet."""
    folds = plan.count_folds(planned).number
    if not folds:
        return 0
    alone = planned.only_folds.split()
    return len(alone or plan.request.folds(planned.folds, folds)) * len(planned.seeds)


def _in_words(plan: StudyPlan, planned: PlannedExperiment, count: int, done: set[Path]) -> str:
    trained = sum(path.parent == planned.directory for path in done)
    tables = dict.fromkeys(
        entry.row.table for entry in plan.entries
        if entry.experiment and entry.experiment.directory == planned.directory
    )  # fmt: skip
    said = counted(count, "training") if count else "folds not known before stage 1"
    if count and planned.trained_in:
        said = f"{counted(count, 'network')} of {planned.trained_in.system}"
    said += f", each the best of {len(planned.trials)}" if planned.trials else ""
    said += f", {trained} done" if trained else ""
    return said + (f" ({', '.join(tables)})" if plan.study.name else "")


def _seeds_in_words(plan: StudyPlan) -> str:
    """Name the seeds: `, seeds 1 2`; where experiments differ, those of each kind."""
    kinds = dict.fromkeys(planned.seeds for planned in plan.experiments if planned.seeded)
    words = [" ".join(map(str, seeds)) for seeds in kinds]
    if not words:
        return ""
    return f", seeds {' or '.join(words)}{', by row' * (len(words) > 1)}"
