"""Gold text with word errors as a recogniser makes them, as many as are asked for.

Each error that there could be has a rate: a word's own share of substitutions and of deletions,
the corpus's of insertions. Waiting times are drawn by these rates, and the errors that arrive
first are made, until the word error rate is as asked. So what is wrong at 5 % is wrong at 10 %
too, and curves over the rate are of the same draw.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cfia.asr.confusions import Confusions
from cfia.asr.word_errors import count, normalise, separate

SUBSTITUTE, DELETE, INSERT = "substitute", "delete", "insert"
_ROUNDS = 20  # in which errors are added that others had made good, or taken back


@dataclass(frozen=True)
class _Error:
    """An error that there could be.

    Attributes:
        time: when it arrives; the first come first.
        place: of the word in its utterance; what is inserted stands before it.
        word: what is put there; "" for a deletion.
    """

    time: float
    utterance: str
    place: int
    kind: str
    word: str


def corrupt(
    texts: Mapping[str, str], confusions: Confusions, percent: float, seed: int
) -> dict[str, str]:
    """Make word errors in gold transcripts; those without errors stay as they are, to the letter.

    A word that the recogniser took for others becomes one of these, as often as it was; any other
    word becomes one of the gold text's, as often as these are there. What is inserted was inserted
    by the recogniser, or is of the gold text. A transcript may lose all its words and be "".

    Args:
        texts: gold transcripts, by utterance.
        confusions: of a recogniser, beside these transcripts.
        percent: the word error rate, which is kept to about one error, as far as the words last.
        seed: of the draw.
    """
    errors = _possible(texts, confusions, np.random.default_rng(seed))
    wanted = round(percent / 100 * confusions.words.total())
    made, closest, found = wanted, wanted, dict(texts)
    for _ in range(_ROUNDS):
        corrupted = _make(texts, errors[:made])
        # One error may make another good: a word that is put in where another was left out.
        lacking = wanted - count((text, corrupted[utt]) for utt, text in texts.items()).errors
        if abs(lacking) < closest:
            closest, found = abs(lacking), corrupted
        before, made = made, min(max(made + lacking, 0), len(errors))
        if made == before:
            break
    return found


def _possible(
    texts: Mapping[str, str], confusions: Confusions, rng: np.random.Generator
) -> list[_Error]:
    """List all errors in the order in which they arrive, no word with two of them."""
    draws, spoken_in = _Draws(confusions), cache(normalise)
    found: list[_Error] = []
    for utterance in sorted(texts):
        tokens = separate(texts[utterance])
        for place in range(len(tokens) + 1):
            waits, chosen = rng.exponential(size=3), rng.random(2)
            inserted = draws.inserted(chosen[0])
            found.append(_Error(waits[0] / draws.insertion, utterance, place, INSERT, inserted))
            spoken = spoken_in(tokens[place]) if place < len(tokens) else []
            if not spoken:  # the end, or a mark of punctuation that stands alone
                continue
            word = " ".join(spoken)
            other = draws.substitute(word, chosen[1])
            times = [w / rate for w, rate in zip(waits[1:], draws.rates(word), strict=True)]
            if other and times[0] < times[1]:
                found.append(_Error(times[0], utterance, place, SUBSTITUTE, other))
            else:
                found.append(_Error(times[1], utterance, place, DELETE, ""))
    return sorted((error for error in found if error.word or error.kind == DELETE),
                  key=lambda error: error.time)  # fmt: skip


class _Draws:
    """Rates of errors, and words by their counts for numbers from 0 to 1.

    Of each kind one error more is counted than there were, so that no rate is 0: a text with errors
    has some of each kind, whatever the recogniser's are.
    """

    def __init__(self, confusions: Confusions):
        self.confusions = confusions
        self._own = {w: counts.total() for w, counts in confusions.substituted.items()}
        self._substitution = self._rates(self._own)
        self._deletion = self._rates(confusions.deleted)
        self.insertion = (confusions.inserted.total() + 1) / max(confusions.words.total(), 1)
        self._of_word = cache(lambda word: _cumulated(confusions.substituted.get(word, {})))
        self._words = _cumulated(confusions.words)
        self._inserted = _cumulated(confusions.inserted or confusions.words)

    def _rates(self, counts: Mapping[str, int]) -> Callable[[str], float]:
        """Give a function of a word: its errors per occurrence, drawn towards those of all words.

        As if each word had occurred once more, with the corpus's rate; so scaled that the errors of
        all words are as many as there were.
        """
        words, total = self.confusions.words, sum(counts.values()) + 1
        mean = total / max(words.total(), 1)
        raw = {word: (counts.get(word, 0) + mean) / (n + 1) for word, n in words.items()}
        scale = total / max(sum(words[word] * rate for word, rate in raw.items()), mean)
        return lambda word: scale * raw.get(word, mean)

    def rates(self, word: str) -> tuple[float, float]:
        """Give a word's rates of substitution and of deletion."""
        return self._substitution(word), self._deletion(word)

    def substitute(self, word: str, number: float) -> str:
        """Draw what a word is taken for; "" where the corpus has no other word."""
        own = _drawn(*self._of_word(word), number)
        if own:
            return own
        drawn, (every, _) = _drawn(*self._words, number), self._words
        if drawn == word:  # the next one
            drawn = every[(every.index(word) + 1) % len(every)]
        return "" if drawn == word else drawn

    def inserted(self, number: float) -> str:
        """Draw a word that is put in; "" where the corpus has none."""
        return _drawn(*self._inserted, number)


def _cumulated(counts: Mapping[str, int]) -> tuple[list[str], list[int]]:
    names = sorted(counts)
    return names, [*itertools.accumulate(counts[name] for name in names)]


def _drawn(names: Sequence[str], ends: Sequence[int], number: float) -> str:
    return names[bisect.bisect_right(ends, number * ends[-1])] if names else ""


def _make(texts: Mapping[str, str], errors: Iterable[_Error]) -> dict[str, str]:
    """Make errors in transcripts."""
    tokens = {utterance: [["", word] for word in [*separate(text), ""]]
              for utterance, text in texts.items()}  # fmt: skip
    changed = set()
    for error in errors:
        before_and_word = tokens[error.utterance][error.place]
        before_and_word[0 if error.kind == INSERT else 1] = error.word
        changed.add(error.utterance)
    return {
        utterance: " ".join(word for pair in tokens[utterance] for word in pair if word)
        if utterance in changed
        else text
        for utterance, text in texts.items()
    }
