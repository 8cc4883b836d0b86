"""A corpus of IEMOCAP's size and counts, under names of our own, through stages 1 and 2."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cfia.kaldi.data_dir import DataDir
from cfia.training.folds import read_folds
from tests.unit.corpora import ROOT, write_audio

RECIPE = ROOT / "egs" / "iemocap"
LABELS = {"ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708}
SPEAKERS = {
    "Ses01F": 528, "Ses01M": 557, "Ses02F": 481, "Ses02M": 542, "Ses03F": 522,
    "Ses03M": 629, "Ses04F": 528, "Ses04M": 503, "Ses05F": 590, "Ses05M": 651,
}  # fmt: skip
TYPES = {"impro": 2943, "script": 2588}
# The corpus has 10,039 utterances; these are those of other labels, in about their proportions.
OTHERS = {"fru": 1849, "xxx": 2507, "sur": 107, "fea": 40, "oth": 3, "dis": 2}
OTHER_PREFIX = 2750  # names of the 5531 that begin with the other speaker's letter
NAMES = {"impro": ("impro01", "impro05a"), "script": ("script01_1", "script01_1b")}
TRANSCRIPTS = (
    "I know.", "I told you [LAUGHTER]  twice.", "[BREATHING] [GARBAGE]", "Café, it’s fine.",
    "Yeah.", "Oh [LIPSMACK", "",
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One utterance, and what must come out of the preparation for it."""

    speaker: str
    prefix: str  # F or M: who wore the markers
    middle: str
    number: int
    label: str
    transcript: str

    @property
    def dialogue(self) -> str:
        return f"{self.speaker[:5]}{self.prefix}_{self.middle}"

    @property
    def name(self) -> str:
        return f"{self.dialogue}_{self.speaker[5]}{self.number:03d}"


def draw() -> list[Turn]:
    """10,039 turns with the margins above; how they combine is drawn from a seed."""
    rng = random.Random(1)
    n = sum(LABELS.values())
    labels = shuffled(rng, LABELS) + shuffled(rng, OTHERS)
    kinds = shuffled(rng, TYPES) + rng.choices([*TYPES], k=len(labels) - n)
    speakers = shuffled(rng, SPEAKERS) + rng.choices([*SPEAKERS], k=len(labels) - n)
    other = shuffled(rng, {True: OTHER_PREFIX, False: n - OTHER_PREFIX})
    other += rng.choices([True, False], k=len(labels) - n)
    counters: Counter[str] = Counter()
    turns = []
    for label, kind, speaker, wears in zip(labels, kinds, speakers, other, strict=True):
        prefix = {"F": "M", "M": "F"}[speaker[5]] if wears else speaker[5]
        middle = rng.choice(NAMES[kind])
        dialogue = f"{speaker[:5]}{prefix}_{middle}_{speaker[5]}"
        turns.append(
            Turn(speaker, prefix, middle, counters[dialogue], label, rng.choice(TRANSCRIPTS))
        )
        counters[dialogue] += 1
    return turns


def shuffled(rng: random.Random, counts: dict) -> list:  # type: ignore[type-arg]
    values = [value for value, count in counts.items() for _ in range(count)]
    rng.shuffle(values)
    return values


def write_corpus(root: Path, turns: list[Turn]) -> None:
    """The release with all that must be passed over; one file of audio under every name."""
    short, long = write_audio(root.parent / "short.wav", 0.58), root.parent / "long.wav"
    write_audio(long, 1.5)
    dialogues: dict[str, list[Turn]] = {}
    for turn in turns:
        dialogues.setdefault(turn.dialogue, []).append(turn)
    for dialogue, of in dialogues.items():
        session = root / f"Session{dialogue[4]}"
        wavs = session / "sentences" / "wav" / dialogue
        wavs.mkdir(parents=True)
        for turn in of:
            os.link(long if turn.speaker[5] == "M" else short, wavs / f"{turn.name}.wav")
        labels, transcripts = (
            session / "dialog" / "EmoEvaluation",
            session / "dialog/transcriptions",
        )
        for directory, lines in [
            (labels, label_lines(of)),
            (labels / "Categorical", [f"{turn.name} :Sadness; ()" for turn in of]),
            (labels / "Attribute", [f"[1.0 - 2.0]\t{turn.name}\tsad\t[1, 1, 1]" for turn in of]),
            (transcripts, transcript_lines(of)),
        ]:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{dialogue}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (directory / f"._{dialogue}.txt").write_bytes(b"\0\5\26\7[0.1 - 0.2]\xff\nSes [1]: x")


def label_lines(turns: list[Turn]) -> Iterator[str]:
    yield "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
    yield f"[1.0000 - 2.0000]\t{turns[0].dialogue}_FXX0\tang\t[1.0000, 1.0000, 1.0000]"
    for turn in turns:
        yield ""
        yield f"[6.2901 - 8.2357]\t{turn.name}\t{turn.label}\t[2.5000, 2.5000, 2.5000]"
        yield from ("C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()")


def transcript_lines(turns: list[Turn]) -> Iterator[str]:
    for turn in turns:
        yield f"{turn.name} [006.2901-008.2357]: {turn.transcript}"
        if turn.number % 50 == 0:
            yield from ("F: Not an utterance.", f"{turn.dialogue}_MXX0 [000.0-000.0]: [LAUGHTER]")


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
    write_corpus(root / "IEMOCAP_full_release", turns)
    shutil.copytree(RECIPE / "conf", root / "conf")
    lines = sorted(
        f"{turn.name} {'hap' if turn.label == 'exc' else turn.label}\n"
        for turn in turns
        if turn.label in LABELS
    )
    expect = yaml.safe_load((root / "conf" / "corpus.yaml").read_text())
    expect["expect"]["4"]["sha256"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    (root / "conf" / "corpus.yaml").write_text(yaml.safe_dump(expect))
    start = time.perf_counter()
    said = prepare(root, "IEMOCAP_full_release", "data/all")
    prepared = time.perf_counter()
    said += command(
        root, sys.executable, "-m", "cfia.bin.folds", "--data", "data/all", "--out", "data/folds"
    )
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
    assert data.utt2session == {u: turn.speaker[:5] for u, turn in selected.items()}
    assert data.utt2dialogue == {u: turn.dialogue for u, turn in selected.items()}
    hap = {"exc": "hap"}
    assert data.utt2emo == {u: hap.get(turn.label, turn.label) for u, turn in selected.items()}
    assert Counter(data.utt2type.values()) == TYPES
    lengths = {"F": 0.58, "M": 1.5}
    assert data.utt2dur == {u: lengths[turn.speaker[5]] for u, turn in selected.items()}
    for u, turn in selected.items():
        assert data.wav_scp[u].endswith(
            f"/Session{u[4]}/sentences/wav/{turn.dialogue}/{turn.name}.wav"
        )


def test_counts_of_the_standard_set(full: Full) -> None:
    classes = {"ang": 1103, "hap": 1636, "neu": 1708, "sad": 1084}
    assert Counter(full.data.utt2emo.values()) == classes
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
    tables = {"session": full.data.utt2session, "speaker": full.data.utt2spk}
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
    lines = [line for line in full.said.splitlines() if "(tests " in line]
    assert len(lines) == 15
    # No dialogue is in two sessions; both speakers of a session are in all of its eight.
    assert sum("train and test share 0 dialogues, 6 transcripts" in line for line in lines) == 5
    assert sum("train and test share 8 dialogues, 6 transcripts" in line for line in lines) == 10


def test_without_excited(full: Full) -> None:
    prepare(full.root, "--labels", "4noexc", "IEMOCAP_full_release", "data/all_4noexc")
    labels = DataDir.load(full.root / "data" / "all_4noexc").utt2emo
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
