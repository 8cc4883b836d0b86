"""Merge or leave out classes that have few utterances: `min_class` of conf/corpus.yaml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cfia.corpus.corpus_conf import MinClass
from cfia.corpus.utterances import LEFT_OUT, Utterance
from cfia.errors import UserError

Selected = Sequence[tuple[Utterance, str]]


def without_rare(selected: Selected, rule: MinClass | None) -> tuple[Selected, str]:
    """Merge the classes that have fewer utterances than the rule's `count` into its `into`.

    Args:
        selected: utterances and their classes, by the label map.
        rule: None leaves all as they are; `into` "-" leaves the utterances out.

    Returns:
        What is left, and a sentence that says which classes were meant; "" for none.

    Raises:
        UserError: the rule is not one, or what is merged is still too rare.
    """
    if rule is None:
        return selected, ""
    least, into = _checked(rule)
    counts = Counter(label for _, label in selected)
    rare = {label for label, n in counts.items() if n < least}
    if not rare or rare == {into}:
        return selected, ""
    which = ", ".join(f"{label} {counts[label]}" for label in sorted(rare))
    why = f"classes with fewer than {least} utterances"
    if into == LEFT_OUT:
        return [(u, c) for u, c in selected if c not in rare], f"{why}, left out: {which}"
    merged = [(u, into if c in rare else c) for u, c in selected]
    n = sum(c == into for _, c in merged)
    if n < least:
        raise UserError(
            f"conf/corpus.yaml: min_class merges {which} into {into}, which has {n} utterances "
            f"then, still fewer than {least}; give a smaller count, or into: '-' to leave them out"
        )
    return merged, f"{why}, merged into {into} ({n}): {which}"


def _checked(rule: MinClass) -> tuple[int, str]:
    count, into = rule.get("count", 0), rule.get("into", "")
    if count < 1 or len(into.split()) != 1:
        raise UserError(
            "conf/corpus.yaml: min_class must have a count from 1, and into, a class or '-', such "
            "as {count: 50, into: other}"
        )
    return count, into
