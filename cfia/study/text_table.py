"""The tables of systems that are tested with gold, recognised and corrupted text."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.asr.word_errors import Errors
from cfia.naming import ASR
from cfia.options import GOLD
from cfia.report.score_tables import describe_protocol, if_one_seed, interval_notes
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.scores_file import compare_systems
from cfia.scoring.significance import Comparison
from cfia.study.paper_tables import (
    Corpus,
    difference_cells,
    difference_columns,
    difference_notes,
    stand_in_notes,
)
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, compared, finished
from cfia.study.text_losses import losses, slopes
from cfia.study.text_rows import (
    Block,
    asr_trained,
    blocks,
    count_errors,
    has_errors,
    tested_errors,
)


def text_table(plan: StudyPlan, results: Sequence[Result], corpus: Corpus) -> Table:
    """Lay out a row for each system and text, and its difference to gold text."""
    held = [(result, _against_gold(block, result)) for block in blocks(results)
            for result in block.rows]  # fmt: skip
    shown = blocks(compared(held))
    rows: list[dict[str, Cell]] = []
    headings: dict[int, str] = {}
    for block in shown:
        headings[len(rows)] = block.heading
        rows += [_cells(plan, result) for result in block.rows]
    ours = [result for block in shown for result in block.rows]
    what = "Gold text with word errors" if has_errors(results) else "Gold and recognised text"
    title = f"{what}, on {corpus.title}{if_one_seed(finished(ours))}"
    notes = [
        *corpus.notes,
        *_notes(plan, ours),
        *difference_notes(ours),
        *(slopes(shown) if has_errors(results) else losses(shown)),
        *stand_in_notes(plan, ours),
    ]
    return Table(title, _columns(ours), rows, notes, headings)


def _columns(results: Sequence[Result]) -> list[Column]:
    return [
        Column("trained", "trained with"),
        Column("tested", "tested with"),
        Column("wer", "word errors"),
        Column("ua", "UA"),
        *difference_columns(results),
        Column("wa", "WA"),
        Column("n", "n"),
        Column("system", "system"),
        Column("source", "numbers"),
        Column("protocol", "protocol"),
        Column("exposure", "encoders saw"),
    ]


def _against_gold(block: Block, result: Result) -> Comparison | None:
    """Compare a row with the first of its block, by the seeds that both have."""
    ours, base = result.scored, block.base.scored
    if ours is None or base is None or result.experiment == block.base.experiment:
        return None
    common = [seed for seed in ours.outputs.seeds if seed in base.outputs.seeds]
    if not common:
        return None
    same_networks = ours.trained.experiment.trained_in == base.trained.directory
    return compare_systems(
        ours.outputs.only(common), base.outputs.only(common), paired=same_networks
    )


def name_texts(plan: StudyPlan, result: Result) -> tuple[str, str]:
    """Name the text that a row is trained with, and the one that it is tested with."""
    row = result.row
    if "text" not in row.modalities:
        return "no text", "no text"
    trained = plan.recogniser if asr_trained(result) else GOLD
    words = {"None": trained, ASR: plan.recogniser, GOLD: GOLD}
    return trained, words.get(str(row.tested), f"{GOLD}, {row.tested} % errors")


def _cells(plan: StudyPlan, result: Result) -> dict[str, Cell]:
    row, scored = result.row, result.scored
    trained, tested = name_texts(plan, result)
    cells: dict[str, Cell] = {"trained": trained, "tested": tested}
    cells |= {"system": row.system, "source": result.source}
    if scored is None:
        return cells
    pooled = scored.scores["pooled"]
    errors = tested_errors(result) if "text" in row.modalities else None
    return {
        **cells,
        "wer": None if errors is None else Estimate(errors),
        "ua": Estimate.of(pooled, "ua"),
        "wa": Estimate.of(pooled, "wa"),
        "n": pooled["n"],
        "system": scored.trained.label,
        "protocol": f"{describe_protocol(scored.trained, plan.standard)}; "
        + scored.outputs.in_words,
        "exposure": scored.trained.exposure_text,
        **difference_cells(result),
    }


def _of_recogniser(results: Sequence[Result]) -> list[Errors]:
    """Count the word errors of the recogniser's own text, once, where a row is tested with it."""
    counted = [count_errors(result) for result in results if result.row.tested == ASR]
    return [errors for errors in counted if errors][:1]


def _notes(plan: StudyPlan, results: Sequence[Result]) -> list[str]:
    """Explain the columns."""
    recogniser, scored = plan.recogniser, finished(results)
    several = any(len(row.outputs.seeds) > 1 for row in scored)
    notes = [
        "Trained with, tested with: the corpus's transcripts (gold), or those of the recogniser "
        f"{recogniser}, which have no capitals and no punctuation. A system that is tested with "
        "another text than it is trained with has the same networks: they are trained once.",
        "UA difference: to the first row of the block.",
        "Word errors: substitutions, deletions and insertions in percent of the words of the gold "
        "text, without regard to case and punctuation, of all utterances.",
        *(f"{recogniser} on this corpus: {counted}." for counted in _of_recogniser(results)),
    ]
    if has_errors(results):
        notes.append(
            f"Gold, N % errors: N % were asked for, of the kinds that {recogniser} makes, and on "
            "the words on which it makes them, in one draw; what is wrong at 5 % is wrong at 10 %."
        )
    notes.append(
        "UA, WA: pooled over the test utterances of all folds"
        + ("; the mean over the seeds of single networks." if several else ".")
    )
    return notes + (interval_notes(scored) if scored else [])
