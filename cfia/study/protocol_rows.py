"""What each habit of a protocol table reports, and what it is worth beside the honest row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cfia.kaldi.table import read_table
from cfia.metrics import METRICS
from cfia.report.score_tables import ensemble_words
from cfia.scoring.cells import Difference, Estimate
from cfia.scoring.outputs import Outputs
from cfia.scoring.scores_file import Scored, compare_systems, difference_intervals, score_outputs
from cfia.study.study_file import BEST_SEED, ENSEMBLE, OWN_EPOCHS
from cfia.study.study_rows import Result, compared
from cfia.training.folds import read_folds
from cfia.training.history import HISTORY, read_history

SHOWN = tuple(name for name, metric in METRICS.items() if metric.in_studies)  # WA and UA
HONEST = "honest"
OWN_EPOCH = "WA and UA of different epochs"
SESSIONS_SHARED = "sessions of the test in training"
# How the points of a row, and their interval, were made.
PAIRED, BY_FOLD, APART = "paired", "by fold", "apart"


@dataclass(frozen=True)
class Habit:
    """A row of a protocol table.

    Attributes:
        result: its experiment; with the comparison with the base, where there is one.
        scores: what the row reports, by metric; {} where it is not finished.
        points: by metric, how much that is above the base; {} without scores of both.
        how: how these were made; "" without.
        stamps: what the row is, beside being trained: each makes its scores look better.
        n: the number of utterances that it tests.
        chosen: the seed that was chosen on the test folds; None where none was.
    """

    result: Result
    scores: Mapping[str, Estimate]
    points: Mapping[str, Difference]
    how: str
    stamps: tuple[str, ...]
    n: int
    chosen: int | None = None

    @property
    def honest(self) -> bool:
        """Whether no choice was made on the test folds, and no speaker of the test has trained."""
        return not self.stamps

    @property
    def in_words(self) -> str:
        """What it is: its stamps, or that it is honest and what else must be known."""
        if self.stamps or self.result.scored is None:
            return "; ".join(self.stamps)
        return "; ".join([HONEST, *_remarks(self.result.scored)])

    def settled(self, metric: str) -> bool:
        """Whether the interval of its points leaves 0 out."""
        points = self.points.get(metric)
        return bool(points and points.low is not None and points.high is not None
                    and not points.low <= 0 <= points.high)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """The rows of one system; the first is the honest base that the others are held against."""

    heading: str
    habits: tuple[Habit, ...]

    @property
    def base(self) -> Habit:
        """The row that the others are held against."""
        return self.habits[0]

    @cached_property
    def others(self) -> list[Habit]:
        """The rows that have points over the base."""
        return [habit for habit in self.habits[1:] if habit.points]


def blocks(results: Sequence[Result]) -> list[Block]:
    """Group the rows by their headings; p-values are corrected within a block.

    Raises:
        UserError: a history.csv is damaged.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.block, []).append(result)
    return [_block(heading, group) for heading, group in groups.items()]


def _block(heading: str, group: Sequence[Result]) -> Block:
    base = group[0].scored
    habits = [_habit(result, base if result is not group[0] else None) for result in group]
    tested = compared([(habit.result, habit.result.comparison) for habit in habits])
    return Block(heading, tuple(replace(h, result=r) for h, r in zip(habits, tested, strict=True)))


def _habit(result: Result, base: Scored | None) -> Habit:
    scored = result.scored
    if scored is None:
        return Habit(result, {}, {}, "", (), 0)
    reported, stamps = result.row.reported, list(scored.trained.experiment.words)
    if reported in (BEST_SEED, ENSEMBLE) and len(scored.outputs.seeds) < 2:
        return Habit(replace(result, status="one seed: there are no others beside it"), {}, {}, "",
                     (), 0)  # fmt: skip
    if reported == OWN_EPOCHS:
        return _own_epochs(result, scored, base, stamps)
    outputs, chosen = scored.outputs, None
    if reported == BEST_SEED:
        chosen = best_seed(scored)
        outputs = outputs.only([chosen])
        stamps.append(f"best of {len(scored.outputs.seeds)} seeds on the test folds")
    elif reported == ENSEMBLE:
        outputs = outputs.ensemble()
        stamps.append(ensemble_words(scored.scores))
    pooled = score_outputs(outputs, {}, {})["pooled"] if reported else scored.scores["pooled"]
    habit = Habit(
        result=result,
        scores={name: Estimate.of(pooled, name) for name in SHOWN},
        points={},
        how="",
        stamps=tuple(stamps),
        n=len(outputs.utts),
        chosen=chosen,
    )
    return _against(habit, outputs, base) if base else habit


def best_seed(scored: Scored) -> int:
    """Choose the seed whose networks have the highest pooled UA on the test folds, the first."""
    seeds = scored.scores["seeds"]
    return int(max(seeds, key=lambda seed: seeds[seed]["pooled"]["ua"]))


def _with_seeds_of(base: Scored, scored: Scored) -> Outputs | None:
    """Keep the seeds of a base that another experiment has; None where there is none."""
    common = [seed for seed in base.outputs.seeds if seed in scored.outputs.seeds]
    return base.outputs.only(common) if common else None


def _against(habit: Habit, outputs: Outputs, base: Scored) -> Habit:
    """Hold a row against the base: on the same utterances, or beside its score."""
    assert habit.result.scored is not None
    other = _with_seeds_of(base, habit.result.scored)
    if other is None:
        return habit
    below = {name: float(METRICS[name](other.confusions(other.utts).sum(1)).mean())
             for name in SHOWN}  # fmt: skip
    if outputs.utts != other.utts:
        # Of other utterances: its own interval, seen from the base.
        moved = {name: _minus(score, below[name]) for name, score in habit.scores.items()}
        return replace(habit, points=moved, how=APART)
    ends = difference_intervals(outputs, other)
    points = {name: Difference(score.value - below[name], *(ends[name] or ()))
              for name, score in habit.scores.items()}  # fmt: skip
    # Of what was chosen for its score no test can say that it is better.
    comparison = compare_systems(outputs, other) if habit.chosen is None else None
    result = replace(habit.result, comparison=comparison)
    return replace(habit, points=points, how=PAIRED, result=result)


def _minus(score: Estimate, value: float) -> Difference:
    ends = [None if end is None else end - value for end in (score.low, score.high)]
    return Difference(score.value - value, *ends)


def _own_epochs(result: Result, scored: Scored, base: Scored | None, stamps: list[str]) -> Habit:
    """Take WA and UA of each fold at epochs of their own, the best on the test fold.

    These are means over the folds, since no posteriors of those epochs are kept; so the base is
    taken over the folds too, and the folds are what the interval is over.
    """
    best = own_epochs(scored)
    scores = {name: Estimate(float(values.mean())) for name, values in best.items()}
    stamps.append(OWN_EPOCH)
    habit = Habit(result, scores, {}, "", tuple(stamps), len(scored.outputs.utts))
    if base is None or base.outputs.folds != scored.outputs.folds:
        return habit
    seeds = [seed for seed in scored.outputs.seeds if seed in base.outputs.seeds]
    if not seeds:
        return habit
    rows = [list(scored.outputs.seeds).index(seed) for seed in seeds]
    points = {
        name: _over_folds(values[rows].mean(0) - _of_folds(base, name, seeds).mean(0))
        for name, values in best.items()
    }
    return replace(habit, points=points, how=BY_FOLD)


def own_epochs(scored: Scored) -> dict[str, npt.NDArray[np.float64]]:
    """Read the highest WA and the highest UA of each training's epochs, (seeds, folds).

    Raises:
        UserError: a history.csv is damaged.
    """
    columns = [f"valid_{name}" for name in SHOWN]  # of the test fold, for it has selected
    found: dict[str, list[float]] = {name: [] for name in SHOWN}
    for training in scored.trained.trainings:  # by seed and fold
        history = read_history(training.directory / HISTORY, columns)
        for name in SHOWN:
            found[name].append(float(history[f"valid_{name}"].max()))
    seeds = len(scored.outputs.seeds)
    return {name: np.array(values).reshape(seeds, -1) for name, values in found.items()}


def _of_folds(scored: Scored, name: str, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
    """List a score of each fold by some seeds, (seeds, folds)."""
    of_seeds = [scored.scores["seeds"][str(seed)]["folds"] for seed in seeds]
    return np.array([[fold[name] for fold in folds.values()] for folds in of_seeds])


def _over_folds(differences: npt.NDArray[np.float64]) -> Difference:
    """Average differences of folds, (K,), with Student's t on K - 1 degrees of freedom."""
    from scipy import stats

    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean)
    width = float(stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences))
    return Difference(mean, mean - width, mean + width)


def _remarks(scored: Scored) -> list[str]:
    """Say of an honest row what else must be known of it."""
    experiment = scored.trained.experiment
    remarks = []
    if experiment.protocol["selection"] == "last":
        remarks.append(f"the recipe's {experiment.config.train.epochs} epochs")
    if experiment.refit:
        remarks.append("refitted for the epochs that validation selected")
    if experiment.best_of:
        remarks.append(f"tuned, best of {experiment.best_of} on validation")
    if _shares_sessions(scored):
        remarks.append(SESSIONS_SHARED)
    return remarks


def _shares_sessions(scored: Scored) -> bool:
    """Whether sessions of a fold's test stand in its training: the other side of its dialogues."""
    path = scored.trained.data / "utt2session"
    if not path.exists():
        return False
    sessions = read_table(path)
    folds = read_folds(scored.trained.experiment.folds.directory)
    return any(
        {sessions.get(utt) for utt in fold.train} & {sessions.get(utt) for utt in fold.test}
        for fold in folds.values()
    )
