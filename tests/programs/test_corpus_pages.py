"""Broken corpora that conf/corpus.yaml describes: one sentence of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cfia.corpus import prepare
from cfia.errors import UserError
from tests.support.data_files import write_audio
from tests.support.small_corpus import (
    CSV,
    POINTER,
    SmallCorpus,
    as_data_dir,
    by_names,
    put,
    with_column,
    with_join,
)  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> SmallCorpus:
    return SmallCorpus(tmp_path)


Break = Callable[[SmallCorpus], object]
BROKEN: dict[str, tuple[Break, str]] = {
    "a glob that matches nothing": (
        lambda m: by_names(m, glob="*/*.flac"),
        r"corpus ß has no \*/\*\.flac, where corpus\.yaml has the corpus; give its directory by",
    ),
    "a name of another form": (
        lambda m: by_names(m, r"(?P<speaker>a) (?P<label>\d)"),
        r"wav/b 1\.wav is not named as corpus\.yaml says \(files\.name: .*\); rename it",
    ),
    "no regular expression": (
        lambda m: by_names(m, "(?P<speaker>"),
        r"files\.name is no regular expression \(missing \), .*; correct it",
    ),
    "a table that is not there": (
        lambda m: m.table.unlink(), r"corpus ß has no labels\.csv, where corpus\.yaml"
    ),
    "a column that is not there": (
        lambda m: with_column(m, "text", "{word}"),
        r"labels\.csv, line 2: corpus\.yaml asks for \{word\} and there is no such column; the "
        r"columns are file, who, emotion, words, part",
    ),
    "a file listed and missing": (
        lambda m: (m.corpus / "wav" / "a 2.wav").unlink(),
        r"1 of 4 utterances have no audio file \(a 2; .*labels\.csv, line 3 names the first\)",
    ),
    "lines of several encodings": (
        lambda m: m.table.write_bytes(
            CSV.encode().replace(b"So.", "Só.".encode()).replace(b"No.", "Nó.".encode("latin-1"))
        ),
        r"labels\.csv mixes encodings: line 4 is not UTF-8 and line 2 is; convert",
    ),
    "another encoding than is said": (
        lambda m: (m.edit("No.", "né"), put(m, table={"file": "labels.csv", "encoding": "ascii"})),
        r"labels\.csv, line 4: not ascii; say its encoding",
    ),
    "an encoding that is none": (
        lambda m: put(m, table={"file": "labels.csv", "encoding": "utf-9"}),
        "there is no encoding 'utf-9'",
    ),
    "an encoding that nobody finds": (
        lambda m: m.table.write_bytes(CSV.encode().replace(b"No.", b"\x81\x8d")),
        r"labels\.csv, line 4: neither UTF-8 nor Windows-1252; say its encoding",
    ),
    "a row twice": (
        lambda m: m.edit("b 1.wav,Bob", "a 2.wav,Ann"),
        r"a 2 is in .*labels\.csv, line 3 and again in .*labels\.csv, line 4; keep one",
    ),
    "two names that become one id": (
        lambda m: (
            write_audio(m.corpus / "wav" / "a_2.wav"),
            m.edit("b 1.wav,Bob", "a_2.wav,Ann"),
        ),
        r"a 2 \(.*, line 3\) and a_2 \(.*, line 4\) become one id, Ann-a_2; rename",
    ),
    "an empty cell": (
        lambda m: m.edit("a 2.wav,Ann,hap", "a 2.wav,Ann, "),
        r"labels\.csv, line 3: the label is empty \(column emotion\); correct it, or leave it out",
    ),
    "several empty cells": (
        lambda m: m.edit("Ann", ""),
        r"line 2: the speaker is empty \(column who\) \(1 more rows cannot be used\); correct it",
    ),
    "a line that was cut": (
        lambda m: m.edit("b 2.wav,Bob,hap,Yes.,Test\n", "b 2.wav"),
        r"labels\.csv, line 5: the label is empty",
    ),
    "audio that is a pointer": (
        lambda m: (m.corpus / "wav" / "a 2.wav").write_bytes(POINTER),
        r"wav/a 2\.wav is a pointer of Git LFS and no audio; run `git lfs pull`",
    ),
    "a table that is a pointer": (
        lambda m: m.table.write_bytes(POINTER),
        r"labels\.csv is a pointer of Git LFS and not the file; run `git lfs pull`",
    ),
    "a code of no meaning": (
        lambda m: m.edit("Dev", "Eval"),
        r"labels\.csv, line 4: its split is the code 'Eval', which corpus\.yaml \(codes: split\)",
    ),
    "codes that YAML takes for numbers": (
        lambda m: put(m, codes={"split": {3: "train"}}),
        r"the key 3 of codes\.split is 3, not text",
    ),
    "a comma too many": (
        lambda m: m.edit('"Well, well."', "Well, well."),
        r"labels\.csv, line 3: 6 cells where the header has 5; put what has a separator in it",
    ),
    "a quote that does not end": (
        lambda m: m.edit("No.", '"No.'), r"labels\.csv, line 4: unexpected end of data; correct"
    ),
    "a column twice": (
        lambda m: m.edit("emotion", "who"), r"line 1: the header has the column 'who' twice"
    ),
    "another separator": (
        lambda m: m.table.write_text(CSV.replace(",", ";")),
        r"line 1: the header is one cell, 'file;who;.*'; say .*, separator: ';'",
    ),
    "a table without rows": (
        lambda m: m.table.write_text(CSV.partition("\n")[0] + "\n"), r"labels\.csv has no rows"
    ),
    "an empty table": (lambda m: m.table.write_text(""), r"labels\.csv, line 1: the header is emp"),
    "a line that is no JSON": (
        lambda m: put(m, table={"file": "labels.csv", "format": "jsonl"}),
        r"labels\.csv, line 1: not a JSON object; correct the line",
    ),
    "a join without the key": (
        lambda m: with_join(m, "file,age\na 1.wav,33\n"),
        r"labels\.csv, line 3: more\.csv has no row whose file is 'a 2\.wav' \(2 more rows",
    ),
    "a join with a key twice": (
        lambda m: with_join(m, "file,age\na 1.wav,33\na 1.wav,33\n"),
        r"file 'a 1\.wav' is in .*more\.csv, line 2 and again in .*more\.csv, line 3; keep one",
    ),
    "a column on both sides of a join": (
        lambda m: with_join(m, "file,who\na 1.wav,Eve\n"),
        r"the column who has other values in .*labels\.csv, line 2 and .*more\.csv, line 2; n",
    ),
    "a value of another form": (
        lambda m: put(m, match={"who": "(?P<x>Ann)"}),
        r"labels\.csv, line 4: its who 'Bob' is not as corpus\.yaml says \(match: .*\); correct",
    ),
    "a split of another word": (
        lambda m: m.page["codes"].pop("split"),
        r"labels\.csv, line 2: the split is 'Train', not train, valid, test, -; say",
    ),
    "one fold": (
        lambda m: with_column(m, "fold", "1"), "the column fold is 1 in all rows; a fold tests"
    ),
    "a gender that is none": (
        lambda m: with_column(m, "gender", "{who}"),
        r"labels\.csv, line 2: the gender is 'Ann', not m or f, or - where it is not known",
    ),
    "a speaker of two ages": (
        lambda m: with_column(m, "age", "{words}"),
        r"line 3: the age of the speaker Ann is 'Well,_well\.', and 'So\.' by .*, line 2; correct",
    ),
    "two speakers that become one": (
        lambda m: m.table.write_text(CSV.replace("Ann", "B b").replace("Bob", "B+b")),
        r"line 4: the speakers 'B b' and 'B\+b' become one id, B_b; rename",
    ),
    "speakers that do not sort": (
        lambda m: m.table.write_text(CSV.replace("Bob", "Ann-B")),
        r"ids that begin with the speakers Ann-B and Ann do not sort by speaker",
    ),
    "a time that is none": (
        lambda m: with_column(m, "start", "{words}"),
        r"line 2: 'So\.' is no time; write seconds, or h:mm:ss,mmm",
    ),
    "an end before the start": (
        lambda m: (with_column(m, "start", "1:02"), with_column(m, "end", "3.5")),
        r"line 2: the end, 3\.5 s, is not behind the start \(3 more rows",
    ),
    "labels outside the label set": (
        lambda m: m.edit("Bob,hap", "Bob,ps"),
        r"1 of 4 utterances have the label 'ps' \(the first is b 2 in .*labels\.csv, line 5\), "
        r"which .*labels/4\.yaml does not list; add it there",
    ),
    "no file": (lambda m: put(m, table=[]), "files.glob or table is an empty list; name a file"),
    "no way in": (lambda m: m.page.pop("table"), "has neither files nor table nor data_dir; one"),
    "two ways in": (lambda m: put(m, data_dir="x"), "has table and data_dir; one of them says"),
    "a page without a label": (
        lambda m: m.page["columns"].pop("label"), r"columns lacks label; say where it is, such as"
    ),
    "a column with a name of ours": (
        lambda m: with_column(m, "dur", "{who}"), "columns has 'dur'; name it audio, name, speaker"
    ),
    "a data directory that is none": (
        lambda m: put(m, data_dir="wav").page.pop("table"),
        r"corpus ß has no wav/utt2spk, where corpus\.yaml has the corpus",
    ),
    "a data directory with commands": (
        lambda m: as_data_dir(m, **{"wav.scp": {"A-1": "sox a |", "B-1": "b.wav"}}),
        r"kaldi/wav\.scp: A-1 is a command, of which no page can be made; use the directory itself",
    ),
    "a data directory with gaps": (
        lambda m: as_data_dir(m, text={"A-1": "So."}), r"kaldi/text lacks B-1; add it, or run"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_corpus(made: SmallCorpus, what: str) -> None:
    damage, message = BROKEN[what]
    damage(made)
    with pytest.raises(UserError, match=message) as error:
        made.prepare()
    assert "\n" not in str(error.value)
    assert not made.data.exists()


@pytest.mark.parametrize(
    "what",
    [
        "a file listed and missing",
        "an empty cell",
        "audio that is a pointer",
        "a line that was cut",
    ],
)
def test_what_may_be_left_out(
    made: SmallCorpus, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prepare, "SMALLEST_SHARE", 0.5)  # of four, one is too much
    BROKEN[what][0](made)
    data = made.prepare("--skip_bad", "true")
    assert len(data.utterances) == 3
    ((_, why),) = data.skipped.items()
    assert "wav" in why or "labels.csv, line" in why
    assert "left out" in caplog.text


def test_too_much_may_not_be_left_out(made: SmallCorpus) -> None:
    BROKEN["an empty cell"][0](made)
    with pytest.raises(UserError, match=r"1 of 4 rows cannot be used \(the first: .*line 3: the"):
        made.prepare("--skip_bad", "true")
