"""What a table of systems side by side shows, in words, by its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.metrics import METRICS
from cfia.report.probe_note import BEAT, BEHIND, LEVEL, against_probes
from cfia.scoring.cells import Difference, show
from cfia.scoring.scores_file import Scored
from cfia.study.paper_tables import Corpus, whose_numbers
from cfia.study.study_rows import Result, finished

_METRIC = "ua"
_TITLE = METRICS[_METRIC].title


def lead(results: Sequence[Result], corpus: Corpus, recipe: str) -> list[str]:
    """Say in words what the table shows; [] where no two systems of an input have scores.

    Args:
        results: its rows, with their comparisons.
        recipe: the name of the corpus.
    """
    told = []
    for block in dict.fromkeys(result.row.block for result in results):
        rows = [result for result in results if result.row.block == block and result.scored]
        if len(rows) > 1:
            told.append(" ".join([_range(block, rows), *_differing(rows), *_probe(rows)]))
    if not told:
        return []
    chance = f"By more than chance: p, corrected by Holm, below {LEVEL}."
    return [f"What it shows. {chance}", *told, whose_numbers(corpus, recipe)]


def _range(block: str, rows: Sequence[Result]) -> str:
    ordered = sorted(rows, key=_ua)
    low, high = ordered[0], ordered[-1]
    heading = f"{block}: " if block else ""
    return f"{heading}{_TITLE} from {_named(low)} to {_named(high)}."


def _differing(rows: Sequence[Result]) -> list[str]:
    """Say which systems differ from the one that they are held against."""
    compared = [row for row in rows if row.comparison]
    references = [row for row in rows if row.row.system == row.row.against]
    if not compared or not references:
        return []
    far = sorted((row for row in compared if row.p_holm < LEVEL), key=lambda row: -_points(row))
    others = ", ".join(f"{_name(row)} {show(Difference(_points(row)))}" for row in far) or "none"
    said = f"By more than chance another than {_named(references[0])}: {others}"
    detectable = [row.comparison.detectable for row in compared if row.comparison]
    found = [points for points in detectable if points]
    if found:
        said += f" (of {len(compared)}; {min(found):.1f} to {max(found):.1f} points could be found)"
    return [f"{said}."]


def _probe(rows: Sequence[Result]) -> list[str]:
    """Say how many networks are above the probe, and which have shown to be."""
    held = against_probes(finished(rows))
    if not held:
        return []
    above = sum(one.comparison.ua > 0 for one in held)
    said = f"The probe has {_score(held[0].probe):.1f}; above it: {above} of {len(held)} networks"
    for verdict, words in ((BEAT, "above it"), (BEHIND, "below it")):
        names = [_name(row) for row in rows for one in held
                 if one.verdict == verdict and row.scored is one.network]  # fmt: skip
        said += f"; by more than chance {words}: {', '.join(names) or 'none'}"
    return [f"{said}."]


def _name(result: Result) -> str:
    return result.row.name or result.row.system


def _named(result: Result) -> str:
    return f"{_ua(result):.1f} ({_name(result)})"


def _ua(result: Result) -> float:
    assert result.scored is not None
    return _score(result.scored)


def _score(scored: Scored) -> float:
    score: float = scored.scores["pooled"][_METRIC]
    return score


def _points(result: Result) -> float:
    assert result.comparison is not None
    return result.comparison.ua
