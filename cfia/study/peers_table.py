"""The table of the field's systems under one protocol, and of what is published of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.metrics import METRICS
from cfia.model.registry import count_weights
from cfia.networks import grade
from cfia.report.probe_note import PROBE, AgainstProbe, against_probes, test_in_words
from cfia.report.score_tables import (
    describe_protocol,
    if_one_seed,
    interval_notes,
    seed_notes,
)
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Difference, Estimate, PValue
from cfia.scoring.scores_file import Scored
from cfia.scoring.trained import TrainedExperiment
from cfia.study.how_made import features_note, part_notes, training_in_words
from cfia.study.paper_tables import (
    Corpus,
    against_reference,
    difference_cells,
    difference_columns,
    difference_notes,
    set_notes,
    stand_in_notes,
)
from cfia.study.peers_lead import lead
from cfia.study.published import AS_PUBLISHED, Published, printed_cells
from cfia.study.study_file import Row
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, compared, finished

_SCORES = {n: metric.title for n, metric in METRICS.items() if metric.headline or metric.in_studies}
_UNKNOWN = "–"

# Notes: what the words of a row mean.
_STYLE = (
    "X-style: the network of X, rebuilt from public text or code on the frozen features of this "
    "table. It is not X, most of whose kind fine-tune their encoders, split otherwise or choose "
    "the epoch on the test fold; so a row neither reproduces nor refutes a published number. "
    "Grade A: the head exactly as in public code; B: the same with masks, or a modality, changed; "
    "C: put together from a figure, an abstract and code that disagree; none: no peer, but this "
    "project's own or a plain head. What each network is, its source and what was inferred stand "
    "under Networks."
)
_OWN = (
    "X-style/own: the same network, trained as its authors train it, on our validation part; the "
    "others as all systems here."
)
_PUBLISHED = (
    "Published WA/UA: on IEMOCAP, as its authors or others print it, and beside it the features, "
    'what they were tested on and what chose the epoch; "?" where no public text says it, "public '
    'code" where that says it, "no such number" where there is none for these classes of IEMOCAP. '
    "Sources are in the table of published numbers below. In the figure "
    "they are open marks, where a UA is published."
)
_PRINTED = (
    '"?": no public text says it. "Public code": what the published code does, whatever the text '
    'says. "Second hand": as others quote it.'
)


def peers_table(
    plan: StudyPlan, results: Sequence[Result], published: Published, corpus: Corpus
) -> Table:
    """Lay out a row for each system, grouped by input, beside what is published of it.

    Args:
        results: the rows of the table.
        published: the rows that they name as `published`.
        corpus: title and notes of the corpus.

    Raises:
        UserError: a row names a published one that is not there.
    """
    results = compared([(result, against_reference(result, results)) for result in results])
    held = {one.network.trained.directory: one for one in against_probes(finished(results))}
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    for block in dict.fromkeys(result.row.block for result in results):
        headings[len(rows)] = block
        rows += [_cells(plan, r, published, held) for r in results if r.row.block == block]
    schemes = dict.fromkeys(r.experiment.scheme for r in results if r.experiment)
    what = next((r.row.title for r in results), "") or "The field's systems side by side"
    title = f"{what}, scheme {' and '.join(schemes) or 'not run'}, on {corpus.title}"
    title += if_one_seed(finished(results))
    shared = _shared(plan, finished(results))
    notes = [*corpus.notes, *_notes(plan, results, shared, [*held.values()])]
    said = lead(results, [*held.values()], corpus, plan.request.corpus)
    return Table(title, _columns(results, rows, shared), rows, notes, headings, said)


def _shared(plan: StudyPlan, scored: Sequence[Scored]) -> dict[str, str]:
    """Give what all networks have in common, of training and protocol, and all probes too."""
    shared = {}
    for key, of in (("training", training_in_words), ("protocol", partial(_protocol, plan))):
        of_networks = {of(one) for one in scored if one.outputs.seeded}
        of_probes = {of(one) for one in scored if not one.outputs.seeded}
        if len(of_networks) == 1 and len(of_probes) < 2:
            (shared[key],) = of_networks
            if of_probes and key == "protocol":
                shared["probe"] = min(of_probes)
    return shared


def _columns(
    results: Sequence[Result], rows: Sequence[Mapping[str, Cell]], shared: Mapping[str, str]
) -> list[Column]:
    """List the columns; what is the same in all rows stands in a note, and in the CSV."""
    published = any(result.row.published for result in results)
    graded, probed = (any(row.get(key) for row in rows) for key in ("grade", "probe"))
    return [
        Column("method", "System"),
        Column("grade", "grade", data=not graded),
        Column("weights", "parameters"),
        *(Column(name, title) for name, title in _SCORES.items()),
        *difference_columns(results),
        *(
            [Column("probe", "UA over the probe"), Column("probe_p", "its p (Holm)")]
            if probed
            else []
        ),
        *([Column("published", "published WA/UA", data=True)] if published else []),
        *([Column("how", "published WA/UA, and how it was made")] if published else []),
        Column("system", "system"),
        Column("training", "training", data="training" in shared),
        Column("source", "numbers", data=all(row["source"] == "ours" for row in rows)),
        Column("protocol", "protocol", data="protocol" in shared),
        Column("exposure", "encoders saw", data=True),
    ]


def _cells(
    plan: StudyPlan, result: Result, published: Published, held: Mapping[Path, AgainstProbe]
) -> dict[str, Cell]:
    row, scored = result.row, result.scored
    printed = published_beside(row, published)
    cells: dict[str, Cell] = {
        "method": result.name,
        "published": "; ".join(filter(None, map(_printed, printed))) or None,
        "how": "; ".join(map(_how, printed)) or None,
        "system": row.system,
        "source": result.source,
    }
    if scored is None:
        return cells
    trained, pooled = scored.trained, scored.scores["pooled"]
    config, over = trained.experiment.config, held.get(trained.directory)
    return {
        **cells,
        **{name: Estimate.of(pooled, name) for name in _SCORES},
        **difference_cells(result),
        "grade": grade(config.model) or None,
        "weights": weights(trained),
        "system": trained.label,
        "probe": Difference(over.comparison.ua) if over else None,
        "probe_p": PValue(over.p) if over else None,
        "training": training_in_words(scored),
        "protocol": _protocol(plan, scored),
        "exposure": trained.exposure_text,
    }


def published_beside(row: Row, published: Published) -> list[Mapping[str, Any]]:
    """List the published rows that a row of ours stands beside.

    Raises:
        UserError: one of them is not there.
    """
    known = {key: printed for block in published.blocks for key, printed in block.rows.items()}
    for key in row.published:
        if key not in known:
            raise UserError(
                f"{row.table}: a row has published: {key!r}, but the peers of conf/published.yaml "
                f"are {', '.join(known) or 'none'}"
            )
    return [known[key] for key in row.published]


def _printed(row: Mapping[str, Any]) -> str:
    """Print WA and UA of a published row: `81.85/81.33`; "" where it has neither."""
    scores = [row[name] for name in ("wa", "ua")]
    if scores == [None, None]:
        return ""
    return "/".join(_UNKNOWN if score is None else f"{score:.2f}" for score in scores)


def _how(row: Mapping[str, Any]) -> str:
    """Say what made a published number."""
    return (
        f"{_printed(row) or 'no such number'} ({row['method']}; features: {row['features']}; "
        f"tested on: {row['folds']}; epoch chosen on: {row['choice']})"
    )


def weights(trained: TrainedExperiment) -> int | None:
    """Count the weights of an experiment's network; None where the width of a feature is unknown.

    The widths are those that its trainings recorded of their features.
    """
    provenance: Mapping[str, Any] = trained.trainings[0].provenance
    encoders = {m: provenance[m] for m in ("audio", "text") if provenance.get(m)}
    if not encoders or not all("dim" in encoder for encoder in encoders.values()):
        return None
    experiment = trained.experiment
    return count_weights(
        {modality: encoder["dim"] for modality, encoder in encoders.items()},
        len(experiment.classes),
        experiment.config.model,
        {modality: encoder.get("layers", 1) for modality, encoder in encoders.items()},
    )


def _protocol(plan: StudyPlan, scored: Scored) -> str:
    return f"{describe_protocol(scored.trained, plan.standard)}; {scored.outputs.in_words}"


def _notes(
    plan: StudyPlan,
    results: Sequence[Result],
    shared: Mapping[str, str],
    held: Sequence[AgainstProbe],
) -> list[str]:
    """Say how every number of the table was made."""
    scored = finished(results)
    several = any(len(row.outputs.seeds) > 1 for row in scored)
    against = dict.fromkeys(r.row.against for r in results if r.comparison)
    names = [result.name for result in results if result.scored]
    return [
        *([_STYLE] if any("-style" in name for name in names) else []),
        *([_OWN] if any("/own" in name for name in names) else []),
        *(_how_trained(scored, shared) if scored else []),
        *part_notes(scored),
        features_note(plan, results),
        "Parameters: weights that training changes, with features of this width; the frozen "
        "encoders are not counted.",
        f"{', '.join(_SCORES.values())}: pooled over the test utterances of all folds, in percent"
        + ("; the mean over the seeds of what single networks score." if several else "."),
        *(interval_notes(scored) + seed_notes(scored, ensembles=False) if scored else []),
        *(f"Held against: {system} of the same input." for system in against),
        *difference_notes(results),
        *_probe_notes(held),
        *([_PUBLISHED] if any(result.row.published for result in results) else []),
        *stand_in_notes(plan, results),
        *set_notes(plan),
    ]


def _how_trained(scored: Sequence[Scored], shared: Mapping[str, str]) -> list[str]:
    """Say how the systems were trained and tested, as far as that is the same for all."""
    tuned = any(row.trained.experiment.best_of for row in scored)
    budget = (
        "all with as many settings to choose from"
        if tuned
        else "none tuned for itself unless a note says so"
    )
    columns = [key for key in ("training", "protocol") if key not in shared]
    see = f" (columns: {' and '.join(columns)})" if columns else ""
    notes = [f"Trained as the recipe trains, {budget}{see}."]
    if "training" in shared:
        notes = [
            f"Trained, all networks, {budget}: {shared['training']}. How large each is stands "
            "under Networks, and all that is set for a row in conf/systems."
        ]
    if "protocol" in shared:
        of_probe = f" Of a probe: {shared['probe']}." if "probe" in shared else ""
        notes.append(
            f"Protocol of all networks: {shared['protocol']}.{of_probe} All have the same fold "
            "lists."
        )
    return notes


def _probe_notes(held: Sequence[AgainstProbe]) -> list[str]:
    if not held:
        return []
    return [
        f"{PROBE} UA over the probe: of the same input, in points; its p: {test_in_words(held)}."
    ]


def published_table(published: Published, keys: Collection[str]) -> Table:
    """Lay out the published numbers of those inputs of which some stand in rows of ours.

    Args:
        keys: of these published rows.
    """
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    for block in published.blocks:
        if not block.rows.keys() & keys:
            continue
        headings[len(rows)] = block.heading
        rows += [printed_cells(row) for row in block.rows.values()]
    columns = [Column(key, title) for key, title in published.columns.items()]
    title = f"{published.title}, {AS_PUBLISHED} on IEMOCAP, each under a protocol of its own"
    return Table(title, columns, rows, (_PRINTED, *published.notes), headings)
