"""Mending of data directories: any mess of tables becomes a directory that validates."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia import marker
from cfia.errors import UserError
from cfia.kaldi.fix import fix
from cfia.kaldi.layout import TABLES, Key
from cfia.kaldi.subset import choose, spread
from cfia.kaldi.validate import Checks, validate
from tests.support.data_files import tree, write_tables
from tests.support.killed import Killed

SPEAKERS = ["a", "b", "ö"]
UTTERANCES = [f"{s}-{i}" for s in SPEAKERS for i in range(3)]
VALUES = {"spk2gender": "f", "text": "Ja. \u2028 x", "utt2num_frames": "7"}
CHECKS = Checks(feats=False, text=False, wav=False, printable=False)


def full_tables(segmented: bool) -> dict[str, dict[str, str]]:
    tables = {}
    for name, table in TABLES.items():
        keys = SPEAKERS if table.key is Key.SPEAKER else UTTERANCES
        if table.key is Key.RECORDING and segmented:
            keys = [f"rec{i}" for i in range(3)]
        tables[name] = {key: VALUES.get(name, "1.5") for key in keys}
    tables["utt2spk"] = {u: u[0] for u in UTTERANCES}
    tables["segments"] = {u: f"rec{u[-1]} 0 1.5" for u in UTTERANCES}
    if not segmented:
        del tables["segments"]
    return tables


@st.composite
def messes(draw: st.DrawFn) -> dict[str, bytes]:
    """Some tables with rows lost, doubled, shuffled, and blanks around them."""
    tables = full_tables(draw(st.booleans()))
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    optional = sorted(tables.keys() - {"utt2spk", "segments", "wav.scp"})
    names = {*draw(st.sets(st.sampled_from(optional))), *(tables.keys() - set(optional))}
    files = {}
    for name in sorted(names):
        lines = []
        for key, value in tables[name].items():
            times = rng.choices([0, 1, 2], [0.1, 0.8, 0.1])[0]
            if name == "text" and rng.random() < 0.1:
                value = ""
            blank, end = rng.choice([" ", "\t", "  "]), rng.choice(["\n", " \n", "\r\n", "\n\n"])
            lines += [f"{key}{blank}{value}{end}"] * times
        rng.shuffle(lines)
        files[name] = "".join(lines).encode()
    files["spk2utt"] = b"nonsense\n"
    return files


@given(messes())
@settings(max_examples=30)
def test_a_mess_becomes_a_valid_directory_and_stays_it(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        for table, content in files.items():
            (data / table).write_bytes(content)
        if all(lost(files, utterance) for utterance in UTTERANCES):
            with pytest.raises(UserError, match="no utterances remained"):
                fix(data)
            assert tree(data) == files
            return
        report = fix(data)
        validate(data, CHECKS)
        kept = {line.split()[0] for line in (data / "utt2spk").read_text().splitlines()}
        assert len(kept) == report.kept
        for utterance in set(UTTERANCES) - kept:
            assert lost(files, utterance), "an utterance was dropped that all tables have"
        if report.changed:
            assert {
                k.removeprefix(".backup/"): v for k, v in tree(data).items() if ".backup/" in k
            } == files
        once = tree(data)
        assert not fix(data).changed
        assert tree(data) == once


def lost(files: dict[str, bytes], utterance: str) -> bool:
    """Whether some table lacks the utterance, its recording or its speaker."""
    for name, content in files.items():
        if name == "spk2utt":
            continue
        key = {Key.SPEAKER: utterance[0], Key.UTTERANCE: utterance}.get(TABLES[name].key)
        if key is None:
            key = f"rec{utterance[-1]}" if "segments" in files else utterance
        rows = [line.split() for line in content.decode().split("\n") if line.strip()]
        if not any(row[0] == key and len(row) > 1 for row in rows):
            return True
    return False


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tables = full_tables(segmented=True)
    del tables["utt2emo"]["b-1"]
    return write_tables(tmp_path / "data ä", tables)


@pytest.mark.parametrize("survived", range(0, 22, 3))
def test_a_killed_run_is_finished_by_the_next(
    data: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    original = tree(data)
    marker.finish(data, {"labels": "4"}, {})
    made = (data / ".done.json").read_bytes()
    rename, count = os.replace, 0

    def replace(source: str, target: str) -> None:
        nonlocal count
        if Path(source).parent.name.startswith(".fix.tmp.") and Path(target).parent == data:
            count += 1
            if count > survived:
                raise Killed
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises((Killed, RuntimeError)):
        fix(data)
        raise RuntimeError("it came to its end")
    monkeypatch.setattr(os, "replace", rename)
    (data / ".fix.tmp.of_a_killed_process").mkdir()
    report = fix(data)
    done_before = count <= survived
    assert (report.kept, report.total) == ((8, 8) if done_before else (8, 9))
    recorded = marker.read(data)  # of a program, but of no stage
    assert recorded is not None
    assert recorded.options == {}
    assert marker.changed_file(data, recorded) is None
    validate(data, CHECKS)
    backup = tree(data / ".backup")
    assert backup.pop(".done.json") == made
    assert backup == original
    assert not list(data.glob(".fix*"))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("utt2dur", "a-1 2.0", "utt2dur has two different lines for a-1; delete the one"),
        ("utt2dur", "a-9", "utt2dur: a-9 has no value; add it or delete the line"),
        ("wav.scp", "rec1 y", "wav.scp has two different lines for rec1"),
        ("utt2spk", "x-1 a", "no utterances remained"),
        ("spk2gender", "x f", "no utterances remained: not proceeding further ("),
    ],
)
def test_what_cannot_be_mended_is_left_alone(
    data: Path, name: str, line: str, message: str
) -> None:
    with open(data / name, "w" if "remained" in message else "a", encoding="utf-8") as table:
        table.write(line + "\n")
    before = tree(data)
    with pytest.raises(UserError) as error:
        fix(data)
    assert message in str(error.value)
    assert tree(data) == before


def test_an_id_that_does_not_start_with_its_speaker(data: Path) -> None:
    path = data / "utt2spk"
    path.write_text(path.read_text().replace("a-1 a", "a-1 b"))
    before = tree(data)
    with pytest.raises(UserError, match="does not start with its speaker-id b"):
        fix(data)
    assert tree(data) == before


def test_files_of_ones_own_are_filtered_but_not_intersected(data: Path) -> None:
    (data / "utt2x").write_text("b-1 1\na-1 1\n")
    (data / "spk2x").write_text("zz 1\nb 1\n")
    assert fix(data, ["utt2x"], ["spk2x"]).kept == 8
    assert (data / "utt2x").read_text() == "a-1 1\n"
    assert (data / "spk2x").read_text() == "b 1\n"


def test_the_spread_is_that_of_subset_scp() -> None:
    lines = [str(i) for i in range(10)]
    # The halves hold 5 and 5, of which 1 and 2 are wanted, and so on.
    assert spread(lines, 3) == ["4", "6", "9"]
    assert spread(lines, 10) == lines
    assert spread(lines, 1) == ["9"]


@given(st.integers(1, 40), st.data())
def test_a_spread_has_the_wanted_number(total: int, data: st.DataObject) -> None:
    lines = [f"{i:02d}" for i in range(total)]
    number = data.draw(st.integers(0, total))
    found = spread(lines, number)
    assert len(found) == number == len(set(found))
    assert found == sorted(found)


def test_the_shortest_by_frames_then_by_seconds() -> None:
    tables = {
        "utt2spk": {"a": "a", "b": "a", "c": "a"},
        "utt2dur": {"a": "10", "b": "9", "c": "9"},
    }
    assert choose(tables, 2, "shortest") == ["b", "c"]
    tables["utt2num_frames"] = {"a": "1", "b": "2", "c": "10"}
    assert choose(tables, 2, "shortest") == ["a", "b"]
