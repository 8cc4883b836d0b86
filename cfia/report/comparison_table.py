"""Tables of systems compared in pairs, as values: their differences, p-values and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from cfia.experiment import in_brackets
from cfia.report.score_tables import counted, if_one_seed
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Difference, Estimate, PValue
from cfia.scoring.scores_file import Scored, compare_systems
from cfia.scoring.significance import (
    EXACT_UP_TO,
    INDEPENDENT,
    RESAMPLES,
    UTTERANCE,
    Comparison,
    holm,
)


def comparison_table(rows: Sequence[Scored]) -> Table | None:
    """Compare all pairs of systems of one scheme; None where no pair has common utterances."""
    pairs = list(itertools.combinations(rows, 2))
    found = [(a, b, compare_systems(a.outputs, b.outputs)) for a, b in pairs]
    compared = [(a, b, c) for a, b, c in found if c is not None]
    if not compared:
        return None
    comparisons = [c for _, _, c in compared]
    corrected = holm([c.p_ua.p for c in comparisons])
    cells = [
        {"a": a.trained.label, "b": b.trained.label, "holm": PValue(p), **comparison_cells(c)}
        for (a, b, c), p in zip(compared, corrected, strict=True)
    ]
    title = f"Differences between systems, scheme {rows[0].trained.scheme}"
    title += in_brackets(rows[0].trained.experiment.scheme_words)
    notes = comparison_notes(comparisons)
    notes.insert(
        2, f"p (Holm): corrected for {counted(len(compared), 'comparison')}, those of this table."
    )
    if comparisons[0].cluster == UTTERANCE:
        notes.append(f"No speakers are known: every p here {INDEPENDENT}.")
    if len(compared) < len(pairs):
        notes.append(
            f"Left out: {counted(len(pairs) - len(compared), 'pair')} without common utterances."
        )
    columns = [Column("a", "A"), Column("b", "B"), *comparison_columns(comparisons)]
    columns.insert(4, Column("holm", "p (Holm)"))
    return Table(f"{title}{if_one_seed(rows)}", columns, cells, notes)


SEEDS = Column("seeds", "seeds ±")


def comparison_columns(comparisons: Sequence[Comparison]) -> list[Column]:
    """List the columns of comparisons; that of the seeds where one of them has several."""
    seeds = [SEEDS] if any(c.seeds is not None for c in comparisons) else []
    return [
        Column("ua", "UA A−B"),
        Column("p_ua", "p"),
        Column("detectable", "detectable"),
        *seeds,
        Column("wa", "WA A−B"),
        Column("p_wa", "p (WA)"),
        Column("mcnemar", "McNemar *"),
        Column("p_utterance", "by utterance *"),
        Column("n", "n"),
    ]


def comparison_cells(c: Comparison) -> dict[str, Cell]:
    """Fill the cells of a comparison's columns."""
    return {
        "ua": Difference(c.ua),
        "p_ua": PValue(c.p_ua.p),
        "detectable": None if c.detectable is None else Estimate(c.detectable),
        "seeds": seeds_cell(c),
        "wa": Difference(c.wa),
        "p_wa": PValue(c.p_wa.p),
        "mcnemar": None if c.mcnemar is None else PValue(c.mcnemar),
        "p_utterance": None if c.p_utterance is None else PValue(c.p_utterance.p),
        "n": c.n,
    }


def seeds_cell(c: Comparison) -> Cell:
    """Fill the cell of the column SEEDS."""
    return None if c.seeds is None else Estimate(c.seeds)


def sign_flip_in_words(comparisons: Sequence[Comparison]) -> str:
    """Say what the p-values of comparisons are, and how small they can be."""
    cluster, most = comparisons[0].cluster, max(c.clusters for c in comparisons)
    exact = all(c.p_ua.exact and c.p_wa.exact for c in comparisons)
    how = "all patterns of signs" if exact else f"{RESAMPLES} random patterns of signs, not all"
    if exact and most <= EXACT_UP_TO:
        how += f"; with {counted(most, cluster)} it cannot be below {2 / 2**most:.4f}"
    if any(c.mcnemar is None for c in comparisons):
        how += f"; what {cluster}s of a fold share of their networks' luck counts against it"
    return f"two-sided sign-flip test over the {cluster}s' contributions to the difference, {how}"


def detectable_in_words(comparisons: Sequence[Comparison]) -> str:
    """Say what the column `detectable` is."""
    return (
        "detectable: the smallest difference of UA that a test at the level 0.05 would have found "
        f"four times in five, given how much the {comparisons[0].cluster}s differ"
    )


def comparison_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Explain the columns of comparisons."""
    several = any(c.mcnemar is None for c in comparisons)
    return [
        "A−B: difference of the pooled scores, in points.",
        f"p: {sign_flip_in_words(comparisons)}.",
        f"{detectable_in_words(comparisons)}.",
        *seeds_notes(comparisons),
        f"* {INDEPENDENT}, and so finds differences too often: McNemar's exact test, and the "
        f"sign-flip over utterances of UA ({RESAMPLES} random patterns where more than "
        f"{EXACT_UP_TO} utterances differ)."
        + (" They are for single networks: blank where one has several seeds." if several else ""),
    ]


def seeds_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Explain the column SEEDS; [] where no comparison has it."""
    found = sorted({f"{c.seeds:.2f}" for c in comparisons if c.seeds is not None}, key=float)
    if not found:
        return []
    here = found[0] if not found[1:] else f"{found[0]} to {found[-1]}"
    return [
        "seeds ±: how much of a UA difference is luck of the seeds: with other seeds, as many, of "
        f"the same systems on the same {comparisons[0].cluster}s, it would come out differently by "
        f"this standard deviation (here {here} points). A difference of less than "
        "twice that may be the seeds alone."
    ]
