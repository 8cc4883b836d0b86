"""Names, texts and tables of any characters, on their way to utterances."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfia.corpus.builder import Builder
from cfia.corpus.columns import Columns
from cfia.corpus.corpus_conf import CorpusConf, has_text
from cfia.corpus.decode import read_text
from cfia.corpus.read_table import read_table
from cfia.corpus.rows import Row, Template, match
from cfia.corpus.utterances import unique
from cfia.errors import UserError

PAGE = CorpusConf(
    columns={"audio": "{n}.wav", "name": "{n}", "speaker": "{s}", "label": "x"}, table="t.csv"
)
names = st.text(alphabet="abAB01-_. é/", min_size=1, max_size=4).filter(lambda name: name != "-")
words = st.text(alphabet='aZ ,"\néßÃ©’€ñ', max_size=12)  # all of Windows-1252
ROOT = Path("/corpus")
in_a_directory = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.lists(st.tuples(names, names), min_size=1, max_size=6))
def test_ids_begin_with_their_speaker_and_sort_by_it(said: list[tuple[str, str]]) -> None:
    builder = Builder(ROOT, Columns(PAGE, {}, ROOT), [])
    refusal = ""
    try:
        for line, (name, speaker) in enumerate(said, start=2):
            builder.add(Row({"n": name, "s": speaker}, "t.csv", line))
        found = unique(builder.corpus([], {}).utterances)
    except UserError as error:
        refusal = str(error)
    if refusal:
        assert re.search("become one id|again in|do not sort by speaker", refusal)
        return
    assert len(found) == len(said)
    for key, utterance in found.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", key)
        assert key.startswith(utterance.speaker)
    speakers = [found[key].speaker for key in sorted(found)]
    assert speakers == sorted(speakers)


@in_a_directory
@given(words, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
def test_an_encoding_is_found(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    lines = path.read_bytes().split(b"\n")  # a line of Windows-1252 may happen to be UTF-8
    ambiguous = encoding == "cp1252" and any(not x.isascii() and is_utf8(x) for x in lines)
    assert ambiguous or read_text(path) == text
    assert read_text(path, encoding.removesuffix("-sig")) == text


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


cells = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8) | st.sampled_from(
    ['"', ",", "a\nb", " x ", '"a", b']
)


@in_a_directory
@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_csv_is_read_as_it_was_written(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
        writer.writerow(["a", "b"])
        writer.writerows(rows)
    kept = [row for row in rows if any(row)]
    if not kept:
        with pytest.raises(UserError, match="has no rows"):
            list(read_table(tmp_path, {"file": "a.csv"}))
        return
    found = list(read_table(tmp_path, {"file": "a.csv"}))
    assert [list(row.fields.values()) for row in found] == [[c.strip() for c in r] for r in kept]
    lines = path.read_bytes().split(b"\n")
    for row in found:
        assert lines[row.line - 1].startswith(b'"')


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        (r"(?P<s>\d\d)(?P<x>\w)", "wav/03a.wav", {"s": "03", "x": "a"}),
        (r"(?P<s>\w+)/\d+", "a/b/12.flac", {"s": "b"}),
        (r"(?P<s>.+)/\d+", "a/b/12.flac", {"s": "a/b"}),  # the longest part that matches
        (r"(?P<s>\w+)\.flac", "b.flac", {"s": "b"}),
        (r"(?P<s>a)|(?P<x>b)", "b.wav", {"s": "", "x": "b"}),
        (r"(?P<s>\d)", "12.wav", None),
    ],
)
def test_a_pattern_over_the_end_of_a_path(
    pattern: str, path: str, found: dict[str, str] | None
) -> None:
    assert match(re.compile(pattern), path) == found


def test_a_field_has_any_name() -> None:
    row = Row({"Sr No.": "1", "": "0", "a:b": "2"}, "t.csv", 2)
    assert Template("x{Sr No.}-{a:b}{}.wav").fill(row) == "x1-20.wav"


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({}, True),  # of a recipe with a program of its own
        ({"transcripts": False}, False),
        ({"table": "a", "columns": {"label": "{l}"}}, False),
        ({"table": "a", "columns": {"text_file": "{l}"}}, True),
        ({"table": "a", "columns": {"text": "{l}"}, "transcripts": False}, False),
        ({"files": {"glob": "a", "name": "(?P<text>.)"}}, True),
        ({"files": {"glob": "a", "name": "(?P<label>.)"}}, False),
        ({"data_dir": "a"}, True),
    ],
)
def test_whether_there_are_transcripts(conf: CorpusConf, expected: bool) -> None:
    assert has_text(conf) == expected
