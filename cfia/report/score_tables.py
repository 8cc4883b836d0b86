"""The tables of RESULTS.md, as values: scores of each system, by class and on subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.asr import word_errors
from cfia.corpus.corpus_conf import Standard, is_standard
from cfia.experiment import ELSEWHERE, ORACLE, SHARES_SPEAKERS, SPEAKERS_SHARED
from cfia.kaldi.table import read_table
from cfia.metrics import HEADLINES, METRICS, UNBALANCED, Metric, confusion, unbalanced
from cfia.naming import ASR, ONLY_FOLDS
from cfia.options import scheme_kind
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate, Spread
from cfia.scoring.scores_file import Scored, interval_in_words, one_answer
from cfia.scoring.significance import INDEPENDENT
from cfia.scoring.trained import TrainedExperiment

# What is said of how scores were made, by the columns of results.csv.
STAMPS = {ORACLE: ORACLE, "speakers_shared": SPEAKERS_SHARED}
# The columns that the screen has room for.
ON_SCREEN = ("system", *HEADLINES, "ua_folds", "ua_seeds")

_MACRO = "macro_f1"
_CV = {
    "session": "leave one session out",
    "speaker": "leave one speaker out",
    "kfold": "groups of speakers",
    "given": "official parts",
    "utterance": "utterances at random",
    "train": "trained on one corpus, tested on others",
}
_SELECTION = {
    "valid": "epoch selected on the validation part",
    "last": "last epoch",
    "test": "oracle: epoch selected on the test fold",
    ELSEWHERE: "trained elsewhere, nobody here knows how",
}
_PROBE_SELECTION = {
    "valid": "C selected on the validation part",
    "last": "C as configured",
    "test": "oracle: C selected on the test fold",
}


def counted(n: int, noun: str) -> str:
    """Count in words: `1 fold`, `2 folds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def describe_protocol(trained: TrainedExperiment, standard: Standard) -> str:
    """Describe how an experiment was trained and tested: `leave one speaker out, 10 folds; ...`.

    Args:
        standard: of the corpus; empty where it names none.
    """
    protocol = trained.protocol
    kind = scheme_kind(protocol["cv"])
    shared = [SPEAKERS_SHARED] * trained.experiment.speakers_shared
    words = [
        f"{_CV.get(kind, protocol['cv'])}, {counted(protocol['folds'], 'fold')}",
        *shared,
        *([f"fold {protocol[ONLY_FOLDS]} alone"] if ONLY_FOLDS in protocol else []),
        f"validation {protocol['validation']}"
        + " (the corpus's standard)" * is_standard(standard, protocol),
        _SELECTION.get(protocol["selection"], f"selection {protocol['selection']}"),
    ]
    if not trained.experiment.seeded:
        words[-1] = _PROBE_SELECTION[protocol["selection"]]
    if best_of := trained.experiment.best_of:
        words[-1] += f", tuned, best of {best_of} on validation"
    if trained.experiment.refit:
        words[-1] += ", refitted on training and validation part"
    labels = [f"label set {protocol['labels']}"] if protocol["labels"] else []
    return "; ".join(words + labels)


def describe_input(trained: TrainedExperiment) -> str:
    """Name the inputs of a system: `audio + text`."""
    provenance = trained.trainings[0].provenance
    names = [name for name in ("audio", "text") if provenance.get(name)]
    if "text" in names and trained.protocol["text_tags"] == "keep":
        names[-1] = "text with tags"
    if recogniser := trained.experiment.recogniser:
        names[-1] = f"text of {recogniser}"
    if tested := trained.protocol.get("tested_text"):
        names[-1] += f" (tested with {tested})"
    return " + ".join(names) or "unknown"


def score_table(rows: Sequence[Scored], standard: Standard, findings: Sequence[str] = ()) -> Table:
    """List the scores of the systems of one scheme, and of always the most frequent class.

    Below a system of several seeds stands the ensemble of its networks. `standard` is as for
    `describe_protocol`, `findings` are its first notes.
    """
    several = any(len(row.outputs.seeds) > 1 for row in rows)
    columns = [Column("system", "system"), Column("input", "input")]
    columns += [Column("exposure", "encoders saw")]
    columns += metric_columns(_metrics(rows))
    columns += [Column(f"{name}_folds", f"{m.title} over folds") for name, m in HEADLINES.items()]
    columns += [Column("ua_seeds", "UA over seeds")] if several else []
    columns += [Column("n", "n")]
    # What was trained here comes first, for what was not says less of the protocol; of what was, a
    # network, for a probe has no epochs.
    experiments = [row.trained.experiment for row in rows]
    places = [(one.imported, not one.seeded) for one in experiments]
    trained = rows[places.index(min(places))].trained
    how = describe_protocol(trained, standard)
    title = f"Scheme {trained.scheme}: {how}{if_one_seed(rows)}"
    cells = [cells for row in rows for cells in _cells(row, row.trained.label)]
    return Table(title, columns, [*cells, _chance(rows[0])], [*findings, *_notes(rows)])


def _metrics(rows: Sequence[Scored]) -> dict[str, Metric]:
    """Choose the metrics of a table: macro F1 stands beside UA where classes are unbalanced."""
    if not any(unbalanced(_references(row)) for row in rows):
        return HEADLINES
    metrics = {}
    for name, metric in HEADLINES.items():
        metrics[name] = metric
        if name == "ua":
            metrics[_MACRO] = METRICS[_MACRO]
    return metrics


def _references(row: Scored) -> npt.NDArray[np.int64]:
    return np.bincount(row.outputs.refs, minlength=len(row.outputs.classes))


def _class_counts(rows: Sequence[Scored]) -> list[str]:
    """Name the classes and their utterances where they are unbalanced."""
    said = dict.fromkeys(
        ", ".join(f"{c} {n}" for c, n in zip(row.outputs.classes, _references(row), strict=True))
        for row in rows
        if unbalanced(_references(row))
    )
    return [
        f"Unbalanced classes: {counts}; the largest is more than {UNBALANCED} times the smallest. "
        f"{METRICS[_MACRO].title} is {METRICS[_MACRO].meaning}, all counting the same."
        for counts in said
    ]


def metric_columns(metrics: Mapping[str, Metric]) -> list[Column]:
    """Make a column for each metric."""
    return [Column(name, metric.title) for name, metric in metrics.items()]


def flat_table(rows: Sequence[Scored]) -> Table:
    """List all systems of all schemes, and ensembles of their seeds, for results.csv."""
    facts = ("scheme", "cv", "validation", "selection", "labels", "text_tags", "corpus")
    columns = [Column(key, "") for key in ("system", "scheme", *STAMPS)]
    columns += [Column(key, "") for key in ("input", "exposure", *facts[1:], "seeds", "n")]
    columns += [Column(f"{name}{end}", "") for end in ("", "_folds", "_seeds") for name in METRICS]
    flat: list[dict[str, Cell]] = []
    for row in rows:
        protocol = row.scores["protocol"]
        same: dict[str, Cell] = {key: str(protocol[key] or "") for key in facts}
        words = row.trained.experiment.words
        same |= {key: word if word in words else "" for key, word in STAMPS.items()}
        seeds = protocol["seeds"] if row.outputs.seeded else []
        same["seeds"] = " ".join(str(seed) for seed in seeds)
        flat += [{**cells, **same} for cells in _cells(row, row.trained.system)]
    return Table("", columns, flat)


def _cells(row: Scored, label: str) -> list[dict[str, Cell]]:
    """Fill the row of a system, and that of the ensemble of its seeds where there are several."""
    scores = row.scores
    same: dict[str, Cell] = {
        "input": describe_input(row.trained),
        "exposure": row.trained.exposure_text,
        "n": scores["pooled"]["n"],
    }
    single: dict[str, Cell] = {"system": label}
    for name in METRICS:
        single[name] = Estimate.of(scores["pooled"], name)
        single[f"{name}_folds"] = Spread(scores["fold_mean"][name], scores["fold_std"][name])
        if "ensemble" in scores:
            single[f"{name}_seeds"] = Spread(scores["pooled"][name], scores["seed_std"][name])
    return [{**same, **cells} for cells in (single, *ensemble_rows(row, label))]


def ensemble_rows(row: Scored, label: str, end: str = "") -> list[dict[str, Cell]]:
    """Fill the row of the ensemble of a system's seeds, of pooled scores alone.

    Args:
        label: the name of the system.
        end: what follows a metric's name in the keys of the columns of pooled scores.

    Returns:
        That row; [] where there is one seed.
    """
    if "ensemble" not in row.scores:
        return []
    scores: dict[str, Cell] = {
        f"{name}{end}": Estimate.of(row.scores["ensemble"], name) for name in METRICS
    }
    return [{"system": ensemble_name(label, row.scores), **scores}]


def ensemble_name(system: str, scores: Mapping[str, Any]) -> str:
    """Name the ensemble of a system's seeds, as it is called wherever its scores stand."""
    return f"{system}, {ensemble_words(scores)}"


def ensemble_words(scores: Mapping[str, Any]) -> str:
    """Say of how many networks an ensemble is: `ensemble of 3`."""
    return f"ensemble of {len(scores['seeds'])}"


def _chance(row: Scored) -> dict[str, Cell]:
    refs, classes = row.outputs.refs, row.outputs.classes
    most = int(np.bincount(refs, minlength=len(classes)).argmax())
    counts = confusion(refs, np.full(len(refs), most), len(classes))
    scores: dict[str, Cell] = {name: Estimate(float(s(counts))) for name, s in METRICS.items()}
    name = classes[most]
    return {"system": f"chance (always {name})", "input": "none", **scores, "n": len(refs)}


def if_one_seed(rows: Sequence[Scored]) -> str:
    """End a title with `, one seed` where none of the systems with seeds, if any, has more."""
    seeds = [len(row.outputs.seeds) for row in rows if row.outputs.seeded]
    return ", one seed" if seeds and max(seeds) == 1 else ""


def _notes(rows: Sequence[Scored]) -> list[str]:
    titles = ", ".join(metric.title for metric in _metrics(rows).values())
    return [
        f"{titles}: pooled over the test utterances of all folds, in percent.",
        *_class_counts(rows),
        *interval_notes(rows),
        *_fold_notes(rows),
        "Encoders saw: what their own training had of this corpus: none of it, its audio without "
        "labels, its labels, or unknown (conf/exposure.yaml).",
        *_recognised_notes(rows),
        *_validation_notes(rows),
        *seed_notes(rows),
        *_left_out(rows),
    ]


def _fold_notes(rows: Sequence[Scored]) -> list[str]:
    if all(len(row.outputs.folds) == 1 for row in rows):
        return []
    return ["Over folds: mean of the folds' scores ± their standard deviation."]


def _left_out(rows: Sequence[Scored]) -> list[str]:
    """Say what of the corpus is in no fold, since data or features of it could not be read."""
    experiments = [row.trained.experiment for row in rows]
    places = [e.parts["test"].data for e in experiments]
    places += [directory for e in experiments for directory in e.dumps("test").values()]
    tables = [place / "skipped" for place in dict.fromkeys(places)]
    counts = {path: counted(len(read_table(path)), "utterance") for path in tables if path.exists()}
    return [f"Left out of the corpus: {n}, which {path} lists." for path, n in counts.items()]


def _recognised_notes(rows: Sequence[Scored]) -> list[str]:
    """Say how many words recognisers got wrong, where the corpus has transcripts that tell."""
    notes = []
    trained = [row.trained for row in rows]
    for data, name in dict.fromkeys((t.data, t.experiment.recogniser) for t in trained):
        found = word_errors.read(data / ASR / name) if name else None
        if found is not None:
            notes.append(f"Text of {name}: word error rate {found.whole}; {data / ASR / name} has "
                         "it by class and speaker.")  # fmt: skip
    return notes


def _validation_notes(rows: Sequence[Scored]) -> list[str]:
    """Say why scores on validation parts, which train.log has, are better than these."""
    if not any(row.trained.validation_shared for row in rows):
        return []
    return [
        f"Validation {SHARES_SPEAKERS}, the test does not: UA on it, as in train.log and in the "
        "learning curves, stands above the test's, and is no estimate of it."
    ]


def interval_notes(rows: Sequence[Scored]) -> list[str]:
    """Explain the brackets behind pooled scores, and name the systems that have none."""
    speakers = sorted({(len(row.outputs.speakers), row.outputs.cluster) for row in rows})
    how = " or ".join(interval_in_words(n, cluster, 1) for n, cluster in speakers)
    several = (
        f"; with several seeds it is that of their mean, and what {speakers[0][1]}s of a fold "
        "share of their networks' luck is in it"
    )
    more = several if any(len(row.outputs.seeds) > 1 for row in rows) else ""
    notes = [f"In brackets: {how}{more}."]
    if any(row.outputs.independent for row in rows):
        notes.append(
            f"No speakers are known: the interval {INDEPENDENT}, and is too short where a speaker "
            "says several."
        )
    return [*notes, *no_interval_notes(rows)]


def no_interval_notes(rows: Sequence[Scored]) -> list[str]:
    """Name the systems whose scores cannot vary, and say why."""
    constant = [(row.trained.label, one_answer(row.outputs)) for row in rows]
    return [f"{label}: no interval: {answer}." for label, answer in constant if answer]


def seed_notes(rows: Sequence[Scored], *, ensembles: bool = True) -> list[str]:
    """Explain what scores of several seeds are, and name the systems that have one, or none.

    Args:
        ensembles: whether the table has them, and means over seeds with their spread.
    """
    seeded = [row for row in rows if row.outputs.seeded]
    ones = [row.trained.label for row in seeded if len(row.outputs.seeds) == 1]
    notes, several = [], len(ones) < len(seeded)
    if several and ensembles:
        notes = [
            "Several seeds: a score is the mean over the seeds of what single networks score; over "
            "seeds: that mean ± the standard deviation of single seeds.",
            "Ensemble of k: the posteriors of the k seeds averaged, another system than a single "
            "network and mostly a better one; no published number of one network goes with it. "
            f"Its interval is over the {rows[0].outputs.cluster}s alone.",
        ]
    if ones:
        which = f" ({', '.join(ones)})" if several else ""
        notes.append(f"One seed{which}: what another seed would change is not in the interval.")
    none = [row.trained.label for row in rows if not row.outputs.seeded]
    if none:
        notes.append(
            f"No seeds ({', '.join(dict.fromkeys(none))}): nothing of a probe is drawn, and with "
            "any seed it is the same."
        )
    return notes
