"""Kaldi's text tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.kaldi.table import read_ids, read_table, unseen, write_table

# Whatever UTF-8 can hold; a key has no blanks, a value no newline and no blanks around it.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")
KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n"), min_size=1
).filter(lambda key: not unseen(key))
VALUES = st.text(CHARACTERS, min_size=1).filter(lambda text: text == text.strip(" \t") != "")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.dictionaries(KEYS, VALUES, min_size=1))
def test_what_is_written_is_read_and_sorted_by_bytes(rows: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_table(path, rows)
    assert read_table(path) == rows
    data = path.read_bytes()
    assert data.endswith(b"\n")
    keys = [line.split(b" ")[0] for line in data[:-1].split(b"\n")]
    assert keys == sorted(keys)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(st.text("ab \t\r\v\u00e4", max_size=6), min_size=1, max_size=4))
def test_rows_are_what_stands_before_and_behind_the_first_blanks(
    lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "table"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    rows = [re.split("[ \t]+", line.strip(" \t\r"), maxsplit=1) for line in lines]
    assert read_ids(path) == [row[0] for row in rows]
    sound = all(row[0] and len(row) > 1 for row in rows) and len({*read_ids(path)}) == len(rows)
    if sound:
        assert list(read_table(path).items()) == [tuple(row) for row in rows]
    else:
        with pytest.raises(UserError, match=r", line [1-4]: "):
            read_table(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a 1\nb", "does not end in a newline"),
        (b"a 1\n\nb 2\n", "line 2: the line is empty"),
        (b"a 1\nb\n", "line 2: b has no value"),
        (b"a 1\nb \t\n", "line 2: b has no value"),
        (b"a 1\nb 2\na 3\n", "line 3: a is there twice"),
        (b"a 1\nb caf\xe9\n", "line 2: not UTF-8"),
        (b"a 1\nb\xc2\xad 2\n", "line 2: the id b has the invisible character U+00AD; delete it"),
        (b"a 1\n\xef\xbb\xbfb 2\n", "line 2: the id b has the invisible character U+FEFF"),
    ],
)
def test_a_malformed_table_is_named_with_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a table"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "text")
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path)


def test_columns_may_be_parted_by_tabs_and_lines_end_in_crlf(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("a\tone  two\r\nb  \xa0three\n".encode())
    assert read_table(path) == {"a": "one  two", "b": "\xa0three"}


def test_a_newline_that_was_missing_may_be_added(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a one\nb two")
    with pytest.raises(UserError, match="make it again, or add the newline where nothing is"):
        read_table(path)
    path.write_text(path.read_text() + "\n")
    assert read_table(path) == {"a": "one", "b": "two"}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffa one\r\nb می\u200cدانم\r\n".encode())
    assert read_table(path) == {"a": "one", "b": "می\u200cدانم"}


def test_keys_without_values_where_they_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a one\nb\n")
    assert read_table(path, allow_empty=True) == {"a": "one", "b": ""}


@pytest.mark.parametrize(
    "rows",
    [
        {"": "x"},
        {"a b": "x"},
        {"a": ""},
        {"a": " x"},
        {"a": "x\ny"},
        {"a": "\udcff"},
        {"a\u200b": "x"},
    ],
)
def test_rows_that_could_not_be_read_back_are_not_written(
    tmp_path: Path, rows: dict[str, str]
) -> None:
    with pytest.raises(UserError, match="text"):
        write_table(tmp_path / "text", rows)
    assert list(tmp_path.iterdir()) == []
