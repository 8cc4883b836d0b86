"""WA, UA, WF1 and macro F1 against scikit-learn, and their shapes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cfia.metrics import METRICS, confusion, f1, grouped_confusion, macro_f1, recall, ua, wa, wf1

CLASSES = st.integers(2, 6)


@st.composite
def labels(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    k = draw(CLASSES)
    pairs = draw(
        st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60)
    )
    return [ref for ref, _ in pairs], [hyp for _, hyp in pairs], k


@settings(deadline=None, max_examples=150)
@given(labels())
def test_scores_are_those_of_scikit_learn(case: tuple[list[int], list[int], int]) -> None:
    refs, hyps, k = case
    counts = confusion(refs, hyps, k)
    assert (counts == sk.confusion_matrix(refs, hyps, labels=range(k))).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes without references
        expected = {
            "wa": sk.accuracy_score(refs, hyps),
            "ua": sk.balanced_accuracy_score(refs, hyps),
            "wf1": sk.f1_score(refs, hyps, average="weighted", zero_division=0),
            "macro_f1": sk.f1_score(refs, hyps, average="macro", zero_division=0),
        }
    for name, value in expected.items():
        assert float(METRICS[name](counts)) == pytest.approx(100 * value, abs=1e-11), name


@settings(deadline=None, max_examples=50)
@given(labels(), st.integers(0, 5))
def test_leading_axes_are_scored_one_by_one(
    case: tuple[list[int], list[int], int], seed: int
) -> None:
    refs, hyps, k = case
    groups = np.random.default_rng(seed).integers(0, 4, len(refs))
    counts = grouped_confusion(refs, hyps, groups, k, 4)
    assert (counts.sum(0) == confusion(refs, hyps, k)).all()
    for name, score in METRICS.items():
        together = score(counts.reshape(2, 2, k, k))
        assert together.shape == (2, 2), name
        for g in range(4):
            assert together[g // 2, g % 2] == score(counts[g]), name


def test_a_worked_example() -> None:
    counts = [[8, 2, 0], [1, 3, 0], [0, 3, 3]]
    assert wa(counts) == pytest.approx(100 * 14 / 20)
    assert ua(counts) == pytest.approx(100 * (8 / 10 + 3 / 4 + 3 / 6) / 3)
    assert list(recall(counts)) == pytest.approx([0.8, 0.75, 0.5])
    assert list(f1(counts)) == pytest.approx([16 / 19, 6 / 12, 6 / 9])
    assert wf1(counts) == pytest.approx(100 * (10 * 16 / 19 + 4 * 0.5 + 6 * 2 / 3) / 20)
    assert macro_f1(counts) == pytest.approx(100 * (16 / 19 + 0.5 + 2 / 3) / 3)


def test_a_class_without_references_does_not_lower_ua() -> None:
    counts = [[4, 0, 0], [0, 4, 0], [0, 0, 0]]
    assert ua(counts) == 100
    assert macro_f1(counts) == 100
    # As a wrong hypothesis it counts for F1, not for UA.
    wrong = [[4, 0, 0], [0, 3, 1], [0, 0, 0]]
    assert ua(wrong) == pytest.approx(100 * (1 + 0.75) / 2)
    assert macro_f1(wrong) == pytest.approx(100 * (1 + 6 / 7 + 0) / 3)


def test_no_utterance_at_all_scores_zero() -> None:
    for score in METRICS.values():
        assert score(np.zeros((3, 3), int)) == 0
