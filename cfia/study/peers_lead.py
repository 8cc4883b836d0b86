"""What a table of systems side by side shows, in words, by its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.metrics import METRICS
from cfia.report.probe_note import BEAT, BEHIND, LEVEL, AgainstProbe
from cfia.scoring.cells import Difference, show
from cfia.scoring.scores_file import Scored
from cfia.study.paper_tables import Corpus, whose_numbers
from cfia.study.study_rows import Result

_METRIC = "ua"
_TITLE = METRICS[_METRIC].title


def lead(
    results: Sequence[Result], held: Sequence[AgainstProbe], corpus: Corpus, recipe: str
) -> list[str]:
    """Say in words what the table shows; [] where no two systems of an input have scores.

    Args:
        results: its rows, with their comparisons.
        held: its networks against their probes.
        recipe: the name of the corpus.
    """
    told = []
    for modalities in dict.fromkeys(result.row.modalities for result in results):
        rows = [r for r in results if r.row.modalities == modalities and r.scored]
        if len(rows) > 1:
            words = [_range(modalities, rows), *_differing(rows), *_probe(rows, held)]
            told.append(" ".join(words))
    if not told:
        return []
    chance = f"By more than chance: p, corrected by Holm, below {LEVEL}."
    return [f"What it shows. {chance}", *told, whose_numbers(corpus, recipe)]


def _range(modalities: Sequence[str], rows: Sequence[Result]) -> str:
    ordered = sorted(rows, key=_ua)
    heading = " and ".join(modalities).capitalize()
    return f"{heading}: {_TITLE} from {_named(ordered[0])} to {_named(ordered[-1])}."


def _differing(rows: Sequence[Result]) -> list[str]:
    """Say which systems differ from the one that they are held against."""
    compared = [row for row in rows if row.comparison]
    base = [row for row in rows if row.row.system == row.row.against and not row.row.set]
    if not compared or not base:
        return []
    far = sorted((row for row in compared if row.p_holm < LEVEL), key=_points, reverse=True)
    reference, n = _named(base[0]), len(compared)
    said = f"None of {n} differs from {reference} by more than chance"
    if far:
        names = ", ".join(f"{row.name} {show(Difference(_points(row)))}" for row in far)
        said = f"{len(far)} of {n} differ from {reference} by more than chance: {names}"
    detectable = [row.comparison.detectable for row in compared if row.comparison]
    found = [points for points in detectable if points]
    if found:
        said += (
            f"; a single test, uncorrected, would have found a difference of {min(found):.1f} to "
            f"{max(found):.1f} points, by row, four times in five"
        )
    return [f"{said}."]


def _probe(rows: Sequence[Result], every: Sequence[AgainstProbe]) -> list[str]:
    """Say how many networks are above the probe, and which have shown to be."""
    held = [one for one in every if any(row.scored is one.network for row in rows)]
    if not held:
        return []
    above = sum(one.comparison.ua > 0 for one in held)
    verb = "is" if above == 1 else "are"
    said = f"The probe has {_score(held[0].probe):.1f}"
    said += f"; {above} of {len(held)} networks {verb} above it"
    for verdict, place in ((BEAT, "above"), (BEHIND, "below")):
        names = [row.name for row in rows for one in held
                 if one.verdict == verdict and row.scored is one.network]  # fmt: skip
        if names or verdict == BEAT:
            said += f"; {', '.join(names) or 'none'} {place} it by more than chance"
    return [f"{said}."]


def _named(result: Result) -> str:
    return f"{result.name} ({_ua(result):.1f})"


def _ua(result: Result) -> float:
    assert result.scored is not None
    return _score(result.scored)


def _score(scored: Scored) -> float:
    score: float = scored.scores["pooled"][_METRIC]
    return score


def _points(result: Result) -> float:
    assert result.comparison is not None
    return result.comparison.ua
