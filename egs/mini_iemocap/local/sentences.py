"""Deal sentences to the speakers: neutral carriers, and sentences that have an emotion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cfia.files import read_yaml

SOURCE = Path(__file__).with_name("sentences.yaml")

# Of 21 sentences of a class in a session, 9 are carriers, 11 are written for the class, and one is
# written for another class.
_KINDS = ("carrier",) * 9 + ("own",) * 11 + ("another's",)
_CLASS = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}


class Session:
    """The sentences of one session.

    A class goes through all carriers before it repeats one. So every class speaks every carrier
    about equally often, and nothing can be learnt from a carrier's words, not even by heart.
    """

    def __init__(self, rng: np.random.Generator):
        content = read_yaml(SOURCE)
        self._fillers: dict[str, list[str]] = content["fillers"]
        self._carriers: list[str] = content["carriers"]
        self._coloured: dict[str, list[str]] = content["coloured"]
        self._rng = rng
        self._left: dict[str, list[str]] = {}

    def draw(self, label: str, scripted: bool) -> str:
        """Draw a sentence for an utterance acted as `label`.

        A scripted line is a template filled in with the first word of each list, so that it
        recurs word for word in other sessions; who improvises picks words at random.
        """
        name = _CLASS.get(label, label)
        kind = self._deal(f"kind {name}", _KINDS) if label in self._coloured else "carrier"
        if kind == "carrier":
            return self._deal(f"carrier {name}", self._carriers)
        if kind == "another's":
            others = sorted({*_CLASS} - {other for other in _CLASS if _CLASS[other] == name})
            label = others[int(self._rng.integers(len(others)))]
        return self._fill(self._deal(f"own {label}", self._coloured[label]), scripted)

    def _deal(self, deck: str, cards: Sequence[str]) -> str:
        """Take the next card of a shuffled deck, which is shuffled anew when it is used up."""
        if not self._left.get(deck):
            self._left[deck] = [cards[int(i)] for i in self._rng.permutation(len(cards))]
        return self._left[deck].pop()

    def _fill(self, template: str, scripted: bool) -> str:
        def word(match: re.Match[str]) -> str:
            words = self._fillers[match[1]]
            return words[0 if scripted else int(self._rng.integers(len(words)))]

        text = re.sub(r"\{(\w+)\}", word, template)
        return text[0].upper() + text[1:]
