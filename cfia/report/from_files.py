"""Scores and comparisons of posteriors.tsv files, from this toolkit or any other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.experiment import NAME, in_brackets
from cfia.experiment import read as read_experiment
from cfia.files import write_json
from cfia.metrics import METRICS
from cfia.posteriors import Posteriors, in_order, read_posteriors, same_utterances
from cfia.report.comparison_table import comparison_cells, comparison_columns, comparison_notes
from cfia.report.part_tables import class_table
from cfia.report.score_tables import STAMPS, counted, ensemble_name, metric_columns
from cfia.report.table import Column, Table, plain
from cfia.scoring.arrange import arrange
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.outputs import Outputs, gather, read_seeds, speakers_table
from cfia.scoring.scores_file import (
    compare_systems,
    describe_interval,
    named_seeds,
    one_answer,
    score_outputs,
)
from cfia.scoring.significance import INDEPENDENT
from cfia.scoring.trained import read_trained

log = logging.getLogger(__name__)

Pooled = Mapping[str, Mapping[str, Any]]
"""Pooled scores, as in scores.json, by the names of their rows."""


@dataclass(frozen=True)
class System:
    """A system as the user names it.

    Attributes:
        name: its file, or one of several.
        sources: all files, as named.
        seeds: posteriors by seed and fold.
        speakers: the table of speakers that goes with it, where one is known.
        words: what must be said with its scores, where experiment.yaml tells.
        seeded: as of `Outputs`.
    """

    name: str
    sources: Sequence[str]
    seeds: Mapping[int, Mapping[int, Posteriors]]
    speakers: Path | None = None
    words: Sequence[str] = ()
    seeded: bool = True

    def outputs(self, clusters: Path | None) -> Outputs:
        """Put its posteriors together, with a table of the clusters or none."""
        return replace(gather(self.seeds, clusters), seeded=self.seeded)

    @property
    def label(self) -> str:
        """Its name, with the words that must go with its scores."""
        return self.name + in_brackets(self.words)


def read_system(paths: Sequence[Path]) -> System:
    """Read files, of which those with the same utterances are seeds, the others folds.

    Or one directory of an experiment, exp/<system>/<scheme>.

    Raises:
        UserError: a file is broken; the files cannot be seeds and folds of one system; a directory
            is none of an experiment with the posteriors of all folds.
    """
    sources = [str(path) for path in paths]
    if len(paths) == 1 and paths[0].is_dir():
        trained = read_trained(paths[0])
        if not trained.finished:
            raise UserError(f"{paths[0]}: {trained.lacks}; run stage 6 (posteriors) again")
        if trained.missing:
            log.warning("%s: %s", paths[0], trained.lacks)
        seeds, speakers = read_seeds(trained), speakers_table(trained)
        experiment = trained.experiment
        return System(sources[0], sources, seeds, speakers, experiment.words, experiment.seeded)
    more = f" and {len(paths) - 1} more" if paths[1:] else ""
    files = [read_posteriors(path) for path in paths]
    return System(f"{paths[0]}{more}", sources, arrange(files), words=_words(paths))


def _words(paths: Sequence[Path]) -> list[str]:
    """List what must be said with scores of files that lie where stage 6 writes them."""
    directories = dict.fromkeys(path.absolute().parent.parent for path in paths)
    found = [read_experiment(d) for d in directories if (d / NAME).exists()]
    return list(dict.fromkeys(word for experiment in found for word in experiment.words))


def score_files(paths: Sequence[Path], utt2cluster: Path | None, json: Path | None) -> str:
    """Score one system, and write the scores to `json`, in the layout of scores.json.

    Seeds and folds are numbered from 1 there.

    Returns:
        A table, the confusion matrix and the scores of each class, for the screen.

    Raises:
        UserError: as `read_system`; an utterance is in no cluster.
    """
    system = read_system(paths)
    table = utt2cluster or system.speakers
    outputs = system.outputs(table)
    scores = _scores(system, outputs)
    if json is not None:
        write_json(json, scores)
    notes = [f"In brackets: {scores['protocol']['interval']}."]
    if one_answer(outputs):
        notes = [f"{scores['protocol']['interval']}."]
    shown = _table(_title(outputs), "file", _rows(system.label, scores), [*notes, *_ties(outputs)])
    summed = "; counts are sums over the seeds, scores means" if len(outputs.seeds) > 1 else ""
    title = f"By class: references down, recognised as across{summed}"
    return plain(shown) + "\n" + plain(class_table(title, scores["pooled"]))


def _scores(system: System, outputs: Outputs) -> dict[str, Any]:
    one = len(system.sources) == 1
    protocol = {
        **({"file": system.sources[0]} if one else {"files": list(system.sources)}),
        "classes": outputs.classes,
        "folds": list(outputs.folds),
        **named_seeds(outputs),
        "clusters": outputs.cluster,
        "interval": describe_interval(outputs),
        **{key: True for key, word in STAMPS.items() if word in system.words},
    }
    return score_outputs(outputs, protocol, {})


def _title(outputs: Outputs) -> str:
    parts = [counted(len(outputs.utts), "utterance")]
    seeds, folds = len(outputs.seeds), len(outputs.folds)
    named = counted(seeds, "seed") if outputs.seeded else outputs.in_words
    parts += [named, counted(folds, "fold")] if seeds * folds > 1 else []
    return ", ".join(parts)


def _ties(outputs: Outputs) -> list[str]:
    """Note where rounding has left the most probable class open."""
    tied = 0
    for posteriors in outputs.pooled.values():
        best = posteriors.probs.max(axis=1, keepdims=True)
        tied += int(((posteriors.probs == best).sum(axis=1) > 1).sum())
    if not tied:
        return []
    return [
        f"{counted(tied, 'utterance')}: several classes are the most probable, the first of "
        "them counts; write more decimals."
    ]


def _rows(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Name the pooled scores of a system, and those of the ensemble of its seeds."""
    rows = {name: scores["pooled"]}
    if "ensemble" in scores:
        rows[ensemble_name(name, scores)] = scores["ensemble"]
    return rows


def _table(title: str, heading: str, pooled: Pooled, notes: Sequence[str] = ()) -> Table:
    """Lay out pooled scores, by the names of their rows."""
    rows: list[dict[str, Cell]] = [
        {"system": name, **{metric: Estimate.of(scores, metric) for metric in METRICS}}
        for name, scores in pooled.items()
    ]
    return Table(title, [Column("system", heading), *metric_columns(METRICS)], rows, notes)


def compare_files(
    paths_a: Sequence[Path], paths_b: Sequence[Path], utt2cluster: Path | None
) -> str:
    """Compare two systems on the same utterances.

    Without `utt2cluster` the speakers are those of an experiment that is named, if one is.

    Returns:
        Both systems' scores, and the comparison, for the screen.

    Raises:
        UserError: as `read_system`; the systems differ in their utterances, references or classes;
            an utterance is in no cluster.
    """
    systems = {"A": read_system(paths_a), "B": read_system(paths_b)}
    tables = (utt2cluster, *(system.speakers for system in systems.values()))
    table = next((path for path in tables if path is not None), None)
    a, b = (system.outputs(table) for system in systems.values())
    b = _in_order_of(a, b)
    same_utterances(a.first, b.first)
    comparison = compare_systems(a, b)
    assert comparison is not None  # of the same utterances and classes
    pooled: dict[str, Any] = {}
    constant = []
    for (letter, system), outputs in zip(systems.items(), (a, b), strict=True):
        pooled |= _rows(f"{letter}: {system.label}", _scores(system, outputs))
        if answer := one_answer(outputs):
            constant.append(f"{letter}: no interval: {answer}.")
    notes = comparison_notes([comparison])
    if a.independent:
        why = "No speakers are known" if table else "No --clusters"
        notes.append(f"{why}: every p and interval here {INDEPENDENT}.")
    title = counted(comparison.n, "utterance")
    title += "" if a.independent else f", {counted(comparison.clusters, a.cluster)}"
    columns, cells = comparison_columns([comparison]), [comparison_cells(comparison)]
    difference = Table("Difference", columns, cells, notes)
    return plain(_table(title, "", pooled, constant)) + "\n" + plain(difference)


def _in_order_of(a: Outputs, b: Outputs) -> Outputs:
    """Bring the columns of B's posteriors into the order of A's."""
    seeds = {
        seed: {fold: in_order(posteriors, a.classes) for fold, posteriors in folds.items()}
        for seed, folds in b.seeds.items()
    }
    return replace(b, seeds=seeds)
