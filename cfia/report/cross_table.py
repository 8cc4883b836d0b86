"""The table of systems that were trained on one corpus and tested on others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.kaldi.table import read_table
from cfia.metrics import METRICS
from cfia.naming import trained_corpus
from cfia.report.score_tables import (
    counted,
    describe_protocol,
    ensemble_name,
    if_one_seed,
    interval_notes,
    seed_notes,
)
from cfia.report.table import Column, Table
from cfia.report.within_corpus import Within
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.scores_file import Scored

METRIC = "ua"


@dataclass(frozen=True)
class _Run:
    """An experiment across corpora."""

    row: Scored

    @cached_property
    def trained(self) -> Path:
        """The data directory of the corpus that it was trained on, in the corpus's recipe."""
        return _sources(self.row.trained.experiment.parts["train"].data)[0]

    @cached_property
    def tested(self) -> list[Path]:
        """Those of the corpora that it was tested on."""
        return _sources(self.row.trained.experiment.parts["test"].data)

    @property
    def group(self) -> str:
        """The system and how it was trained: what has a block of the table."""
        cv = str(self.row.trained.protocol["cv"])
        tail = self.row.trained.scheme.removeprefix(cv)
        return self.row.trained.label + f" ({tail.lstrip('-_')})" * bool(tail)

    def estimates(self, scores: dict[str, Any]) -> dict[str, Cell]:
        """Take the score on each tested corpus, of `pooled` or `ensemble`."""
        if len(self.tested) == 1:
            return {_name(self.tested[0]): Estimate.of(scores, METRIC)}
        named = {
            _name(data): scores["subsets"].get(f"corpus {_name(data)}") for data in self.tested
        }
        return {name: Estimate.of(of, METRIC) if of else None for name, of in named.items()}


def cross_table(rows: Sequence[Scored]) -> Table | None:
    """List UA of each system by the corpus that it was trained on and those that it was tested on.

    On the diagonal stands what the corpus's own recipe has by its standard protocol, of the same
    system; where it has none, a note says how to make it. None where no row is across corpora.
    """
    runs = [_Run(row) for row in rows if trained_corpus(str(row.trained.protocol["cv"]))]
    if not runs:
        return None
    runs.sort(key=lambda run: (run.group, _name(run.trained)))
    corpora = sorted({_name(data) for run in runs for data in (run.trained, *run.tested)})
    columns = [Column("train", "trained on")]
    columns += [Column(name, f"tested on {name}") for name in corpora]
    columns += [Column("exposure", "encoders saw")]
    cells: list[dict[str, Cell]] = []
    blocks: dict[int, str] = {}
    withins: list[Scored] = []
    notes: list[str] = []
    for run in runs:
        if run.group not in blocks.values():
            blocks[len(cells)] = run.group
        within = Within(run.row.trained.experiment, run.trained)
        found = within.find()
        withins += [found] if found else []
        notes.append(f"Note {len(notes) + 1}: {_diagonal_note(run, within, found)}")
        cells += _cells(run, found, len(notes))
    how = [*_notes(runs, withins), *notes]
    title = f"Trained on one corpus, tested on another: {METRICS[METRIC].title}"
    title += if_one_seed([run.row for run in runs])
    return Table(title, columns, cells, how, blocks)


def _cells(run: _Run, within: Scored | None, note: int) -> list[dict[str, Cell]]:
    """Fill the row of a trained corpus, and that of the ensemble of its seeds, if any."""
    name, scores = _name(run.trained), run.row.scores
    own: Cell = f"not made: note {note}"
    if within:
        own = Estimate.of(within.scores["pooled"], METRIC)
    seen = run.row.trained.exposure_text
    rows = [{"train": name, name: own, **run.estimates(scores["pooled"]), "exposure": seen}]
    if "ensemble" in scores:
        both: Cell = None
        if within and "ensemble" in within.scores:
            both = Estimate.of(within.scores["ensemble"], METRIC)
        label = ensemble_name(name, scores)
        rows.append({"train": label, name: both, **run.estimates(scores["ensemble"])})
    return rows


def _diagonal_note(run: _Run, within: Within, found: Scored | None) -> str:
    name = _name(run.trained)
    if found is None:
        return f"{run.group} within {name}: {within.how(run.row.outputs.seeds)}."
    outputs = found.outputs
    seeds = counted(len(outputs.seeds), "seed") if outputs.seeded else outputs.in_words
    how = describe_protocol(found.trained, within.standard)
    where = within.recipe / found.trained.directory
    return f"{run.group} within {name}: {where}, {how}; {seeds}."


def _notes(runs: Sequence[_Run], withins: Sequence[Scored]) -> list[str]:
    rows = [*(run.row for run in runs), *withins]
    sizes = {}
    for run in runs:
        data = run.row.trained.experiment.parts["train"].data
        speakers = len(set(read_table(data / "utt2spk").values()))
        n = len(read_table(data / "utt2emo"))
        sizes[_name(run.trained)] = f"{_name(run.trained)} {n} ({speakers} speakers)"
    classes = list(dict.fromkeys(", ".join(run.row.outputs.classes) for run in runs))
    guessed = 100 / len(runs[0].row.outputs.classes)
    return [
        f"{METRICS[METRIC].title}, in percent, is {guessed:.0f} by guessing; other scores are in "
        "the tables of each scheme. All of a corpus is tested by networks that had none of it.",
        f"Classes: {'; or '.join(classes)}. Utterances: {', '.join(sizes.values())}.",
        *interval_notes(rows),
        *seed_notes(rows),
        "Encoders saw: of each corpus (conf/exposure.yaml).",
        "On the diagonal: within the corpus, by its standard protocol, in its own recipe, as the "
        "notes below say.",
    ]


def _sources(data: Path) -> list[Path]:
    """Give the data directories, in their corpora's recipes, that one of several was made from."""
    recorded = marker.read(data)
    return [Path(word) for word in shlex.split(recorded.options["corpora"])] if recorded else []


def _name(data: Path) -> str:
    """Name the corpus of a data directory of its recipe: `../emodb/data/all`."""
    return data.parent.parent.name
