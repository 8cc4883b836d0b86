"""scores.json: the scores of one run, pooled, by fold and by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.files import read_json, write_json
from cfia.metrics import METRICS, f1, precision, recall
from cfia.posteriors import Posteriors, concatenate, same_utterances, select
from cfia.scoring.intervals import intervals
from cfia.scoring.significance import Comparison, compare
from cfia.scoring.subsets import subsets
from cfia.scoring.trained import Outputs, TrainedExperiment

NAME = "scores.json"


@dataclass(frozen=True)
class Scored:
    """A finished run, its posteriors, and its scores.json."""

    trained: TrainedExperiment
    outputs: Outputs
    scores: dict[str, Any]

    @property
    def subsets(self) -> dict[str, Any]:
        """The scores of each subset, by its name."""
        return dict(self.scores["pooled"]["subsets"])


def scores(posteriors: Posteriors) -> dict[str, Any]:
    """Scores in percent and the number of utterances: {"wa", "ua", "wf1", "macro_f1", "n"}."""
    n = len(posteriors.utts)
    counts = posteriors.confusion(np.zeros(n, int), 1)
    return {**{name: float(score(counts)[0]) for name, score in METRICS.items()}, "n": n}


def by_class(posteriors: Posteriors) -> dict[str, Any]:
    """Scores of each class in percent and its references, and the confusion matrix.

    {"classes": {name: {"precision", "recall", "f1", "n"}}, "confusion": counts as K lists of K,
    references down, hypotheses across}.
    """
    counts = posteriors.confusion(np.zeros(len(posteriors.utts), int), 1)[0]
    values = {"precision": precision(counts), "recall": recall(counts), "f1": f1(counts)}
    classes = {
        name: {**{key: 100 * float(of[i]) for key, of in values.items()}, "n": int(counts[i].sum())}
        for i, name in enumerate(posteriors.classes)
    }
    return {"classes": classes, "confusion": counts.tolist()}


def score_experiment(trained: TrainedExperiment, outputs: Outputs) -> dict[str, Any]:
    """Everything that scores.json holds of a finished run."""
    return score_outputs(outputs, _protocol(trained, outputs), subsets(trained, outputs))


def score_outputs(
    outputs: Outputs, protocol: Mapping[str, Any], apart: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Everything that scores.json holds of some outputs.

    Args:
        protocol: how they were made, printed as it is.
        apart: the utterances, sorted, of each subset to score.
    """
    folds = {str(fold): scores(posteriors) for fold, posteriors in outputs.folds.items()}
    values = np.array([[fold[name] for name in METRICS] for fold in folds.values()])
    spread = values.std(0, ddof=1) if len(values) > 1 else None
    return {
        "pooled": {
            **_with_intervals(outputs, None),
            **by_class(outputs.pooled),
            "subsets": {name: _with_intervals(outputs, utts) for name, utts in apart.items()},
        },
        "folds": folds,
        "fold_mean": _named(values.mean(0)),
        "fold_std": dict.fromkeys(METRICS) if spread is None else _named(spread),
        "seeds": {str(seed): _seed(parts) for seed, parts in sorted(outputs.seeds.items())},
        "protocol": dict(protocol),
    }


def _with_intervals(outputs: Outputs, utts: Sequence[str] | None) -> dict[str, Any]:
    """Scores of all utterances, or of some, and their intervals."""
    of = outputs.pooled if utts is None else select(outputs.pooled, utts)
    several = outputs.by_seed_and_speaker(utts) if len(outputs.seeds) > 1 else None
    return {**scores(of), "ci95": intervals(outputs.by_speaker(utts), several)}


def _named(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def _seed(folds: Mapping[int, Posteriors]) -> dict[str, Any]:
    return {
        "pooled": scores(concatenate(list(folds.values()))),
        "folds": {str(fold): scores(posteriors) for fold, posteriors in sorted(folds.items())},
    }


def _protocol(trained: TrainedExperiment, outputs: Outputs) -> dict[str, Any]:
    facts = {key: value for key, value in trained.protocol.items() if key != "folds"}
    return {
        "system": trained.system,
        "scheme": trained.scheme,
        **facts,
        "classes": outputs.pooled.classes,
        "folds": list(outputs.folds),
        "seeds": sorted(outputs.seeds),
        "clusters": "speaker",
        "interval": describe_interval(len(outputs.speakers), "speaker", len(outputs.seeds)),
        "oracle": trained.oracle,
        "exposure": trained.exposure,
        "missing": trained.missing,
    }


def describe_interval(n_clusters: int, cluster: str, n_seeds: int = 1) -> str:
    """How an interval was made, in words."""
    if n_clusters < 2:
        return f"no interval, for there is one {cluster} only"
    seeds = f"; the variance of {n_seeds} seeds is in it" if n_seeds > 1 else ""
    return (
        f"95 %, delete-one-{cluster} jackknife, Student's t with df = {n_clusters - 1}, logit "
        f"scale{seeds}"
    )


def write_scores(trained: TrainedExperiment, value: Mapping[str, Any]) -> bool:
    """Write scores.json into a run's directory, unless it is there; whether it was written."""
    path = trained.directory / NAME
    if path.exists() and _same(path, value):
        return False
    write_json(path, value)
    return True


def remove_scores(trained: TrainedExperiment) -> None:
    """Remove the scores of a run that is no longer finished."""
    (trained.directory / NAME).unlink(missing_ok=True)


def _same(path: Path, value: Mapping[str, Any]) -> bool:
    try:
        return bool(read_json(path) == value)
    except UserError:  # cut or edited; it is made anew
        return False


def read_scores(trained: TrainedExperiment, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Read a run's scores.json.

    Raises:
        UserError: it is not there, or not `expected`, that of its posteriors now.
    """
    path = trained.directory / NAME
    if not path.exists() or not _same(path, expected):
        raise UserError(f"{path} does not go with its posteriors; run stage 7 (scores) again")
    return dict(read_json(path))


def compare_systems(a: Scored, b: Scored) -> Comparison | None:
    """Compare two runs on the utterances that both have."""
    first, second = a.outputs.pooled, b.outputs.pooled
    common = sorted(set(first.utts) & set(second.utts))
    if not common or first.classes != second.classes:
        return None
    speakers = dict(zip(first.utts, a.outputs.groups.tolist(), strict=True))
    groups = [speakers[utt] for utt in common]
    first, second = select(first, common), select(second, common)
    same_utterances(first, second)
    return compare(first, second, groups)
