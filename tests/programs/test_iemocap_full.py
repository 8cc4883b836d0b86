"""A corpus of IEMOCAP's size and counts, under names of our own, through stages 1 and 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from cfia.kaldi.data_dir import DataDir
from cfia.training.folds import read_folds
from tests.support.data_files import ROOT, write_audio
from tests.support.full_iemocap import (
    LABELS,
    OTHER_PREFIX,
    SPEAKERS,
    TRANSCRIPTS,
    TYPES,
    Turn,
    draw,
    expect,
    write_corpus,
)

RECIPE = ROOT / "egs" / "iemocap"
LENGTHS = {"F": 0.58, "M": 1.5}  # seconds, by the speaker's sex


@dataclass(frozen=True)
class Full:
    """What stages 1 and 2 made, and what they were given."""

    root: Path
    turns: list[Turn]
    data: DataDir
    folds: Path
    said: str

    def selected(self) -> dict[str, Turn]:
        """Utterance id -> turn, of those that have one of the four classes."""
        return {f"{t.speaker}-{t.name}": t for t in self.turns if t.label in LABELS}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    root = tmp_path_factory.mktemp("full")
    turns = draw()
    wavs = {sex: write_audio(root / f"{sex}.wav", seconds) for sex, seconds in LENGTHS.items()}
    write_corpus(root / "IEMOCAP_full_release", turns, lambda turn: wavs[turn.speaker[5]])
    shutil.copytree(RECIPE / "conf", root / "conf")
    expect(root / "conf", turns)
    start = time.perf_counter()
    said = prepare(root, "IEMOCAP_full_release", "data/all")
    prepared = time.perf_counter()
    said += command(
        root, sys.executable, "-m", "cfia.bin.folds", "--data", "data/all", "--out", "data/folds",
        "session", "speaker",
    )  # fmt: skip
    seconds = prepared - start, time.perf_counter() - prepared
    print("stage 1: {:.1f} s, stage 2: {:.1f} s".format(*seconds))
    return Full(root, turns, DataDir.load(root / "data" / "all"), root / "data" / "folds", said)


def command(directory: Path, *arguments: str, code: int = 0) -> str:
    path = f"{ROOT / 'utils'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        arguments,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def prepare(root: Path, *arguments: str, code: int = 0) -> str:
    script = str(RECIPE / "local" / "data.sh")
    return command(root, "bash", script, *arguments, code=code)


def test_right_to_the_utterance(full: Full) -> None:
    data, selected = full.data, full.selected()
    assert len(full.turns) == 10039
    assert data.utterances == sorted(selected)
    assert len(data.utterances) == 5531
    assert data.utt2spk == {u: turn.speaker for u, turn in selected.items()}
    assert data.table("utt2session") == {u: turn.speaker[:5] for u, turn in selected.items()}
    assert data.table("utt2dialogue") == {u: turn.dialogue for u, turn in selected.items()}
    hap = {"exc": "hap"}
    assert data.table("utt2emo") == {
        u: hap.get(turn.label, turn.label) for u, turn in selected.items()
    }
    assert Counter(data.table("utt2type").values()) == TYPES
    assert data.utt2dur == {u: LENGTHS[turn.speaker[5]] for u, turn in selected.items()}
    for u, turn in selected.items():
        assert data.wav_scp[u].endswith(
            f"/Session{u[4]}/sentences/wav/{turn.dialogue}/{turn.name}.wav"
        )


def test_counts_of_the_standard_set(full: Full) -> None:
    classes = {"ang": 1103, "hap": 1636, "neu": 1708, "sad": 1084}
    assert Counter(full.data.table("utt2emo").values()) == classes
    assert Counter(full.data.utt2spk.values()) == SPEAKERS
    # Those who read the speaker from the front of the name would be wrong this often.
    wrong = sum(u.split("-")[1][5] != speaker[5] for u, speaker in full.data.utt2spk.items())
    assert wrong == OTHER_PREFIX


def test_transcripts(full: Full) -> None:
    words = dict(zip(TRANSCRIPTS, TRANSCRIPTS, strict=True)) | {
        "I told you [LAUGHTER]  twice.": "I told you twice.",
        "[BREATHING] [GARBAGE]": "...",
        "Oh [LIPSMACK": "Oh",
        "": "...",
    }
    assert full.data.text == {u: words[turn.transcript] for u, turn in full.selected().items()}
    empty = sum(turn.transcript == "" for turn in full.selected().values())
    assert f"{empty} transcripts in the corpus are empty" in full.said


def test_folds_of_both_schemes(full: Full) -> None:
    tables = {"session": full.data.table("utt2session"), "speaker": full.data.utt2spk}
    sizes = {"session": [1085, 1023, 1151, 1031, 1241], "speaker": [*SPEAKERS.values()]}
    assert sorted(path.name for path in full.folds.iterdir()) == ["session", "speaker"]
    for scheme, table in tables.items():
        folds = read_folds(full.folds / scheme)
        assert [len(fold.test) for fold in folds.values()] == sizes[scheme]
        for name, fold in zip(sorted(set(table.values())), folds.values(), strict=True):
            assert {table[u] for u in fold.test} == {name}
            others = {table[u] for u in fold.train + fold.valid}
            assert others == set(table.values()) - {name}
            assert sorted(fold.train + fold.valid + fold.test) == full.data.utterances
            assert abs(len(fold.valid) - 0.2 * len(fold.train + fold.valid)) <= 1


def test_the_check_says_what_train_and_test_share(full: Full) -> None:
    logs = [(full.folds / name / "folds.log").read_text() for name in ("session", "speaker")]
    lines = [line for log in logs for line in log.splitlines() if "(tests " in line]
    assert len(lines) == 15
    # No dialogue is in two sessions; both speakers of a session are in all of its eight.
    assert sum("train and test share 0 dialogues, 6 transcripts" in line for line in lines) == 5
    assert sum("train and test share 8 dialogues, 6 transcripts" in line for line in lines) == 10


def test_without_excited(full: Full) -> None:
    prepare(full.root, "--labels", "4noexc", "IEMOCAP_full_release", "data/all_4noexc")
    labels = DataDir.load(full.root / "data" / "all_4noexc").table("utt2emo")
    assert Counter(labels.values()) == {"ang": 1103, "hap": 595, "neu": 1708, "sad": 1084}


def test_a_copy_of_some_sessions(full: Full) -> None:
    (full.root / "part").mkdir()
    for number in (1, 2, 4):
        session = f"Session{number}"
        (full.root / "part" / session).symlink_to(full.root / "IEMOCAP_full_release" / session)
    said = prepare(full.root, "part", "data/part", code=1)
    assert "sessions absent: Ses03 (1151 expected), Ses05 (1241 expected)" in said
    assert "total: 5531 expected, 3139 found" in said
    assert len(said.splitlines()) == 2  # with the command line
    said = prepare(full.root, "--allow_partial", "true", "part", "data/part")
    assert "total: 5531 expected, 3139 found" in said
    assert len(DataDir.load(full.root / "data" / "part").utterances) == 3139
