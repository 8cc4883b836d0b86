"""Scores and comparisons of single posteriors.tsv files, from this toolkit or any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.files import write_json
from cfia.metrics import METRICS
from cfia.posteriors import Posteriors, read_posteriors, same_utterances
from cfia.scoring.intervals import intervals
from cfia.scoring.results import describe_interval, scores
from cfia.scoring.runs import clusters
from cfia.scoring.significance import INDEPENDENT, compare
from cfia.scoring.summary import COMPARISON, TITLES, comparison_cells, comparison_notes, counted
from cfia.scoring.tables import Cell, Column, Estimate, Table, plain


def score_file(path: Path, utt2cluster: Path | None, json: Path | None) -> str:
    """Score one file, and write the scores to `json` where it is given.

    Returns:
        A table and the confusion matrix, for the screen.

    Raises:
        UserError: a file is broken, or an utterance is in no cluster.
    """
    posteriors = read_posteriors(path)
    found = _scores(posteriors, utt2cluster)
    if json is not None:
        write_json(json, found)
    notes = [f"In brackets: {found['protocol']['interval']}."]
    columns = [Column("system", "file"), *(Column(name, TITLES[name]) for name in METRICS)]
    rows = [_row(str(path), found["pooled"])]
    table = Table(counted(found["pooled"]["n"], "utterance"), columns, rows, notes)
    return plain(table) + "\n" + plain(_confusion(posteriors))


def _scores(posteriors: Posteriors, utt2cluster: Path | None) -> dict[str, Any]:
    names, groups, unit = _clusters(posteriors, utt2cluster)
    counts = posteriors.confusion(groups, len(names))
    interval = describe_interval(len(names), unit)
    return {
        "pooled": {**scores(posteriors), "ci95": intervals(counts)},
        "protocol": {
            "file": posteriors.source,
            "classes": posteriors.classes,
            "clusters": unit,
            "interval": interval if utt2cluster else f"{interval}; {INDEPENDENT}",
        },
        "confusion": counts.sum(0).tolist(),
    }


def _clusters(
    posteriors: Posteriors, table: Path | None
) -> tuple[list[str], npt.NDArray[np.int64], str]:
    """Names of the clusters, the cluster of each utterance, and what a cluster is."""
    if table is not None:
        return *clusters(posteriors, table), "speaker"
    return posteriors.utts, np.arange(len(posteriors.utts)), "utterance"


def _row(name: str, pooled: dict[str, Any]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"system": name}
    for metric in METRICS:
        low, high = pooled["ci95"][metric] or (None, None)
        row[metric] = Estimate(pooled[metric], low, high)
    return row


def _confusion(posteriors: Posteriors) -> Table:
    """The confusion matrix, references down, hypotheses across."""
    counts = posteriors.confusion(np.zeros(len(posteriors.utts), int), 1)[0]
    columns = [Column("ref", ""), *(Column(f"hyp {name}", name) for name in posteriors.classes)]
    rows: list[dict[str, Cell]] = []
    for name, line in zip(posteriors.classes, counts.tolist(), strict=True):
        cells: dict[str, Cell] = {"ref": name}
        cells.update({f"hyp {hyp}": n for hyp, n in zip(posteriors.classes, line, strict=True)})
        rows.append(cells)
    return Table("Reference (down), recognised as (across)", columns, rows)


def compare_files(path_a: Path, path_b: Path, utt2cluster: Path | None) -> str:
    """Compare two files of the same utterances.

    Returns:
        Both systems' scores, and the comparison, for the screen.

    Raises:
        UserError: a file is broken, the files differ in their utterances, references or classes,
            or an utterance is in no cluster.
    """
    a, b = read_posteriors(path_a), read_posteriors(path_b)
    same_utterances(a, b)
    _, groups, unit = _clusters(a, utt2cluster)
    found = compare(a, b, groups)
    columns = [Column("system", ""), *(Column(name, TITLES[name]) for name in METRICS)]
    rows = [
        _row(f"{letter}: {path}", _scores(one, utt2cluster)["pooled"])
        for letter, path, one in (("A", path_a, a), ("B", path_b, b))
    ]
    notes = comparison_notes([found], unit)
    if utt2cluster is None:
        notes.append(f"No --clusters: every p and interval here {INDEPENDENT}.")
    title = counted(found.n, "utterance")
    title += f", {counted(found.clusters, unit)}" if utt2cluster else ""
    scores_table = Table(title, columns, rows)
    difference = Table("Difference", COMPARISON, [comparison_cells(found)], notes)
    return plain(scores_table) + "\n" + plain(difference)
