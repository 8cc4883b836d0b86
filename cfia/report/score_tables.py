"""The tables of RESULTS.md, as values: scores of each system, and systems compared in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cfia.metrics import HEADLINES, METRICS, Metric, confusion
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Difference, Estimate, PValue, Spread
from cfia.scoring.scores_file import Scored, compare_systems, describe_interval
from cfia.scoring.significance import EXACT_UP_TO, INDEPENDENT, RESAMPLES, Comparison, holm
from cfia.scoring.subsets import TAGGED, UNSEEN
from cfia.scoring.subsets import TITLES as SUBSETS
from cfia.scoring.trained import TrainedExperiment

# The columns that the screen has room for.
ON_SCREEN = ("system", *HEADLINES, "ua_folds", "ua_seeds")

_CV = {"session": "leave one session out", "speaker": "leave one speaker out"}
_SELECTION = {
    "valid": "epoch selected on the validation part",
    "last": "last epoch",
    "test": "oracle: epoch selected on the test fold",
}


def counted(n: int, noun: str) -> str:
    """Count in words: `1 fold`, `2 folds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def describe_protocol(trained: TrainedExperiment) -> str:
    """Describe how an experiment was trained and tested: `leave one speaker out, 10 folds; ...`."""
    protocol = trained.protocol
    words = [
        f"{_CV.get(protocol['cv'], protocol['cv'])}, {counted(protocol['folds'], 'fold')}",
        f"validation {protocol['validation']}",
        _SELECTION.get(protocol["selection"], f"selection {protocol['selection']}"),
    ]
    labels = [f"label set {protocol['labels']}"] if protocol["labels"] else []
    return "; ".join(words + labels)


def describe_input(trained: TrainedExperiment) -> str:
    """Name the inputs of a system: `audio + text`."""
    provenance = trained.trainings[0].provenance
    names = [name for name in ("audio", "text") if provenance.get(name)]
    if "text" in names and trained.protocol["text_tags"] == "keep":
        names[-1] = "text with tags"
    return " + ".join(names) or "unknown"


def score_table(rows: Sequence[Scored]) -> Table:
    """List the scores of the systems of one scheme, and of always the most frequent class."""
    several = any(len(row.outputs.seeds) > 1 for row in rows)
    columns = [Column("system", "system"), Column("input", "input")]
    columns += [Column("exposure", "encoders saw")]
    columns += metric_columns(HEADLINES)
    columns += [Column(f"{name}_folds", f"{m.title} over folds") for name, m in HEADLINES.items()]
    columns += [Column("ua_seeds", "UA over seeds")] if several else []
    columns += [Column("n", "n")]
    trained = rows[0].trained
    title = f"Scheme {trained.scheme}: {describe_protocol(trained)}"
    cells = [*(_cells(row) for row in rows), _chance(rows[0])]
    return Table(title, columns, cells, _notes(rows))


def metric_columns(metrics: Mapping[str, Metric]) -> list[Column]:
    """Make a column for each metric."""
    return [Column(name, metric.title) for name, metric in metrics.items()]


def class_table(title: str, pooled: Mapping[str, Any]) -> Table:
    """List the confusions and scores of each class, from the `pooled` of a scores.json."""
    classes = list(pooled["classes"])
    columns = [Column("ref", "reference")]
    columns += [Column(f"as {name}", f"as {name}") for name in classes]
    columns += [Column(key, key) for key in ("n", "precision", "recall")] + [Column("f1", "F1")]
    rows: list[dict[str, Cell]] = []
    for name, counts in zip(classes, pooled["confusion"], strict=True):
        scores = pooled["classes"][name]
        row: dict[str, Cell] = {"ref": name, "n": scores["n"]}
        row |= {f"as {other}": n for other, n in zip(classes, counts, strict=True)}
        row |= {key: Estimate(scores[key]) for key in ("precision", "recall", "f1")}
        rows.append(row)
    return Table(title, columns, rows)


def subset_table(rows: Sequence[Scored]) -> Table | None:
    """List UA of the systems of one scheme on each subset; None where there is no subset."""
    names = list(dict.fromkeys(name for row in rows for name in row.subsets))
    if not names:
        return None
    columns = [Column("system", "system")]
    columns += [Column(name, f"UA, {SUBSETS.get(name, name)}") for name in names]
    cells: list[dict[str, Cell]] = []
    for row in rows:
        scores = {name: Estimate.of(subset, "ua") for name, subset in row.subsets.items()}
        cells.append({"system": row.trained.label, **scores})
    title = f"Subsets of the test utterances, scheme {rows[0].trained.scheme}"
    return Table(title, columns, cells, _subset_notes(rows, names))


def _subset_notes(rows: Sequence[Scored], names: Sequence[str]) -> list[str]:
    sizes = []
    for name in names:
        n = sorted({row.subsets[name]["n"] for row in rows if name in row.subsets})
        sizes.append(f"{SUBSETS.get(name, name)} {n[0]}{f' to {n[-1]}' if n[1:] else ''}")
    notes = [f"Utterances: {', '.join(sizes)}. Other scores are in scores.json."]
    if UNSEEN in names:
        notes.append(
            "Text not seen in training: no training utterance of the fold has the same transcript, "
            "word for word."
        )
    if TAGGED in names:
        notes.append("With a tag: annotators wrote one, such as [LAUGHTER], in the transcript.")
    return notes


def flat_table(rows: Sequence[Scored]) -> Table:
    """List all systems of all schemes, one row each, for results.csv."""
    facts = ("scheme", "cv", "validation", "selection", "labels", "text_tags", "corpus")
    columns = [Column("system", ""), Column("scheme", ""), Column("oracle", "")]
    columns += [Column(key, "") for key in ("input", "exposure", *facts[1:], "seeds", "n")]
    columns += [Column(f"{name}{end}", "") for end in ("", "_folds", "_seeds") for name in METRICS]
    flat = []
    for row in rows:
        protocol = row.scores["protocol"]
        cells = {**_cells(row), **{key: str(protocol[key] or "") for key in facts}}
        cells["system"] = row.trained.system
        cells["oracle"] = "oracle" if row.trained.oracle else ""
        cells["seeds"] = " ".join(str(seed) for seed in protocol["seeds"])
        flat.append(cells)
    return Table("", columns, flat)


def _cells(row: Scored) -> dict[str, Cell]:
    scores = row.scores
    pooled = scores["pooled"]
    cells: dict[str, Cell] = {
        "system": row.trained.label,
        "input": describe_input(row.trained),
        "exposure": row.trained.exposure_text,
        "n": pooled["n"],
    }
    for name in METRICS:
        cells[name] = Estimate.of(pooled, name)
        cells[f"{name}_folds"] = Spread(scores["fold_mean"][name], scores["fold_std"][name])
        of_seeds = [seed["pooled"][name] for seed in scores["seeds"].values()]
        if len(of_seeds) > 1:
            cells[f"{name}_seeds"] = Spread.of(of_seeds)
    return cells


def _chance(row: Scored) -> dict[str, Cell]:
    pooled = row.outputs.pooled
    k = len(pooled.classes)
    most = int(np.bincount(pooled.refs, minlength=k).argmax())
    counts = confusion(pooled.refs, np.full(len(pooled.refs), most), k)
    scores: dict[str, Cell] = {name: Estimate(float(s(counts))) for name, s in METRICS.items()}
    name = pooled.classes[most]
    return {"system": f"chance (always {name})", "input": "none", **scores, "n": len(pooled.utts)}


def _notes(rows: Sequence[Scored]) -> list[str]:
    speakers = sorted({len(row.outputs.speakers) for row in rows})
    how = " or ".join(describe_interval(n, "speaker") for n in speakers)
    titles = ", ".join(metric.title for metric in HEADLINES.values())
    notes = [
        f"{titles}: pooled over the test utterances of all folds, in percent.",
        f"In brackets: {how}.",
        "Over folds: mean of the folds' scores ± their standard deviation.",
        "Encoders saw: what their own training had of this corpus: none of it, its audio without "
        "labels, its labels, or unknown (conf/exposure.yaml).",
    ]
    seeds = sorted({len(row.outputs.seeds) for row in rows})
    if seeds[-1] > 1:
        notes.append(
            "Several seeds: scores are of posteriors averaged over the seeds, whose variance is in "
            "the interval; over seeds: mean of the single seeds' pooled UA ± standard deviation."
        )
    if seeds[0] == 1:
        notes.append("One seed: what another seed would change is not in the interval.")
    return notes


def comparison_table(rows: Sequence[Scored]) -> Table | None:
    """Compare all pairs of systems of one scheme; None where no pair has common utterances."""
    pairs = list(itertools.combinations(rows, 2))
    compared = [(a, b, c) for a, b in pairs if (c := compare_systems(a, b)) is not None]
    if not compared:
        return None
    corrected = holm([c.p_ua.p for _, _, c in compared])
    cells = [
        {"a": a.trained.label, "b": b.trained.label, "holm": PValue(p), **comparison_cells(c)}
        for (a, b, c), p in zip(compared, corrected, strict=True)
    ]
    title = f"Differences between systems, scheme {rows[0].trained.scheme}"
    title += " (oracle)" if rows[0].trained.oracle else ""
    notes = comparison_notes([c for _, _, c in compared], "speaker")
    notes.insert(
        2, f"p (Holm): corrected for {counted(len(compared), 'comparison')}, those of this table."
    )
    if len(compared) < len(pairs):
        notes.append(
            f"Left out: {counted(len(pairs) - len(compared), 'pair')} without common utterances."
        )
    columns = [Column("a", "A"), Column("b", "B"), *COMPARISON]
    columns.insert(4, Column("holm", "p (Holm)"))
    return Table(title, columns, cells, notes)


COMPARISON = (
    Column("ua", "UA A−B"),
    Column("p_ua", "p"),
    Column("detectable", "detectable"),
    Column("wa", "WA A−B"),
    Column("p_wa", "p (WA)"),
    Column("mcnemar", "McNemar *"),
    Column("p_utterance", "by utterance *"),
    Column("n", "n"),
)


def comparison_cells(c: Comparison) -> dict[str, Cell]:
    """Fill the cells of COMPARISON's columns."""
    return {
        "ua": Difference(c.ua),
        "p_ua": PValue(c.p_ua.p),
        "detectable": None if c.detectable is None else Estimate(c.detectable),
        "wa": Difference(c.wa),
        "p_wa": PValue(c.p_wa.p),
        "mcnemar": PValue(c.mcnemar),
        "p_utterance": PValue(c.p_utterance.p),
        "n": c.n,
    }


def comparison_notes(comparisons: Sequence[Comparison], cluster: str) -> list[str]:
    """Explain the columns of COMPARISON."""
    most = max(c.clusters for c in comparisons)
    exact = all(c.p_ua.exact and c.p_wa.exact for c in comparisons)
    how = "all patterns of signs" if exact else f"{RESAMPLES} random patterns of signs, not all"
    smallest = f"; with {counted(most, cluster)} it cannot be below {2 / 2**most:.4f}"
    return [
        "A−B: difference of the pooled scores, in points.",
        f"p: two-sided sign-flip test over the {cluster}s' contributions to the difference, "
        f"{how}{smallest if exact else ''}.",
        "detectable: the smallest difference of UA that a test at the level 0.05 would have found "
        f"four times in five, given how much the {cluster}s differ.",
        f"* {INDEPENDENT}, and so finds differences too often: McNemar's exact test, and the "
        f"sign-flip over utterances of UA ({RESAMPLES} random patterns where more than "
        f"{EXACT_UP_TO} utterances differ).",
    ]
