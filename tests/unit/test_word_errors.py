"""Word error rates, against counts by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cfia.asr.word_errors import Errors, count, normalise

WORDS = st.lists(st.sampled_from(["a", "b", "c", "don't"]), max_size=6).map(" ".join)


def test_words_are_compared_without_case_punctuation_and_tags() -> None:
    said = normalise("[LAUGHTER] Don’t -- I said: 'NO', Zoë!")
    assert said == ["don't", "i", "said", "no", "zoë"]
    assert normalise("...") == []
    assert normalise("我很高兴 OK") == ["我", "很", "高", "兴", "ok"]
    assert normalise("well-known rock 'n' roll") == ["well", "known", "rock", "n", "roll"]
    assert normalise("Straße, 3,5 km") == ["strasse", "3", "5", "km"]


def test_errors_are_counted_over_all_words() -> None:
    pairs = [("Put the cat out.", "but the cat"), ("No!", "no no"), ("...", "yes"), ("Hm.", "")]
    found = count(pairs)
    assert found == Errors(4, 6, substitutions=1, deletions=2, insertions=2)
    assert found.rate == 500 / 6
    assert str(found).startswith("83.3 % (1 substitutions, 2 deletions, 2 insertions in 6 words)")
    assert count([("...", "")]).rate is None


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_errors_are_the_edit_distance(pairs: list[tuple[str, str]]) -> None:
    found = count(pairs)
    assert found.errors == sum(distance(gold.split(), other.split()) for gold, other in pairs)
    assert found.words == sum(len(gold.split()) for gold, _ in pairs)


def distance(one: list[str], other: list[str]) -> int:
    """Levenshtein's, by its definition."""
    row: list[int] = [*range(len(other) + 1)]
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]
