"""Scores and comparisons of single posteriors.tsv files, from this toolkit or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.files import write_json
from cfia.metrics import METRICS
from cfia.posteriors import Posteriors, in_order, read_posteriors, same_utterances
from cfia.report.score_tables import (
    COMPARISON,
    class_table,
    comparison_cells,
    comparison_notes,
    counted,
    metric_columns,
)
from cfia.report.table import Column, Table, plain
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.outputs import Outputs, clusters
from cfia.scoring.scores_file import describe_interval, score_outputs
from cfia.scoring.significance import INDEPENDENT, compare


def score_file(path: Path, utt2cluster: Path | None, json: Path | None) -> str:
    """Score one file, and write the scores to `json`, in the layout of scores.json.

    There the file counts as one fold of one seed, number 1 of each.

    Returns:
        A table, the confusion matrix and the scores of each class, for the screen.

    Raises:
        UserError: a file is broken, or an utterance is in no cluster.
    """
    posteriors = read_posteriors(path)
    scores = _scores(posteriors, utt2cluster)
    if json is not None:
        write_json(json, scores)
    pooled = scores["pooled"]
    notes = [f"In brackets: {scores['protocol']['interval']}.", *_ties(posteriors)]
    table = _table(counted(pooled["n"], "utterance"), "file", {str(path): pooled}, notes)
    classes = class_table("By class: references down, recognised as across", pooled)
    return plain(table) + "\n" + plain(classes)


def _scores(posteriors: Posteriors, utt2cluster: Path | None) -> dict[str, Any]:
    names, groups, unit = _clusters(posteriors, utt2cluster)
    one_fold = {1: posteriors}
    interval = describe_interval(len(names), unit)
    protocol = {
        "file": posteriors.source,
        "classes": posteriors.classes,
        "folds": [1],
        "seeds": [1],
        "clusters": unit,
        "interval": interval if utt2cluster else f"{interval}; {INDEPENDENT}",
    }
    return score_outputs(Outputs({1: one_fold}, one_fold, posteriors, names, groups), protocol, {})


def _ties(posteriors: Posteriors) -> list[str]:
    """Note where rounding has left the most probable class open."""
    best = posteriors.probs.max(axis=1, keepdims=True)
    tied = int(((posteriors.probs == best).sum(axis=1) > 1).sum())
    if not tied:
        return []
    return [
        f"{counted(tied, 'utterance')}: several classes are the most probable, the first of "
        "them counts; write more decimals."
    ]


def _clusters(
    posteriors: Posteriors, table: Path | None
) -> tuple[list[str], npt.NDArray[np.int64], str]:
    """List the clusters and the index of each utterance's; name what a cluster is."""
    if table is not None:
        return *clusters(posteriors, table), "speaker"
    return posteriors.utts, np.arange(len(posteriors.utts)), "utterance"


def _table(
    title: str, heading: str, pooled: Mapping[str, Mapping[str, Any]], notes: Sequence[str] = ()
) -> Table:
    """Lay out pooled scores, by the names of their rows."""
    rows: list[dict[str, Cell]] = [
        {"system": name, **{metric: Estimate.of(scores, metric) for metric in METRICS}}
        for name, scores in pooled.items()
    ]
    return Table(title, [Column("system", heading), *metric_columns(METRICS)], rows, notes)


def compare_files(path_a: Path, path_b: Path, utt2cluster: Path | None) -> str:
    """Compare two files of the same utterances.

    Returns:
        Both systems' scores, and the comparison, for the screen.

    Raises:
        UserError: a file is broken, the files differ in their utterances, references or classes,
            or an utterance is in no cluster.
    """
    a = read_posteriors(path_a)
    b = in_order(read_posteriors(path_b), a.classes)
    same_utterances(a, b)
    _, groups, unit = _clusters(a, utt2cluster)
    comparison = compare(a, b, groups)
    pooled = {f"A: {path_a}": _scores(a, utt2cluster)["pooled"],
              f"B: {path_b}": _scores(b, utt2cluster)["pooled"]}  # fmt: skip
    notes = comparison_notes([comparison], unit)
    if utt2cluster is None:
        notes.append(f"No --clusters: every p and interval here {INDEPENDENT}.")
    title = counted(comparison.n, "utterance")
    title += f", {counted(comparison.clusters, unit)}" if utt2cluster else ""
    difference = Table("Difference", COMPARISON, [comparison_cells(comparison)], notes)
    return plain(_table(title, "", pooled)) + "\n" + plain(difference)
