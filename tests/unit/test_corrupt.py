"""Gold text with word errors: as many as are asked for, and such as a recogniser makes."""

from __future__ import annotations

from collections import Counter

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.asr.confusions import Confusions
from cfia.asr.corrupt import corrupt
from cfia.asr.word_errors import normalise as words

SENTENCE = st.lists(
    st.sampled_from(["I", "am", "tired,", "no.", "No", "it's", "-", "why", "你好吗"])
)
GOLD = st.dictionaries(st.sampled_from("abcdefgh"), SENTENCE.map(" ".join), min_size=1)
HEARD = st.lists(st.sampled_from(["i", "eye", "am", "tide", "know", "uh"])).map(" ".join)


def wer(gold: dict[str, str], other: dict[str, str]) -> tuple[int, int]:
    """Words of the gold text, and errors."""
    said, heard = ([" ".join(words(text[utt])) for utt in gold] for text in (gold, other))
    found = jiwer.process_words(said, heard)
    errors = found.substitutions + found.deletions + found.insertions
    return sum(len(sentence) for sentence in found.references), errors


@st.composite
def recognised(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str]]:
    """Gold text, and what a recogniser made of some of its utterances."""
    gold = draw(GOLD)
    return gold, {utt: draw(HEARD) for utt in gold if draw(st.booleans())}


@settings(max_examples=40, deadline=None)
@given(recognised(), st.integers(0, 40), st.integers(0, 3))
def test_as_many_errors_as_are_asked_for(
    texts: tuple[dict[str, str], dict[str, str]], percent: int, seed: int
) -> None:
    gold, heard = texts
    confusions = Confusions.of(gold, heard)
    corrupted = corrupt(gold, confusions, percent, seed)
    n, errors = wer(gold, corrupted)
    wanted = round(percent / 100 * n)
    assert abs(errors - wanted) <= 1
    assert list(corrupted) == list(gold)  # an utterance may lose its words, and stays
    known = {w for text in (*gold.values(), *heard.values()) for w in words(text)}
    assert {w for text in corrupted.values() for w in words(text)} <= known
    assert corrupted == corrupt(gold, confusions, percent, seed)
    if not wanted:
        assert corrupted == gold


@settings(max_examples=20, deadline=None)
@given(recognised(), st.integers(0, 3))
def test_what_is_right_with_many_errors_is_right_with_few(
    texts: tuple[dict[str, str], dict[str, str]], seed: int
) -> None:
    gold, heard = texts
    confusions = Confusions.of(gold, heard)
    few, many = (corrupt(gold, confusions, percent, seed) for percent in (10, 40))
    assert all(few[utt] == gold[utt] for utt in gold if many[utt] == gold[utt])


GOLD_TEXT = {
    f"u{i}": text
    for i, text in enumerate(["see the cat run", "the dog can see", "why is it so"] * 40)
}


def heard(**changes: str) -> dict[str, str]:
    return {
        utt: " ".join(changes.get(word, word) for word in text.split()).replace("  ", " ").strip()
        for utt, text in GOLD_TEXT.items()
    }


def test_errors_are_those_of_the_recogniser() -> None:
    """It takes the cat for a cap, leaves out `can`, and puts in `uh` before `why`."""
    confusions = Confusions.of(GOLD_TEXT, heard(cat="cap", can="", why="uh why"))
    assert confusions.substituted == {"cat": Counter(cap=40)}
    assert (confusions.deleted, confusions.inserted) == (Counter(can=40), Counter(uh=40))
    corrupted = corrupt(GOLD_TEXT, confusions, 20, seed=1)
    made = Confusions.of(GOLD_TEXT, corrupted)
    # 96 errors of 480 words, where it makes 120.
    assert made.substituted["cat"].most_common(1)[0][0] == "cap"
    assert made.deleted.most_common(1)[0][0] == "can"
    assert made.inserted.most_common(1)[0][0] == "uh"
    kinds = [sum(c.total() for c in made.substituted.values()), made.deleted.total(),
             made.inserted.total()]  # fmt: skip
    assert sum(kinds) == pytest.approx(96, abs=1)
    assert kinds == pytest.approx([32] * 3, abs=12)


def test_a_recogniser_without_errors_leaves_words_of_the_corpus() -> None:
    made = Confusions.of(GOLD_TEXT, corrupt(GOLD_TEXT, Confusions.of(GOLD_TEXT, GOLD_TEXT), 30, 1))
    assert sum(counts.total() for counts in made.substituted.values()) > 20
    assert made.deleted.total() > 20
    assert made.inserted.total() > 20
