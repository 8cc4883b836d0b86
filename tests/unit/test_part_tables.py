"""Tables by class, of few classes and of many."""

from __future__ import annotations

import numpy as np

from cfia.report.part_tables import MOST_CLASSES, class_table
from cfia.scoring.scores_file import by_class


def test_of_few_classes_all_confusions_are_shown() -> None:
    table = class_table("", by_class(np.array([[[3, 1], [0, 2]]]), ["neg", "pos"]))
    assert [column.title for column in table.columns[:3]] == ["reference", "as neg", "as pos"]
    assert (table.rows[0]["as pos"], table.rows[0]["n"]) == (1, 4)


def test_of_many_classes_the_largest_confusions_are_named() -> None:
    names = [f"c{i}" for i in range(MOST_CLASSES + 1)]
    counts = 9 * np.eye(len(names), dtype=int)
    counts[0, 1:6] = [1, 5, 0, 7, 2]
    table = class_table("", by_class(counts[None], names))
    assert len(table.columns) == 6
    assert table.rows[0]["mostly"] == "c4 7, c2 5, c5 2"
    assert table.rows[1]["mostly"] == ""
