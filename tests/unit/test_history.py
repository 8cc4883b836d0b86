"""history.csv: what is written is read again, and what was edited is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.training.history import read_history, selected, selected_row, write_history


@settings(max_examples=20)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=9), st.data())
def test_a_row_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, uas: list[float], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "history.csv"
    best = data.draw(st.integers(1, len(uas)))
    rows = [{"epoch": epoch, "valid_ua": ua} for epoch, ua in enumerate(uas, 1)]
    write_history(path, rows, best)
    assert selected(path) == best
    assert selected_row(path)["valid_ua"] == uas[best - 1]
    assert list(read_history(path, ["valid_ua"])["valid_ua"]) == uas


@pytest.mark.parametrize(
    "text",
    [
        "epoch,selected\n1,0\n",
        "epoch,selected\n1,1\n2,1\n",
        "epoch,selected\n1,yes\n",
        "epoch\n1\n",
        "epoch,selected\n",
        "",
    ],
)
def test_a_history_without_one_selected_row_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"history\.csv must have one row that is selected"):
        selected(path)
