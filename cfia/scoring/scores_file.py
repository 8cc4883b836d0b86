"""scores.json: the scores of one experiment, pooled, by fold and by seed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.experiment import SCORES
from cfia.files import read_json, write_json
from cfia.metrics import METRICS, Counts, f1, precision, recall
from cfia.posteriors import same_utterances, select
from cfia.scoring.cells import Estimate, show
from cfia.scoring.columns import column_groups
from cfia.scoring.intervals import answers_one_class, difference_interval, intervals
from cfia.scoring.outputs import Outputs, load
from cfia.scoring.significance import INDEPENDENT, Comparison, Test, compare, compare_losses
from cfia.scoring.subsets import subsets
from cfia.scoring.trained import TrainedExperiment, find_trained

log = logging.getLogger(__name__)


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


def scores(counts: Counts) -> dict[str, Any]:
    """Compute the mean over the seeds of single networks' scores, in percent, and count.

    Args:
        counts: confusions of each seed's networks, (S, K, K), of the same utterances.

    Returns:
        {"wa", "ua", "wf1", "macro_f1", "n"}; `n` counts each utterance once.
    """
    means = {name: float(score(counts).mean()) for name, score in METRICS.items()}
    return {**means, "n": int(counts[0].sum())}


def by_class(counts: Counts, classes: Sequence[str]) -> dict[str, Any]:
    """Compute the scores of each class in percent, its references, and the confusion matrix.

    Args:
        counts: confusions of each seed's networks, (S, K, K), of the same utterances.
        classes: names of the classes, K.

    Returns:
        {"classes": {name: {"precision", "recall", "f1", "n"}}, "confusion": counts as K lists of
        K, references down, hypotheses across}: scores are means over the seeds, confusions sums.
    """
    scores = {"precision": precision(counts), "recall": recall(counts), "f1": f1(counts)}
    means = {key: 100 * values.mean(0) for key, values in scores.items()}
    return {
        "classes": {
            name: {**{k: float(v[i]) for k, v in means.items()}, "n": int(counts[0, i].sum())}
            for i, name in enumerate(classes)
        },
        "confusion": counts.sum(0).tolist(),
    }


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

    Scores are means over the seeds of what single networks score. What the average of their
    posteriors scores stands apart, as `ensemble`, where there are several.

    Args:
        protocol: how they were made; it is written as it is.
        subsets: the utterances, sorted, of each subset to score.
    """
    by_seed = {str(s): _seed_scores(outputs.only([s])) for s in sorted(outputs.seeds)}
    folds = _by_fold(outputs)
    fold_values = np.array([[fold[name] for name in METRICS] for fold in folds.values()])
    seed_values = [[seed["pooled"][name] for name in METRICS] for seed in by_seed.values()]
    several = len(by_seed) > 1
    return {
        "pooled": _pooled(outputs, subsets),
        "folds": folds,
        "fold_mean": _named(fold_values.mean(0)),
        "fold_std": _spread(fold_values),
        "seed_std": _spread(np.array(seed_values)),
        "seeds": by_seed,
        **({"ensemble": _pooled(outputs.ensemble(), subsets)} if several else {}),
        "protocol": dict(protocol),
    }


def _pooled(outputs: Outputs, subsets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        **_with_intervals(outputs, outputs.utts),
        **by_class(outputs.confusions(outputs.utts).sum(1), outputs.classes),
        "subsets": {name: _subset(outputs, utts) for name, utts in subsets.items()},
    }


def _subset(outputs: Outputs, utts: Sequence[str]) -> dict[str, Any]:
    """Score a subset; name the classes, if any, that it lacks: its UA is over the others."""
    present = set(outputs.refs[outputs.rows(utts)])
    absent = [outputs.classes[i] for i in sorted(set(outputs.refs) - present)]
    return {**_with_intervals(outputs, utts), **({"absent": absent} if absent else {})}


def _with_intervals(outputs: Outputs, utts: Sequence[str]) -> dict[str, Any]:
    """Compute the scores of some utterances, sorted, and their intervals."""
    counts = outputs.confusions(utts)
    return {**scores(counts.sum(1)), "ci95": intervals(counts, outputs.blocks)}


def _by_fold(outputs: Outputs) -> dict[str, Any]:
    folds = outputs.folds.items()
    return {str(fold): scores(outputs.confusions(utts).sum(1)) for fold, utts in folds}


def _seed_scores(outputs: Outputs) -> dict[str, Any]:
    return {
        "pooled": scores(outputs.confusions(outputs.utts).sum(1)),
        "folds": _by_fold(outputs),
    }


def _named(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def _spread(values: npt.NDArray[np.float64]) -> dict[str, float] | dict[str, None]:
    """Standard deviation down the rows; None of a single one."""
    return _named(values.std(0, ddof=1)) if len(values) > 1 else dict.fromkeys(METRICS)


def _protocol(trained: TrainedExperiment, outputs: Outputs) -> dict[str, Any]:
    facts = {key: value for key, value in trained.protocol.items() if key != "folds"}
    return {
        "system": trained.system,
        "scheme": trained.scheme,
        **facts,
        "classes": outputs.classes,
        "folds": list(outputs.folds),
        **named_seeds(outputs),
        "clusters": outputs.cluster,
        "interval": describe_interval(outputs),
        "oracle": trained.oracle,
        "partial": trained.partial,
        "exposure": trained.exposure,
        "missing": trained.missing,
    }


def named_seeds(outputs: Outputs) -> dict[str, Any]:
    """List the seeds, and of a system that has none, whose trainings bear one in name, say so."""
    return {"seeds": sorted(outputs.seeds), **({} if outputs.seeded else {"seeded": False})}


def describe_interval(outputs: Outputs) -> str:
    """Describe in words how the pooled interval of some outputs was made, or why there is none."""
    constant = one_answer(outputs)
    words = (
        f"no interval: {constant}"
        if constant
        else interval_in_words(len(outputs.speakers), outputs.cluster, len(outputs.seeds))
    )
    return f"{words}; {INDEPENDENT}" if outputs.independent else words


def one_answer(outputs: Outputs) -> str:
    """Say, of a system whose score cannot vary, what it always answers; "" of any other."""
    if not answers_one_class(outputs.confusions(outputs.utts)):
        return ""
    return f"always answers {' or '.join(outputs.classes[i] for i in np.unique(outputs.hyps))}"


def interval_in_words(n_clusters: int, cluster: str, n_seeds: int) -> str:
    """Describe in words how an interval is made."""
    if n_clusters < 2:
        return f"no interval, for there is one {cluster} only"
    how = f"delete-one-{cluster} jackknife"
    if n_seeds > 1:
        how += f" of the mean over {n_seeds} seeds, with what {cluster}s of a fold share of their "
        how += "networks' luck"
    return f"95 %, {how}, Student's t with df = {n_clusters - 1}, logit scale"


def score_all(expdir: Path, *, partial: bool = False) -> None:
    """Write a scores.json for every finished experiment (stage 7); say which are not finished.

    Args:
        partial: of one that is not, score what folds there are, and mark that as partial.

    Raises:
        UserError: no experiment is finished, or a file of one is broken.
    """
    experiments = find_trained(expdir, partial=partial)
    for trained in experiments:
        if trained.missing:
            log.warning("%s: %s", trained.directory, trained.lacks)
        path = trained.directory / SCORES
        if not trained.finished:
            path.unlink(missing_ok=True)
            continue
        scored = score(trained)
        scores, independent = scored.scores, scored.outputs.independent
        unchanged = _holds(path, scores)
        if not unchanged:
            write_json(path, scores)
        pooled, seeds = scores["pooled"], scores["seeds"]
        log.info(
            "%s%s: UA %s, WA %.2f, %d utterances%s%s%s",
            trained.directory, trained.words,
            show(Estimate.of(pooled, "ua")), pooled["wa"], pooled["n"],
            f", mean of {len(seeds)} seeds" if len(seeds) > 1 else "",
            f"; the interval {INDEPENDENT}" if independent else "",
            " (nothing changed)" if unchanged else "",
        )  # fmt: skip
    for data in sorted({trained.data for trained in experiments if trained.finished}):
        for sentence in column_groups(data, ())[1]:
            log.warning("%s", sentence)
    if not any(trained.finished for trained in experiments):
        first = experiments[0]
        raise UserError(
            f"no experiment under {expdir} has the posteriors of all its folds "
            f"({first.directory / first.missing[0]} has none); run stages 5 and 6, or give the "
            "folds that are trained by --folds"
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
    path = scored.trained.directory / SCORES
    if not _holds(path, scored.scores):
        raise UserError(f"{path} does not go with its posteriors; run stage 7 (scores) again")


def bring_scores(scored: Scored) -> None:
    """Write the scores.json of an experiment of which more has been tested than it knows.

    So it is where another run, of this experiment alone, has come to its stage 7 only now.

    Raises:
        UserError: it is of the same trainings, and holds other scores.
    """
    path, known = scored.trained.directory / SCORES, ("seeds", "folds", "partial")
    now, then = scored.scores["protocol"], None
    if path.exists():
        with contextlib.suppress(UserError, LookupError, TypeError):
            then = read_json(path)["protocol"]
            then = {key: then[key] for key in known}
    elif path.parent.is_dir():
        then = {}
    if then is not None and then != {key: now[key] for key in known}:
        write_json(path, scored.scores)
        log.info("%s: written, for there was none of all that is tested", path)
    check_scores(scored)


def compare_systems(a: Outputs, b: Outputs, *, paired: bool = False) -> Comparison | None:
    """Compare two systems on the utterances that both have; None where there are none.

    Args:
        paired: whether b has the networks of a, tested with something else.

    Raises:
        UserError: the systems have an utterance under different references.
    """
    common = sorted(set(a.utts) & set(b.utts))
    if not common or a.classes != b.classes:
        return None
    first, second = (select(side.first, common) for side in (a, b))
    same_utterances(first, second)
    groups = a.groups[a.rows(common)]
    answers = (a.answers(common), b.answers(common))
    return compare(first.refs, *answers, groups, a.cluster, paired=paired)


def difference_intervals(a: Outputs, b: Outputs) -> dict[str, list[float] | None]:
    """Compute the intervals of the differences a - b of all scores, in points: {"wa": [lo, hi]}.

    None in place of an interval where the systems have tested different utterances, of one cluster
    alone, or have answered alike.
    """
    alike = a.utts == b.utts and a.classes == b.classes and len(a.speakers) > 1
    if not alike or (a.hyps.shape == b.hyps.shape and (a.hyps == b.hyps).all()):
        return dict.fromkeys(METRICS)
    first, second = (system.confusions(system.utts) for system in (a, b))
    blocks = (a.blocks, b.blocks)
    ends = {name: difference_interval(m, first, second, blocks) for name, m in METRICS.items()}
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def compare_system_losses(
    first: tuple[Outputs, Outputs], second: tuple[Outputs, Outputs]
) -> tuple[float, Test] | None:
    """Compare what two systems lose of UA where the same networks are tested otherwise.

    Args:
        first, second: the outputs of each before and after.

    Returns:
        As `compare_losses`, on the utterances that all have and by the seeds that both outputs of a
        system have; None where there are none.
    """
    every = (*first, *second)
    common = sorted(set.intersection(*(set(outputs.utts) for outputs in every)))
    seeds = [[s for s in before.seeds if s in after.seeds] for before, after in (first, second)]
    if not common or not all(seeds):
        return None
    selected = [select(outputs.first, common) for outputs in every]
    for other in selected[1:]:
        same_utterances(selected[0], other)
    (a, b), (c, d) = (
        [outputs.only(of_both).answers(common) for outputs in pair]
        for pair, of_both in zip((first, second), seeds, strict=True)
    )
    groups = first[0].groups[first[0].rows(common)]
    return compare_losses(selected[0].refs, (a, b), (c, d), groups)
