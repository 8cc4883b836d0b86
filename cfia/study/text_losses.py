"""What worse text costs each system, and which leans on text most, said by the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from cfia.scoring.cells import Difference, PValue, show
from cfia.scoring.scores_file import compare_system_losses
from cfia.scoring.significance import Test, holm
from cfia.study.text_rows import Block


def losses(shown: Sequence[Block]) -> list[str]:
    """Say what the same networks lose by recognised text in the test, and compare the systems."""
    lost = [(b.recognised.comparison.ua, b) for b in _textual(shown)
            if b.recognised and b.recognised.comparison]  # fmt: skip
    if len(lost) < 2:
        return []
    lost.sort(key=lambda pair: pair[0])
    said = ", ".join(f"{block.heading} {show(Difference(ua))}" for ua, block in lost)
    pairs = [(a, b, _compared(a, b)) for (_, a), (_, b) in itertools.combinations(lost, 2)]
    p_values = iter(holm([found[1].p for _, _, found in pairs if found]))
    differences = [
        f"{a.heading} loses {found[0]:.2f} more than {b.heading} "
        f"(p (Holm) {show(PValue(next(p_values)))})"
        for a, b, found in pairs
        if found
    ]
    return [
        "Who leans on text most: of networks that were trained with gold text, recognised text in "
        f"the test changes UA by, in points, {said}. By sign-flip tests of these losses, "
        f"{'; '.join(differences)}. A p above 0.05 says that this corpus does not tell."
    ]


def _textual(shown: Sequence[Block]) -> list[Block]:
    return [block for block in shown if "text" in block.base.row.modalities]


def _compared(a: Block, b: Block) -> tuple[float, Test] | None:
    """Compare the losses of two systems."""
    first, second = (
        [result.scored.outputs for result in (block.base, block.recognised)
         if result and result.scored]
        for block in (a, b)
    )  # fmt: skip
    return compare_system_losses((first[0], first[1]), (second[0], second[1]))


def slopes(shown: Sequence[Block]) -> list[str]:
    """Say what each percent of word errors costs, and what text adds to audio where it is worst."""
    found = [(block.slope, block) for block in _textual(shown)]
    known = sorted(((s, b) for s, b in found if s is not None), key=lambda pair: pair[0])
    if not known:
        return []
    said = ", ".join(f"{block.heading} {show(Difference(10 * slope))}" for slope, block in known)
    notes = [
        "Who leans on text most: for each 10 % of word errors UA changes by, in points, by least "
        f"squares over the rates, {said}."
    ]
    levels = [block for block in shown if block not in _textual(shown) and block.base.scored]
    for level in levels:
        alone = level.curve[0][1].value
        ends = [(block, *block.curve[-1]) for _, block in known]
        above = ", ".join(
            f"{block.heading} {show(Difference(ua.value - alone))} (at {rate:.1f} %)"
            for block, rate, ua in ends
        )
        notes.append(f"With the most errors UA is, beside {level.heading} ({alone:.2f}): {above}.")
    return notes
