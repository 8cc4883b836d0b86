"""What the trainings of a study will take, reckoned from measured epochs of the systems.

conf/costs.yaml has the epochs: seconds of one thread for the training steps of `utterances` of
IEMOCAP's lengths, 768 wide, by `python -m tests.bench.bench_peers --costs`. It says no more than
whether a study takes hours or weeks, and of a system that only until a training of it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cfia.config import SHARED, Config, load
from cfia.corpus.several import conf_of
from cfia.errors import UserError
from cfia.files import read_with_bases, read_yaml
from cfia.installation import CONF
from cfia.kaldi.data_dir import DataDir
from cfia.naming import without_choices
from cfia.shapes import ShapeError, fit
from cfia.study.fold_counts import FoldCount, expected
from cfia.study.planned import PlannedExperiment
from cfia.study.study_file import INPUTS_BY_MODALITIES
from cfia.study.study_plan import StudyPlan

PATH = CONF / "costs.yaml"
ADVICE = "python -m tests.bench.bench_peers --costs conf/costs.yaml makes it again"
# After how many times their patience trainings are taken to stop: the best epoch is the
# patience-th; and at most.
USUAL_PATIENCES, MOST_PATIENCES = 2, 10
DEAREST = 3  # experiments that are named
HOUR = 3600  # seconds
DAYS = 10  # hours from which tenths of one say nothing


@dataclass(frozen=True)
class Measured:
    """Where and how some epochs were measured; `load` is what the machine had to do otherwise."""

    processor: str
    threads: int
    batches: int
    load: float
    commit: str

    @property
    def words(self) -> str:
        """Name the machine and the commit."""
        return f"{self.processor}, {self.threads} thread, load {self.load:g}, commit {self.commit}"


@dataclass(frozen=True)
class Run:
    """One run of the benchmark: seconds of an epoch by system and input."""

    measured: Measured
    seconds: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Costs:
    """conf/costs.yaml: what an epoch is of, and the runs that measured some; later ones win.

    Attributes:
        utterances: of an epoch; frames: of their audio, on average; frame_rate: in Hz.
    """

    utterances: int
    frames: float
    frame_rate: float
    runs: list[Run]

    def epoch(self, config: Path, given: str) -> float | None:
        """Find the seconds of an epoch; those of a base where a system has none of its own.

        Args:
            config: the system's file; given: its input, such as "audio".
        """
        for path, _ in read_with_bases(config, SHARED, "configuration"):
            for run in reversed(self.runs):
                if given in run.seconds.get(path.stem, {}):
                    return run.seconds[path.stem][given]
        return None


@dataclass(frozen=True)
class Cost:
    """Of what an experiment lacks: hours of one thread, and those if no training stops early.

    `told`: by the times of trainings of its system that are finished.
    """

    name: str
    hours: float
    most: float
    told: bool = False


@dataclass(frozen=True)
class Finished:
    """Trainings that are finished: their directories, and seconds of one by its system's name."""

    directories: Collection[Path]
    seconds: Mapping[str, float]


def read_costs(path: Path = PATH) -> Costs:
    """Read conf/costs.yaml.

    Raises:
        UserError: it is missing, or not of that form.
    """
    try:
        costs: Costs = fit(Costs, read_yaml(path, ADVICE))
    except ShapeError as error:
        raise UserError(f"{path}: {error}; {ADVICE}") from None
    return costs


def epochs(config: Config, options: Mapping[str, str]) -> tuple[int, int]:
    """Count the epochs of a training, as it usually stops and at most.

    One that never stops early takes all. With --refit as many as the best one's number are trained
    once more.
    """
    most, patience = config.train.epochs, config.train.patience
    refit = options["refit"] == "true"
    if patience >= most or options["selection"] == "last":
        return most * (1 + refit), most * (1 + refit)
    best = min(most, (USUAL_PATIENCES - 1) * patience)
    usual, most = min(most, best + patience), min(most, MOST_PATIENCES * patience)
    return usual + best * refit, most * (1 + refit)


def reckon(plan: StudyPlan, costs: Costs, finished: Finished) -> tuple[list[Cost], list[str]]:
    """Reckon what the experiments of a plan lack, and name those of which it cannot be.

    Probes, and experiments that test the networks of others, cost nothing.
    """
    found, without, frames = [], [], cache(_frames)
    plain = {planned.directory for planned in plan.experiments}
    for planned in plan.experiments:
        config = load(planned.files, planned.overrides)
        if config.seeded and not planned.trained_in:
            same = without_choices(planned.directory)
            taken = same != planned.directory and same in plain
            cost = _cost(plan, planned, config, costs, frames, finished, taken=taken)
            if cost is None:
                without.append(f"{planned.system}, {planned.scheme}")
            elif cost.hours:
                found.append(cost)
    return found, without


def _cost(
    plan: StudyPlan,
    planned: PlannedExperiment,
    config: Config,
    costs: Costs,
    frames: Callable[[Path, float, int], float],
    finished: Finished,
    *,
    taken: bool,
) -> Cost | None:
    """Reckon an experiment; None where nothing is known of its system or of its folds.

    Args:
        taken: whether the plan has it without --refit and --tune, too, so that what is the same is
            trained once (cfia/training/same_training.py).
    """
    name, folds = f"{planned.system}, {planned.scheme}", _folds(plan, planned)
    trainings = (len(planned.only_folds.split()) or folds.number) * len(planned.seeds)
    trainings -= sum(path.parent == planned.directory for path in finished.directories)
    networks = max(0, trainings) * max(1, len(planned.trials) - taken)
    seconds = finished.seconds.get(planned.system)
    if folds.number and seconds is not None:
        hours = networks * seconds / HOUR
        return Cost(name, hours, hours, told=True)
    given = INPUTS_BY_MODALITIES[tuple(dump.modality for dump in planned.dumps)]
    epoch = costs.epoch(planned.files[-1], given)
    if epoch is None or not folds.train:
        return None
    hours = networks * epoch * folds.train / costs.utterances / HOUR
    if given != "text":  # whose tokens are few
        rate = config.model.frame_rate or costs.frame_rate
        length = frames(planned.data, rate, config.model.max_frames)
        hours *= (length or costs.frames) / costs.frames
    usual, most = epochs(config, planned.options)
    if taken and not planned.trials:
        first = epochs(config, {**planned.options, "refit": "false"})
        usual, most = usual - first[0], most - first[1]
    return Cost(name, hours * usual, hours * most)


def _folds(plan: StudyPlan, planned: PlannedExperiment) -> FoldCount:
    """Count the folds, by the corpus's page where there is no data directory yet."""
    counted = plan.count_folds(planned)
    if counted.number or counted.reason:
        return counted
    page = conf_of(plan.request.corpus, plan.request.recipe / "conf" / "corpus.yaml")
    labels, cv, validation = (planned.options[key] for key in ("labels", "cv", "validation"))
    return expected(page, labels, cv, validation)


def _frames(data: Path, rate: float, most: int) -> float:
    """Average the frames of a corpus's audio, each cut at `most`; 0 while nobody knows."""
    try:
        durations = DataDir.load(data, needed=()).utt2dur
    except UserError:  # no data directory yet, or one that stage 1 has to make again
        return 0.0
    frames = np.minimum(np.fromiter(durations.values(), float) * rate, most)
    return float(frames.mean()) if len(frames) else 0.0


def reckoned(plan: StudyPlan, finished: Finished) -> list[str]:
    """Say in lines what a plan still costs; [] for nothing, or on a GPU, which is not measured.

    Raises:
        UserError: as `read_costs`.
    """
    if plan.request.options["ngpu"] != "0":
        return []
    costs = read_costs()
    found, without = reckon(plan, costs, finished)
    if not found:
        return []
    nj = plan.request.nj
    usual, most = (sum(hours) / nj for hours in ([c.hours for c in found], [c.most for c in found]))
    dearest = sorted(found, key=lambda cost: -cost.hours)[:DEAREST]
    first = f"  reckoned, not measured: {_time(usual)} with {nj} at a time"
    if not all(cost.told for cost in found):
        first += (
            f" if trainings stop after {USUAL_PATIENCES} times their patience, {_time(most)} if "
            f"after {MOST_PATIENCES} times or never"
        )
    lines = [
        first,
        f"  ({_sources(found, costs)})",
        f"  the dearest: {'; '.join(f'{cost.name} {_time(cost.hours)}' for cost in dearest)}, one "
        "at a time",
    ]
    if without:
        lines.append(f"  not reckoned: {'; '.join(without)}")
    return lines


def _sources(found: Sequence[Cost], costs: Costs) -> str:
    """Say from what costs are reckoned."""
    told, times = sum(c.told for c in found), "by trainings of the same systems that are finished"
    if told == len(found):
        return times
    begun = f"{told} of {len(found)} experiments {times}; the others by " if told else ""
    machines = "; ".join(dict.fromkeys(run.measured.words for run in costs.runs))
    return (
        f"{begun}epochs of features 768 wide by {PATH.parent.name}/{PATH.name}: {machines}; "
        "the study's own trainings will tell better"
    )


def _time(hours: float) -> str:
    if hours < 1:
        return f"{max(1, 60 * hours):.0f} min"
    return f"{hours:.0f} h" if hours >= DAYS else f"{hours:.1f} h"
