"""The paper's tables in its own layout: each published row, and our rows below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfia.errors import UserError
from cfia.metrics import METRICS
from cfia.report.comparison_table import (
    SEEDS,
    detectable_in_words,
    seeds_cell,
    seeds_notes,
    sign_flip_in_words,
)
from cfia.report.probe_note import probe_notes
from cfia.report.score_tables import (
    counted,
    describe_protocol,
    ensemble_rows,
    if_one_seed,
    interval_notes,
    seed_notes,
)
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Difference, Estimate, PValue
from cfia.scoring.scores_file import compare_systems
from cfia.scoring.significance import INDEPENDENT, UTTERANCE, Comparison
from cfia.study.published import AS_PUBLISHED, Published, printed_cells
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, compared, consistency_share, finished

# The layout of a table that the paper does not have.
_SCORES = {name: f"{metric.title}(%)" for name, metric in METRICS.items() if metric.in_studies}
UNPUBLISHED = Published("", {"method": "System", **_SCORES}, (), ())
QUOTED = "iemocap"  # the recipe of the corpus that published numbers are of
POOLED = "_pooled"  # ends the keys of the columns of pooled scores
TICKS = ("con1", "con2", "con3")
FORMS = {"mean": "mean", "sum_per_utt": "summed per utterance", "norm": "norm"}

Cells = dict[str, Cell]


@dataclass(frozen=True)
class Corpus:
    """A corpus's title, and the notes that go with every result on it."""

    title: str
    notes: tuple[str, ...]


def paper_table(
    plan: StudyPlan, name: str, results: Sequence[Result], published: Published, corpus: Corpus
) -> Table:
    """Lay out one table.

    Args:
        name: such as `table1`.
        results: its rows.
        corpus: title and notes of the corpus.

    Raises:
        UserError: a row stands under an unknown row of the paper.
    """
    _check_places(name, results, published)
    # P-values are corrected over the whole table, before its rows are put in their places.
    results = compared([(result, against_reference(result, results)) for result in results])
    rows: list[Cells] = []
    headings: dict[int, str] = {}
    # The published rows in the paper's order, each with those of ours that repeat it.
    for block in published.blocks:
        if block.heading:
            headings[len(rows)] = block.heading
        for key, row in block.rows.items():
            rows.append(_published_cells(row, block.protocol))
            rows += [cells for r in results if r.row.under == key
                     for cells in _our_rows(plan, r, row)]  # fmt: skip
    # Below them, under headings of their own, our rows that the paper has not.
    others = [result for result in results if not result.row.under]
    for heading in dict.fromkeys(result.row.block for result in others):
        headings[len(rows)] = heading
        rows += [cells for r in others if r.row.block == heading
                 for cells in _our_rows(plan, r, {})]  # fmt: skip
    number = name.removeprefix("table")
    title = f"Table {number} of the paper" if number.isdecimal() else name
    caption = f"{title}, on {corpus.title}{': ' if published.title else ''}{published.title}"
    caption += if_one_seed(finished(results))
    # From what holds for all numbers to what was noticed about the paper's.
    notes = [
        *corpus.notes,
        *probe_notes(finished(results)),
        *_score_notes(plan, results),
        *_consistency_notes(published),
        *difference_notes(results),
        *stand_in_notes(plan, results),
        *published.notes,
    ]
    return Table(caption, _columns(results, published), rows, notes, headings)


def _check_places(name: str, results: Iterable[Result], published: Published) -> None:
    keys = {key for block in published.blocks for key in block.rows}
    for result in results:
        under = result.row.under
        if under and under not in keys:
            raise UserError(
                f"{name}: a row stands under {under!r}, but conf/published.yaml has only "
                f"{', '.join(keys) or 'other tables'}"
            )


def _columns(results: Sequence[Result], published: Published) -> list[Column]:
    columns = [Column(key, title) for key, title in published.columns.items()]
    columns.append(Column("system", "system"))
    if set(TICKS) <= set(published.columns):
        columns += [Column("form", "Lcon is"), Column("share", "share of the gradient")]
    columns += [Column(f"{name}{POOLED}", f"{metric.title} pooled")
                for name, metric in METRICS.items() if name in published.columns]  # fmt: skip
    if any(result.row.against for result in results):
        columns += [Column("against", "against"), *difference_columns(results)]
    return [*columns, Column("source", "numbers"), Column("protocol", "protocol"),
            Column("exposure", "encoders saw")]  # fmt: skip


def _published_cells(row: Mapping[str, Any], protocol: str) -> Cells:
    return {**printed_cells(row), "source": AS_PUBLISHED, "protocol": protocol}


def _our_rows(plan: StudyPlan, result: Result, above: Mapping[str, Any]) -> list[Cells]:
    """Fill one of our rows, and below it that of the ensemble of its seeds."""
    cells = _our_cells(plan, result, above)
    if result.scored is None:
        return [cells]
    same = {key: cells[key] for key in ("method", "protocol", "exposure", "source")}
    label = result.scored.trained.label
    return [cells, *({**same, **row} for row in ensemble_rows(result.scored, label, POOLED))]


def _our_cells(plan: StudyPlan, result: Result, above: Mapping[str, Any]) -> Cells:
    """Fill one of our rows; `above` is the published row that it follows."""
    row, scored = result.row, result.scored
    # What the paper's row says holds for ours too, but for scores, encoders and the name.
    cells: Cells = {key: value for key, value in above.items() if key not in METRICS}
    cells["method"] = row.name or above.get("method") or row.system
    for modality in ("audio", "text"):
        cells[modality] = plan.encoder(row, modality) if modality in row.modalities else "-"
    cells |= {"upstream": cells["audio"], "system": row.system, "source": result.source}
    if scored is None:
        return cells
    cells["system"] = scored.trained.label
    protocol = describe_protocol(scored.trained, plan.standard)
    cells["protocol"] = f"{protocol}; {scored.outputs.in_words}"
    cells["exposure"] = scored.trained.exposure_text
    # The paper's way to average stands in the paper's columns, ours beside it.
    for name in METRICS:
        cells[name] = result.over_folds(name)
        cells[f"{name}{POOLED}"] = Estimate.of(scored.scores["pooled"], name)
    config = scored.trained.experiment.config.flat()
    if any(config["consistency"]):
        share = consistency_share(scored.trained)
        cells["form"] = FORMS.get(config.get("consistency_loss", ""), "")
        cells["share"] = None if share is None else f"{share:.1e}"
    else:
        cells["form"] = "none"
    return {**cells, **difference_cells(result)}


def against_reference(result: Result, results: Sequence[Result]) -> Comparison | None:
    """Compare a row with its reference: same protocol and inputs, the system `against`."""
    row = result.row
    reference = (row.against, row.protocol, row.modalities)
    for other in results:
        if (other.row.system, other.row.protocol, other.row.modalities) == reference:
            same = other.experiment == result.experiment
            if same or other.scored is None or result.scored is None:
                return None
            return compare_systems(result.scored.outputs, other.scored.outputs)
    return None


def difference_cells(result: Result) -> Cells:
    """Fill the cells of `difference_columns`; none where there is no comparison."""
    comparison = result.comparison
    if comparison is None:
        return {}
    return {
        "against": result.row.against,
        "difference": Difference(comparison.ua),
        "p": PValue(comparison.p_ua.p),
        "holm": PValue(result.p_holm),
        # 0 where no speaker differs, which says nothing of what could have been found.
        "detectable": Estimate(comparison.detectable) if comparison.detectable else None,
        "seeds": seeds_cell(comparison),
    }


def difference_columns(results: Sequence[Result]) -> list[Column]:
    """List the columns of the differences of some rows."""
    several = any(r.comparison.seeds is not None for r in results if r.comparison)
    return [
        Column("difference", "UA difference"),
        Column("p", "p"),
        Column("holm", "p (Holm)"),
        Column("detectable", "detectable"),
        *([SEEDS] if several else []),
    ]


def _score_notes(plan: StudyPlan, results: Sequence[Result]) -> list[str]:
    """Explain how our numbers were computed."""
    scored = finished(results)
    several = any(len(row.outputs.seeds) > 1 for row in scored)
    notes = [
        "Beside the published numbers: the mean over the folds, as papers print it"
        + (", of single seeds, ± the standard deviation over the seeds." if several else "."),
        "Pooled, our headline: over the test utterances of all folds"
        + ("; the mean over the seeds of what single networks score." if several else "."),
    ]
    if any(result.row.system.startswith("cfia_net_paper") for result in results):
        notes.append("cfia_net_paper: the literal reading, zero-padded and without masks.")
    if scored:
        notes += interval_notes(scored) + seed_notes(scored)
    return notes + set_notes(plan)


def set_notes(plan: StudyPlan) -> list[str]:
    """Say which keys a study sets otherwise in all rows, its own note, and what it leaves out."""
    study = plan.study
    values = " ".join(f"{key}={value}" for key, value in study.train_args.items())
    words = " ".join(filter(None, [values and f"This study sets {values}.", study.note]))
    left_out = study.left_out and f"Left out of this recipe's study: {study.left_out}."
    return [*filter(None, [words, left_out])]


def whose_numbers(corpus: Corpus, recipe: str) -> str:
    """Say of which corpus what was said in words holds."""
    said = f"These are numbers of {corpus.title}."
    if recipe == QUOTED:
        return said
    return f"{said} What holds on IEMOCAP is its users' to run (egs/iemocap/README.md)."


def stand_in_notes(plan: StudyPlan, results: Sequence[Result]) -> list[str]:
    """Name the encoders of the recipe that replace others of the paper."""
    used = {m for r in results for m in r.row.modalities if m not in r.row.upstreams}
    return [
        f"The paper's {modality} encoder is {encoder}; in the rows of ours this recipe's own, "
        f"{plan.own_encoder(modality)}, is in its place."
        for modality, encoder in plan.study.encoders.items()
        if modality in used and plan.own_encoder(modality) != encoder
    ]


def _consistency_notes(published: Published) -> list[str]:
    if not set(TICKS) <= set(published.columns):
        return []
    return [
        "Lcon is: the squared differences' mean over positions, or their sum over an utterance's "
        "positions. The paper does not say which.",
        "Share of the gradient: norm of the consistency terms' gradient over that of the cross "
        "entropy, at the epoch selected, mean over folds and seeds. Far below 1, the terms can "
        "change nothing, and rows differ by chance.",
    ]


def difference_notes(results: Sequence[Result], families: Sequence[str] = ()) -> list[str]:
    """Explain `difference_columns`, and name the smallest difference that could be found.

    Args:
        families: the comparisons that p-values are corrected for together, in words, if they are
            not all of the table.
    """
    comparisons = [result.comparison for result in results if result.comparison]
    if not comparisons:
        return []
    independent = f" ({INDEPENDENT})" if comparisons[0].cluster == UTTERANCE else ""
    together = f"{counted(len(comparisons), 'comparison')}, those of this table"
    if families:
        together = f"comparisons together: {'; '.join(families)}"
    notes = [
        "UA difference: of the pooled UA, in points, to the row it is held against. p: "
        f"{sign_flip_in_words(comparisons)}{independent}. p (Holm): corrected for {together}."
    ]
    detectable = [c.detectable for c in comparisons if c.detectable]
    if detectable:
        notes.append(
            f"{detectable_in_words(comparisons)}, before any correction: the smallest that this "
            f"table could have detected are {min(detectable):.2f} to {max(detectable):.2f} points, "
            "by row."
        )
    return notes + seeds_notes(comparisons)
