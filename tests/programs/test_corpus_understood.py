"""Corpora that conf/corpus.yaml describes, as they are understood."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cfia import marker
from cfia.corpus import page, prepare
from cfia.errors import UserError
from tests.support.data_files import ROOT, tree, write_audio
from tests.support.small_corpus import CSV, SmallCorpus, as_data_dir, by_names, with_column


@pytest.fixture
def made(tmp_path: Path) -> SmallCorpus:
    return SmallCorpus(tmp_path)


def test_a_table_says_all(made: SmallCorpus) -> None:
    data = made.prepare()
    assert data.utt2spk == {"Ann-a_1": "Ann", "Ann-a_2": "Ann", "Bob-b_1": "Bob", "Bob-b_2": "Bob"}
    assert data.table("utt2emo")["Bob-b_2"] == "hap"
    assert data.text["Ann-a_2"] == "Well, well."
    assert data.wav_scp["Bob-b_1"] == str(made.corpus / "wav" / "b 1.wav")
    assert [u.split for u in made.read().utterances] == ["train", "train", "valid", "test"]


@pytest.mark.parametrize(
    ("encode", "warns"),
    [
        (lambda text: text.encode("utf-8-sig"), False),
        (lambda text: text.replace("\n", "\r\n").encode(), False),
        (lambda text: text.encode("utf-16"), False),
        (lambda text: text.replace("\n", "\r\n").encode("cp1252"), True),
        (lambda text: text.replace("’", "\x92").encode(), False),  # as MELD's were until 2020
        (lambda text: text.replace(",", "  , ", 9).encode(), True),
        (lambda text: (text + "\n\n").encode(), False),
    ],
)
def test_a_table_of_windows_and_others(
    made: SmallCorpus, encode: Callable[[str], bytes], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made.table.write_bytes(encode(CSV.replace("No.", '"Nö, it’s"')))
    texts = {u.id: u.transcript for u in made.read().utterances}
    assert texts["Bob-b_1"] == "Nö, it’s"
    assert texts["Ann-a_2"] == "Well, well."
    said = [m for m in caplog.messages if "labels.csv, line" in m]
    assert len(said) == warns


def test_folders_count_and_the_longest_match_is_taken(made: SmallCorpus) -> None:
    write_audio(made.corpus / "x" / "01Neutral" / "n1-02-17.wav")
    write_audio(made.corpus / "x" / "02Angry" / "a1-01-3.WAV")
    (made.corpus / "x" / "02Angry" / "._a1-01-3.wav").write_bytes(b"\0")
    made.page = {
        "root": ["nowhere", "x"],
        "files": {
            "glob": ["**/*.wav"],
            "name": r"\d\d(?P<label>\w+)/[a-z]\d-(?P<speaker>\d+)-\d+",
        },
        "columns": {"gender": "{speaker}", "sentence": "{name}"},
        "codes": {
            "label": {"Neutral": "neu", "*": "*"},
            "gender": {"odd": "m", "even": "f"},
        },
    }
    corpus = made.read()
    assert [(u.id, u.speaker, u.label, u.transcript) for u in corpus.utterances] == [
        ("02-n1-02-17", "02", "neu", None),
        ("01-a1-01-3", "01", "Angry", None),
    ]
    assert corpus.speakers == {"spk2gender": {"02": "f", "01": "m"}}
    assert not corpus.has_text
    assert corpus.utterances[0].columns == {"sentence": "n1-02-17"}


def test_an_id_begins_with_the_speaker_unless_the_name_does(made: SmallCorpus) -> None:
    made.table.write_text(CSV.replace("Ann", "a").replace("Bob", "b"))
    assert [u.id for u in made.read().utterances] == ["a_1", "a_2", "b_1", "b_2"]
    # The names of the speakers 1 and 10 sort otherwise than they do.
    for name, new in (("a 1", "10"), ("a 2", "1"), ("b 1", "10 b"), ("b 2", "1 b")):
        (made.corpus / "wav" / f"{name}.wav").rename(made.corpus / "wav" / f"{new}.wav")
    made.table.write_text(
        "file,who,emotion,words,part\n10.wav,10,ang,a,Dev\n1.wav,1,hap,b,Dev\n"
        "10 b.wav,10,ang,c,Dev\n1 b.wav,1,hap,d,Dev\n"
    )
    assert list(made.prepare().utt2spk) == ["1-1", "1-1_b", "10-10", "10-10_b"]


def test_several_tables_and_a_join(made: SmallCorpus) -> None:
    """As MELD: a table for each part, ids that begin anew in each, and times of a clock."""
    (made.corpus / "t").mkdir()
    for part in ("train", "test"):
        (made.corpus / "t" / f"{part}_sent.csv").write_text("Sr No.,D,split\n1,0,?\n2,0,?\n")
    (made.corpus / "more.txt").write_text(
        "id\temotion\tuntil\ntrain-1\tang\t0:01:30,5\ntrain-2\thap\t0:02:30,5\n"
        "test-1\tang\t0:01:30,5\ntest-2\thap\t0:02:30,5\n"
    )
    made.page = {
        "table": [
            {"file": "t/train*.csv", "split": "train"},
            {"file": "t/te*.csv", "name": "(?P<split>test)_sent"},
        ],
        "join": {"file": "more.txt", "key": "id", "value": "{split}-{Sr No.}"},
        "columns": {
            "audio": "wav/a 1.wav",
            "name": "{split}_dia{D}_utt{Sr No.}",
            "label": "{emotion}",
            "dialogue": "{split} {D}",
            "split": "{split}",
            "start": "1.5",
            "end": "{until}",
        },
    }
    corpus = made.read()
    assert [(u.id, u.speaker, u.label, u.split) for u in corpus.utterances] == [
        ("train_dia0_utt1", "", "ang", "train"),
        ("train_dia0_utt2", "", "hap", "train"),
        ("test_dia0_utt1", "", "ang", "test"),
        ("test_dia0_utt2", "", "hap", "test"),
    ]
    last = corpus.utterances[-1]
    assert (last.start, last.end, last.dialogue) == (1.5, 150.5, "test_0")
    assert {path.name for path in corpus.files} == {"train_sent.csv", "test_sent.csv", "more.txt"}


def test_json_lines_and_official_folds(made: SmallCorpus) -> None:
    """As EmoBox: an object a line, and a list of each fold's test."""
    rows = [
        {
            "key": f"x-{i}",
            "wav": f"wav/{'ab'[i % 2]} 1.wav",
            "emo": "ang",
            "length": 1.5,
            "odd": None,
        }
        for i in range(4)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (made.corpus / "all.jsonl").write_text(lines)
    for fold, keys in (("2", ("x-0", "x-3")), ("10", ("x-1", "x-2"))):
        path = made.corpus / f"fold_{fold}" / "test.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps({"key": key, "emo": "ang"}) + "\n" for key in keys))
    made.page = {
        "table": "all.jsonl",
        "join": {"file": "fold_*/test.jsonl", "name": r"fold_(?P<fold>\d+)/test", "key": "key"},
        "columns": {
            "audio": "{wav}", "name": "{key}", "label": "{emo}", "fold": "{fold}",
            "long": "{length}", "take": "{n}",
        },
        "match": {"key": r"x-(?P<n>\d)"},
    }  # fmt: skip
    found = made.read().utterances
    assert {u.id: u.split for u in found} == {
        "x-0": "test train", "x-1": "train test", "x-2": "train test", "x-3": "test train",
    }  # fmt: skip
    assert found[0].columns == {"long": "1.5", "take": "0"}


def test_a_transcript_file_for_each_utterance(made: SmallCorpus) -> None:
    for name in ("a 1", "b 1", "b 2"):
        (made.corpus / "wav" / f"{name}.txt").write_text(f" {name} speaks\n")
    by_names(made, r"(?P<speaker>\w) (?P<label>\d)")
    made.page["columns"] = {"text_file": "{folder}/{name}.txt"}
    made.page["codes"] = {"label": {"1": "ang", "2": "hap"}}
    with pytest.raises(UserError, match=r"1 of 4 utterances have no transcript \(a 2; .*a 2\.wav"):
        made.prepare()
    data = made.prepare("--allow_partial", "true")
    assert data.text == {"a_1": "a 1 speaks", "b_1": "b 1 speaks", "b_2": "b 2 speaks"}


def test_a_data_directory_is_a_corpus(made: SmallCorpus) -> None:
    as_data_dir(
        made,
        segments={"A-1": "A-1 0 0.05", "B-1": "B-1 0.01 -1"},
        text={"A-1": "So.", "B-1": "Nein."},
        utt2lang={"A-1": "en", "B-1": "de"},
        utt2split={"A-1": "train -", "B-1": "test train"},
        spk2gender={"A": "m", "B": "f"},
        utt2dur={"A-1": "9", "B-1": "9"},
    )
    corpus = made.read()
    assert [(u.id, u.label, u.split, u.start, u.end) for u in corpus.utterances] == [
        ("A-1", "ang", "train -", 0.0, 0.05),
        ("B-1", "hap", "test train", 0.01, None),
    ]
    assert corpus.speakers == {"spk2gender": {"A": "m", "B": "f"}}
    assert [u.columns for u in corpus.utterances] == [{"lang": "en"}, {"lang": "de"}]
    data = made.prepare()
    assert data.audio("A-1") == (str(made.corpus / "wav" / "a 1.wav"), 0.0, 0.05)
    assert data.utt2dur == {"A-1": 0.05, "B-1": 0.09}
    shutil.rmtree(made.corpus / "kaldi")
    as_data_dir(made, utt2spk={"A-1": "A-1", "B-1": "B-1"})
    assert {u.speaker for u in made.read().utterances} == {""}


def test_what_is_not_known_of_some(made: SmallCorpus) -> None:
    with_column(made, "gender", "{who}", {"Ann": "f", "Bob": "-"})
    with_column(made, "age", "{who}", {"Ann": "33", "Bob": ""})
    with_column(made, "level", "{emotion}", {"ang": "very  high", "hap": "-"})
    corpus = made.read()
    assert corpus.speakers == {"spk2gender": {"Ann": "f"}, "spk2age": {"Ann": "33"}}
    assert [u.columns["level"] for u in corpus.utterances] == ["very_high", "", "very_high", ""]


def test_audio_that_no_table_names(made: SmallCorpus, caplog: pytest.LogCaptureFixture) -> None:
    made.edit("b 2.wav,Bob,hap,Yes.,Test\n", "")
    made.prepare()
    assert "wav/b 2.wav: no table names it; such files are not used (1 of them" in caplog.text
    caplog.clear()
    made.page["ignore"] = "wav/b 2*"
    made.prepare("--force", "true")
    made.table.write_text(CSV)
    assert len(made.prepare("--force", "true").utterances) == 3
    assert "no table names it" not in caplog.text


def test_show_writes_nothing(made: SmallCorpus, tmp_path: Path) -> None:
    """The real script of a recipe without a program of its own."""
    with_column(made, "gender", "{who}", {"Ann": "f", "Bob": "m"})
    made.edit("Bob,hap", "Bob,ps")
    made.table.write_text(made.table.read_text() + "c.wav,,ang,Hm.,Test\n")
    made.write_page()
    (made.corpus / "wav" / "b 2.wav").unlink()
    script = ROOT / "egs" / "emodb" / "local" / "data.sh"
    before = tree(tmp_path)
    path = f"{ROOT / 'utils'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script), "--show", "2", str(made.corpus)],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in (
        "Ann-a_1",
        "  gender    f",
        "  text      So.",
        "  split     train",
        "utterances by label (3): ang (ang) 2, hap (hap) 1, ps (not in conf/labels/4.yaml) 1",
        "by speaker (2): Ann 2, Bob 2",
        "by official split: test 1, train 2, valid 1",
        f"without their audio file: 1, such as {made.corpus}/wav/b 2.wav",
        f"rows that cannot be used: 1; the first: {made.corpus}/labels.csv, line 6: the speaker "
        "is empty (column who)",
        "utterances: 4",
    ):
        assert line in done.stdout.splitlines()
    assert tree(tmp_path) == before


def test_show_and_a_data_directory_are_a_usage_error(
    made: SmallCorpus, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--show", "2", "c", "d"], ["c"]):
        with pytest.raises(SystemExit) as stop:
            prepare.main("it", page.read, ["--conf", str(made.conf), *arguments])
        assert stop.value.code == 2
    assert "give a data directory to write, or --show and none" in capsys.readouterr().err


def test_a_copy_without_its_times_is_the_same_corpus(
    made: SmallCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made.prepare()
    before = tree(made.data)
    copied = made.corpus.with_name("copied")
    shutil.copytree(made.corpus, copied, copy_function=shutil.copyfile)
    shutil.rmtree(made.corpus)
    copied.rename(made.corpus)
    made.prepare()
    assert "files have other times than before, and the same bytes" in caplog.text
    assert caplog.messages[-1] == f"{made.data}: already made, skipping"
    assert tree(made.data) == before
    audio = made.corpus / "wav" / "a 1.wav"
    audio.write_bytes(audio.read_bytes()[:-2] + b"xy")
    with pytest.raises(UserError, match="its input corpus has changed"):
        made.prepare()


def test_a_marker_without_digests_of_bytes_is_told_by_times(made: SmallCorpus) -> None:
    """As those were until these were recorded."""
    made.prepare()
    recorded = marker.read(made.data)
    assert recorded is not None
    inputs = {name: value for name, value in recorded.inputs.items() if "bytes" not in name}
    marker.finish(made.data, recorded.options, inputs, located=made.data)
    made.prepare()
    os.utime(made.table)
    with pytest.raises(UserError, match="its input corpus has changed"):
        made.prepare()


def test_a_change_of_the_page_is_noticed(made: SmallCorpus) -> None:
    (made.conf / "parts.yaml").write_text(yaml.safe_dump(made.page["codes"]["split"]))
    made.page["codes"]["split"] = "parts.yaml"
    made.prepare()
    made.page["title"] = "A title changes no data"
    made.prepare()
    (made.conf / "parts.yaml").write_text("{Train: train, Dev: train, Test: test}")
    with pytest.raises(UserError, match=r"its input parts\.yaml has changed"):
        made.prepare()
    made.page["columns"]["text"] = "said {words}"
    with pytest.raises(UserError, match=r"its input corpus\.yaml has changed"):
        made.prepare()
