"""scores.json: the scores of one experiment, pooled, by fold and by seed."""

from __future__ import annotations

import logging
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
from cfia.scoring.cells import Estimate, show
from cfia.scoring.intervals import intervals
from cfia.scoring.outputs import Outputs, load
from cfia.scoring.significance import Comparison, compare
from cfia.scoring.subsets import subsets
from cfia.scoring.trained import TrainedExperiment, find_trained

log = logging.getLogger(__name__)

NAME = "scores.json"


@dataclass(frozen=True)
class Scored:
    """A finished experiment, its posteriors, and what its scores.json holds."""

    trained: TrainedExperiment
    outputs: Outputs
    scores: dict[str, Any]

    @property
    def subsets(self) -> dict[str, Any]:
        """The scores of each subset, by its name."""
        return dict(self.scores["pooled"]["subsets"])


def scores(posteriors: Posteriors) -> dict[str, Any]:
    """Compute scores in percent, and count utterances: {"wa", "ua", "wf1", "macro_f1", "n"}."""
    n = len(posteriors.utts)
    counts = posteriors.confusion(np.zeros(n, int), 1)
    return {**{name: float(score(counts)[0]) for name, score in METRICS.items()}, "n": n}


def by_class(posteriors: Posteriors) -> dict[str, Any]:
    """Compute the scores of each class in percent, its references, and the confusion matrix.

    {"classes": {name: {"precision", "recall", "f1", "n"}}, "confusion": counts as K lists of K,
    references down, hypotheses across}.
    """
    counts = posteriors.confusion(np.zeros(len(posteriors.utts), int), 1)[0]
    values = {"precision": precision(counts), "recall": recall(counts), "f1": f1(counts)}
    classes = {
        name: {**{key: 100 * float(v[i]) for key, v in values.items()}, "n": int(counts[i].sum())}
        for i, name in enumerate(posteriors.classes)
    }
    return {"classes": classes, "confusion": counts.tolist()}


def score(trained: TrainedExperiment) -> Scored:
    """Compute the scores of a finished experiment from its posteriors.

    Raises:
        UserError: as `load` and `subsets`.
    """
    outputs = load(trained)
    scores = score_outputs(outputs, _protocol(trained, outputs), subsets(trained, outputs))
    return Scored(trained, outputs, scores)


def score_outputs(
    outputs: Outputs, protocol: Mapping[str, Any], subsets: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Compute all that scores.json holds of some outputs.

    Args:
        protocol: how they were made; it is written as it is.
        subsets: the utterances, sorted, of each subset to score.
    """
    folds = {str(fold): scores(posteriors) for fold, posteriors in outputs.folds.items()}
    values = np.array([[fold[name] for name in METRICS] for fold in folds.values()])
    spread = values.std(0, ddof=1) if len(values) > 1 else None
    return {
        "pooled": {
            **_with_intervals(outputs, outputs.pooled.utts),
            **by_class(outputs.pooled),
            "subsets": {name: _with_intervals(outputs, utts) for name, utts in subsets.items()},
        },
        "folds": folds,
        "fold_mean": _named(values.mean(0)),
        "fold_std": dict.fromkeys(METRICS) if spread is None else _named(spread),
        "seeds": {
            str(seed): _seed_scores(by_fold) for seed, by_fold in sorted(outputs.seeds.items())
        },
        "protocol": dict(protocol),
    }


def _with_intervals(outputs: Outputs, utts: Sequence[str]) -> dict[str, Any]:
    """Compute the scores of some utterances, sorted, and their intervals."""
    seeds = outputs.by_seed_and_speaker(utts) if len(outputs.seeds) > 1 else None
    intervals_ = intervals(outputs.by_speaker(utts), seeds)
    return {**scores(select(outputs.pooled, utts)), "ci95": intervals_}


def _named(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def _seed_scores(folds: Mapping[int, Posteriors]) -> dict[str, Any]:
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
    """Describe in words how an interval was made."""
    if n_clusters < 2:
        return f"no interval, for there is one {cluster} only"
    seeds = f"; the variance of {n_seeds} seeds is in it" if n_seeds > 1 else ""
    return (
        f"95 %, delete-one-{cluster} jackknife, Student's t with df = {n_clusters - 1}, logit "
        f"scale{seeds}"
    )


def score_all(expdir: Path) -> None:
    """Write a scores.json for every finished experiment (stage 7); say which are not finished.

    Raises:
        UserError: no experiment is finished, or a file of one is broken.
    """
    experiments = find_trained(expdir)
    for trained in experiments:
        if trained.missing:
            log.warning("%s: %s", trained.directory, trained.lacks)
        path = trained.directory / NAME
        if not trained.finished:
            path.unlink(missing_ok=True)
            continue
        scores = score(trained).scores
        unchanged = _holds(path, scores)
        if not unchanged:
            write_json(path, scores)
        pooled = scores["pooled"]
        log.info(
            "%s%s: UA %s, WA %.2f, %d utterances%s",
            trained.directory, " (oracle)" if trained.oracle else "",
            show(Estimate.of(pooled, "ua")), pooled["wa"], pooled["n"],
            " (nothing changed)" if unchanged else "",
        )  # fmt: skip
    if not any(trained.finished for trained in experiments):
        raise UserError(
            f"no experiment under {expdir} has the posteriors of all its folds; run stage 6 again"
        )


def _holds(path: Path, scores: Mapping[str, Any]) -> bool:
    """Whether a scores.json is there and holds these scores."""
    try:
        return path.exists() and bool(read_json(path) == scores)
    except UserError:  # cut or edited; it is made anew
        return False


def check_scores(scored: Scored) -> None:
    """Check the scores.json of an experiment against the scores of its posteriors now.

    Raises:
        UserError: it is not there, or holds others.
    """
    path = scored.trained.directory / NAME
    if not _holds(path, scored.scores):
        raise UserError(f"{path} does not go with its posteriors; run stage 7 (scores) again")


def compare_systems(a: Scored, b: Scored) -> Comparison | None:
    """Compare two experiments on the utterances that both have; None where there are none."""
    first, second = a.outputs.pooled, b.outputs.pooled
    common = sorted(set(first.utts) & set(second.utts))
    if not common or first.classes != second.classes:
        return None
    speakers = dict(zip(first.utts, a.outputs.groups.tolist(), strict=True))
    groups = [speakers[utt] for utt in common]
    first, second = select(first, common), select(second, common)
    same_utterances(first, second)
    return compare(first, second, groups)
