"""Data directories in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia import marker
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir, write_data_dir
from cfia.kaldi.layout import Segment, spk2utt
from cfia.training.folds import make_folds
from cfia.training.inputs import classes
from tests.support.data_files import tree, write_tables

TABLES = {
    "wav.scp": {"s1-a": "/x/a.wav", "s1-b": "cat /x/b.wav |", "s2-c": "/x/ä c.wav"},
    "text": {"s1-a": "Ja.", "s1-b": "Hört, hört!", "s2-c": "..."},
    "utt2spk": {"s1-a": "s1", "s1-b": "s1", "s2-c": "s2"},
    "utt2dur": {"s1-a": "1.5", "s1-b": "0.25", "s2-c": "2"},
    "utt2emo": {"s1-a": "neu", "s1-b": "ang", "s2-c": "neu"},
}
OPTIONS = {"labels": "4"}
INPUTS = {"corpus": "aa"}


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data dir ü"
    write_data_dir(path, {**TABLES, "skipped": {}}, OPTIONS, INPUTS)
    data = DataDir.load(path)
    assert data.utterances == ["s1-a", "s1-b", "s2-c"]
    assert data.wav_scp == TABLES["wav.scp"]
    assert data.text == TABLES["text"]
    assert data.utt2dur == {"s1-a": 1.5, "s1-b": 0.25, "s2-c": 2.0}
    assert classes(path) == ("ang", "neu")
    assert (data.table("utt2session"), data.skipped, data.segments) == ({}, {}, {})
    assert (path / "spk2utt").read_text() == "s1 s1-a s1-b\ns2 s2-c\n"
    assert not (path / "skipped").exists()
    assert marker.check(path, OPTIONS, INPUTS) is marker.State.DONE


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "all"
    write_data_dir(path, {**TABLES, "utt2type": dict.fromkeys(TABLES["text"], "x")}, {}, {})
    write_data_dir(path, TABLES, OPTIONS, INPUTS)
    assert not (path / "utt2type").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["all"]


def test_what_is_not_valid_never_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "all"
    write_data_dir(path, TABLES, OPTIONS, INPUTS)
    before = tree(tmp_path)
    wrong = {**TABLES, "utt2spk": dict.fromkeys(TABLES["text"], "s1")}
    with pytest.raises(UserError, match=f"in {path}/utt2spk, the utterance-id s2-c does not start"):
        write_data_dir(path, wrong, OPTIONS, INPUTS)
    assert tree(tmp_path) == before


@given(st.dictionaries(st.text("abc", min_size=1), st.sampled_from(["s1", "s2", "s3"])))
def test_spk2utt_is_the_inverse(utt2spk: dict[str, str]) -> None:
    pairs = {(u, s) for s, of in spk2utt(utt2spk).items() for u in of.split()}
    assert pairs == set(utt2spk.items())
    assert all(of.split() == sorted(of.split()) for of in spk2utt(utt2spk).values())


def test_segments_are_pieces_of_recordings(tmp_path: Path) -> None:
    path = write_tables(
        tmp_path,
        {
            **TABLES,
            "wav.scp": {"rec": "/x/rec.wav"},
            "segments": {"s1-a": "rec 0.5 2", "s1-b": "rec 2 2.25", "s2-c": "rec 3.0 -1"},
        },
    )
    data = DataDir.load(path)
    assert data.segments["s1-a"] == Segment("rec", 0.5, 2.0)
    assert data.audio("s1-a") == ("/x/rec.wav", 0.5, 2.0)
    assert data.audio("s2-c") == ("/x/rec.wav", 3.0, None)


def test_without_segments_the_audio_is_the_entry(tmp_path: Path) -> None:
    data = DataDir.load(write_tables(tmp_path, TABLES))
    assert data.audio("s1-b") == ("cat /x/b.wav |", None, None)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("text", {"s1-a": "x", "s2-c": "x"}, "text lacks s1-b"),
        ("text", {**TABLES["text"], "s3-d": "x"}, "text has s3-d, which utt2spk lacks"),
        ("utt2emo", {"s1-a": "neu"}, r"utt2emo lacks s1-b \(1 more differ\)"),
        ("utt2session", {"s1-a": "A"}, "utt2session lacks s1-b"),
        ("utt2dur", {**TABLES["utt2dur"], "s2-c": "0"}, "the duration of s2-c is '0'"),
        ("utt2dur", {**TABLES["utt2dur"], "s2-c": "long"}, "the duration of s2-c is 'long'"),
        ("utt2dur", {**TABLES["utt2dur"], "s2-c": "inf"}, "the duration of s2-c is 'inf'"),
        ("segments", dict.fromkeys(TABLES["text"], "s1-a 2 1"), "segments: s1-a has 's1-a 2 1'"),
        ("segments", dict.fromkeys(TABLES["text"], "s1-a 1"), "segments: s1-a has 's1-a 1'"),
        ("segments", dict.fromkeys(TABLES["text"], "rec 0 1"), "the recording rec, which wav.scp"),
    ],
)
def test_tables_that_do_not_agree(
    tmp_path: Path, name: str, rows: dict[str, str], message: str
) -> None:
    write_tables(tmp_path, {**TABLES, name: rows})
    with pytest.raises(UserError, match=message):
        DataDir.load(tmp_path)


@pytest.mark.parametrize("name", ["wav.scp", "text", "utt2spk", "utt2dur"])
def test_a_table_that_must_be_there(tmp_path: Path, name: str) -> None:
    write_tables(tmp_path, {key: rows for key, rows in TABLES.items() if key != name})
    with pytest.raises(UserError, match=f"no such file .*{name}"):
        DataDir.load(tmp_path)


def test_a_directory_that_is_not_there_or_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such data directory"):
        DataDir.load(tmp_path / "none")
    write_tables(tmp_path, {key: rows for key, rows in TABLES.items() if key != "utt2emo"})
    with pytest.raises(UserError, match="utt2emo"):
        classes(tmp_path)
    with pytest.raises(UserError, match="utt2emo"):
        make_folds(DataDir.load(tmp_path), "speaker", "random20")
