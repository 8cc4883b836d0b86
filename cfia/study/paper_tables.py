"""The paper's tables in its own layout: each published row, and below it ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfia.errors import UserError
from cfia.metrics import METRICS
from cfia.report.score_tables import counted, describe_protocol
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Difference, Estimate, PValue, Spread
from cfia.scoring.scores_file import compare_systems, describe_interval
from cfia.scoring.significance import Comparison, holm
from cfia.study.published import AS_PUBLISHED, Published
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result

# Of a table whose rows the paper does not have.
_SCORES = {name: f"{metric.title}(%)" for name, metric in METRICS.items() if metric.in_studies}
UNPUBLISHED = Published("", {"method": "System", **_SCORES}, (), ())
TICKS = ("con1", "con2", "con3")
FORMS = {"mean": "mean", "sum_per_utt": "summed per utterance", "norm": "norm"}

Cells = dict[str, Cell]

DIFFERENCE = (
    Column("difference", "UA difference"),
    Column("p", "p"),
    Column("holm", "p (Holm)"),
    Column("detectable", "detectable"),
)


@dataclass(frozen=True)
class Corpus:
    """A corpus's title, and what must be said with every result on it."""

    title: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A row of ours, and its difference to the row it is held against, p corrected by Holm."""

    result: Result
    comparison: Comparison | None
    corrected: float


def paper_table(
    plan: StudyPlan, name: str, results: Sequence[Result], published: Published, corpus: Corpus
) -> Table:
    """One table.

    Args:
        name: such as `table1`.
        results: its rows.
        corpus: the corpus's name, for the caption, and what must be said of it.

    Raises:
        UserError: a row stands under a published one that there is not.
    """
    _check_places(name, results, published)
    lines = _compared(results)
    rows: list[Cells] = []
    blocks: dict[int, str] = {}
    for block in published.blocks:
        if block.heading:
            blocks[len(rows)] = block.heading
        for key, row in block.rows.items():
            rows.append(_published(row, block.protocol))
            rows += [_ours(plan, line, row) for line in lines if line.result.row.under == key]
    apart = [line for line in lines if not line.result.row.under]
    for heading in dict.fromkeys(line.result.row.block for line in apart):
        blocks[len(rows)] = heading
        rows += [_ours(plan, line, {}) for line in apart if line.result.row.block == heading]
    number = name.removeprefix("table")
    title = f"Table {number} of the paper" if number.isdecimal() else name
    caption = f"{title}, on {corpus.title}{': ' if published.title else ''}{published.title}"
    notes = [
        *corpus.notes,
        *reading_notes(plan, results),
        *_consistency_notes(published),
        *difference_notes(lines),
        *stand_in_notes(plan, results),
        *published.notes,
    ]
    return Table(caption, _columns(results, published), rows, notes, blocks)


def _check_places(name: str, results: Iterable[Result], published: Published) -> None:
    keys = {key for block in published.blocks for key in block.rows}
    for result in results:
        under = result.row.under
        if under and under not in keys:
            raise UserError(
                f"{name}: a row stands under {under!r}, but conf/published.yaml has only "
                f"{', '.join(keys) or 'other tables'}"
            )


def _metrics(published: Published) -> list[str]:
    return [name for name in METRICS if name in published.columns]


def _columns(results: Sequence[Result], published: Published) -> list[Column]:
    metrics = _metrics(published)
    columns = [Column(key, title) for key, title in published.columns.items()]
    columns.append(Column("system", "system"))
    if set(TICKS) <= set(published.columns):
        columns += [Column("form", "Lcon is"), Column("share", "share of the gradient")]
    columns += [Column(f"{name}_pooled", f"{METRICS[name].title} pooled") for name in metrics]
    if any(result.row.against for result in results):
        columns += [Column("against", "against"), *DIFFERENCE]
    return [*columns, Column("source", "numbers"), Column("protocol", "protocol"),
            Column("exposure", "encoders saw")]  # fmt: skip


def _published(row: Mapping[str, Any], protocol: str) -> Cells:
    cells: Cells = {
        key: (None if value is None else Spread(value, None)) if key in METRICS else value
        for key, value in row.items()
    }
    return {**cells, "source": AS_PUBLISHED, "protocol": protocol}


def _ours(plan: StudyPlan, line: Line, above: Mapping[str, Any]) -> Cells:
    """A row of ours; `above` is the published row it stands under."""
    result = line.result
    row, scored = result.row, result.scored
    encoders = {modality: plan.encoder(row, modality) for modality in row.modalities}
    cells: Cells = {key: value for key, value in above.items() if key not in METRICS}
    cells["method"] = row.name or above.get("method") or row.system
    places = {"audio": encoders.get("audio", "-"), "text": encoders.get("text", "-")}
    cells |= {**places, "upstream": encoders.get("audio", "-")}
    cells |= {"system": row.system, "source": result.source}
    if scored is None:
        return cells
    cells["system"] = scored.trained.label
    cells["protocol"] = f"{describe_protocol(scored.trained)}; {_seeds(result)}"
    cells["exposure"] = scored.trained.exposure_text
    for name in METRICS:
        cells[name] = result.over_folds(name)
        cells[f"{name}_pooled"] = Estimate.of(scored.scores["pooled"], name)
    return {**cells, **_consistency(result), **difference_cells(line)}


def _seeds(result: Result) -> str:
    assert result.scored is not None
    seeds = list(result.scored.outputs.seeds)
    return f"{'seeds' if seeds[1:] else 'seed'} {' '.join(map(str, seeds))}"


def _consistency(result: Result) -> Cells:
    """The form of the consistency loss and its share of the gradient."""
    assert result.scored is not None
    config = result.scored.trained.experiment.config.flat()
    if not any(config["consistency"]):
        return {"form": "none"}
    share = result.share()
    form = FORMS.get(config.get("consistency_loss", ""), "")
    return {"form": form, "share": None if share is None else f"{share:.1e}"}


def _compared(results: Sequence[Result]) -> list[Line]:
    """Each row, held against its reference where it has one."""
    return with_holm([(result, _comparison(result, results)) for result in results])


def with_holm(found: Sequence[tuple[Result, Comparison | None]]) -> list[Line]:
    """Results and their comparisons, p corrected for all comparisons together."""
    corrected = iter(holm([c.p_ua.p for _, c in found if c is not None]))
    return [Line(result, c, 1.0 if c is None else next(corrected)) for result, c in found]


def _comparison(result: Result, results: Sequence[Result]) -> Comparison | None:
    reference = next((other for other in results if _is_reference(other, result)), None)
    if reference is None or reference.scored is None or result.scored is None:
        return None
    if reference.entry.experiment == result.entry.experiment:
        return None
    return compare_systems(result.scored, reference.scored)


def _is_reference(other: Result, result: Result) -> bool:
    ours, theirs = result.row, other.row
    same = (theirs.protocol, theirs.modalities) == (ours.protocol, ours.modalities)
    return theirs.system == ours.against and same


def difference_cells(line: Line) -> Cells:
    """The cells of DIFFERENCE's columns; none where there is no comparison."""
    comparison = line.comparison
    if comparison is None:
        return {}
    return {
        "against": line.result.row.against,
        "difference": Difference(comparison.ua),
        "p": PValue(comparison.p_ua.p),
        "holm": PValue(line.corrected),
        # 0 where no speaker differs, which says nothing of what could have been found.
        "detectable": Estimate(comparison.detectable) if comparison.detectable else None,
    }


def reading_notes(plan: StudyPlan, results: Sequence[Result]) -> list[str]:
    """What the numbers of ours are."""
    scored = [result.scored for result in results if result.scored]
    several = any(len(one.outputs.seeds) > 1 for one in scored)
    notes = [
        "Beside the published numbers: the mean over the folds, as papers print it"
        + (", of single seeds, ± the standard deviation over the seeds." if several else "."),
        "Pooled, our headline: over the test utterances of all folds"
        + ("; posteriors are averaged over the seeds." if several else "."),
    ]
    if any(result.row.system.startswith("cfia_net_paper") for result in results):
        notes.append("cfia_net_paper: the literal reading, zero-padded and without masks.")
    speakers = sorted({len(one.outputs.speakers) for one in scored})
    if speakers:
        how = " or ".join(describe_interval(n, "speaker") for n in speakers)
        notes.append(f"In brackets: {how}.")
    if scored and not several:
        notes.append("One seed: what another seed would change is not in the interval.")
    if plan.study.train_args:
        values = " ".join(f"{key}={value}" for key, value in plan.study.train_args.items())
        notes.append(f"This study sets {values}. {plan.study.note}".rstrip())
    return notes


def stand_in_notes(plan: StudyPlan, results: Sequence[Result]) -> list[str]:
    """Which encoders of the recipe stand where the paper has others."""
    used = {m for r in results for m in r.row.modalities if m not in r.row.upstreams}
    return [
        f"The paper's {modality} encoder is {theirs}; in the rows of ours this recipe's own, "
        f"{plan.own_encoder(modality)}, is in its place."
        for modality, theirs in plan.study.encoders.items()
        if modality in used and plan.own_encoder(modality) != theirs
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


def difference_notes(lines: Sequence[Line]) -> list[str]:
    """What DIFFERENCE's columns are, and the smallest difference that could have been found."""
    found = [line.comparison for line in lines if line.comparison]
    if not found:
        return []
    most = max(c.clusters for c in found)
    notes = [
        "UA difference: of the pooled UA, in points, to the row it is held against. p: two-sided "
        f"sign-flip test over {counted(most, 'speaker')}; p (Holm): corrected for "
        f"{counted(len(found), 'comparison')}, those of this table."
    ]
    detectable = [c.detectable for c in found if c.detectable]
    if detectable:
        notes.append(
            "The smallest difference of UA that this table could have detected (level 0.05, four "
            f"times in five): {min(detectable):.2f} to {max(detectable):.2f} points, by row."
        )
    return notes
