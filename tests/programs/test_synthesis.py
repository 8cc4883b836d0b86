"""The synthetic corpus: its files, and that they come out the same, whole or not at all."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from egs.mini_iemocap.local import espeak
from egs.mini_iemocap.local.plan import STANDARD, Turn, plan
from tests.support.data_files import tree
from tests.support.mini_iemocap import (
    ATTRIBUTE,
    CATEGORY,
    CLASSES,
    TRANSCRIPT,
    TURN,
    Corpus,
    command,
    environment,
    make,
)

FEW = ("--utterances_per_speaker", "8")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest corpus there is."""
    directory = tmp_path_factory.mktemp("few") / "corpus"
    make(*FEW, directory)
    return directory


@pytest.fixture(scope="module")
def standard() -> list[Turn]:
    return plan(STANDARD, seed=1)


# Bytes


def test_the_same_bytes_elsewhere(few: Path, tmp_path: Path) -> None:
    """Another directory, hash seed and locale, and espeak-ng's data behind a very long path."""
    import espeakng_loader

    # Longer than the 160 bytes in which the library keeps the path of its data.
    packages = tmp_path / "mit Leerzeichen und Umlaut ü" / ("x" * 160)
    shutil.copytree(Path(espeakng_loader.__file__).parent, packages / "espeakng_loader")
    python_path = f"{environment()['PYTHONPATH']}:{packages}"
    program = f"import sys; sys.path.insert(0, {str(packages)!r}); import espeakng_loader as e"
    done = subprocess.run(
        ["python", "-c", f"{program}; print(e.__file__)"],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    assert str(packages) in done.stdout
    elsewhere = tmp_path / "päper corpus"
    make(*FEW, elsewhere.name, cwd=tmp_path, PYTHONHASHSEED="7", PYTHONPATH=python_path)
    assert tree(few) == tree(elsewhere)


def test_made_once(few: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(few, corpus)
    times = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert "corpus: already made, skipping" in make(*FEW, corpus)
    said = make(*FEW, "--seed", "3", corpus, code=1)
    assert "--seed was 1, now 3" in said
    assert "--force true" in said
    assert times == {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}


def test_another_seed_another_corpus(few: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(few, corpus)
    make(*FEW, "--seed", "3", "--force", "true", corpus)
    old, new = (
        {data for path, data in tree(root).items() if path.endswith(".wav") and "/._" not in path}
        for root in (few, corpus)
    )
    assert len(old) > 70
    assert len(new) > 70
    assert not old & new


def test_killed_and_run_again(few: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    process = subprocess.Popen(
        command(*FEW, corpus), stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("corpus: session 2"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not corpus.exists()
    make(*FEW, corpus)
    assert tree(few) == tree(corpus)


@pytest.mark.parametrize("force", ["false", "true"])
def test_what_others_made_stays(tmp_path: Path, force: str) -> None:
    """The real corpus, say, or a data directory with a marker of its own."""
    for name, content in (("Session1", "x"), (".done.json", '{"options": {}}')):
        theirs = tmp_path / name
        theirs.mkdir()
        (theirs / name).write_text(content)
        said = make("--force", force, theirs, code=1)
        assert f"error: {theirs} holds something that local/corpus.sh has not made" in said
        assert (theirs / name).read_text() == content


@pytest.mark.parametrize(
    "arguments",
    [(), ("--seed", "one", "c"), ("--utterances_per_speaker", "7", "c"), ("--size", "3", "c")],
)
def test_usage_errors(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert "usage: local/corpus.sh" in make(*arguments, code=2, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_espeak(tmp_path: Path) -> None:
    """Without the package and the system's library, one sentence says what to install."""
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('not installed')\n")
    # ctypes asks ldconfig, gcc and ld for the system's library; none is on this path.
    program = (
        "import os; os.environ['PATH'] = '/nowhere'; from cfia.cli import run;"
        "from egs.mini_iemocap.local.synthesise import main; run(main)"
    )
    done = subprocess.run(
        ["python", "-c", program, *FEW, str(tmp_path / "corpus")],
        capture_output=True, text=True,
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "pip install espeakng-loader" in done.stderr
    assert "libespeak-ng 1.52" in done.stderr
    assert not (tmp_path / "corpus").exists()


def test_one_engine_in_a_process() -> None:
    """A second one would go on from the state of the first, and change the bytes."""
    with espeak.engine() as engine:
        assert len(engine.say("One.", "en-us+m1", 170, 50, 50, seed=1)) > engine.rate / 10
    with pytest.raises(RuntimeError), espeak.engine():
        pass


# Files


def test_evaluations(few: Path) -> None:
    paths = sorted(few.glob("Session?/dialog/EmoEvaluation/Ses*.txt"))
    assert len(paths) == 30
    for path in paths:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        assert first == "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
        for line in filter(None, lines):
            assert any(form.fullmatch(line) for form in (TURN, CATEGORY, ATTRIBUTE)), line
    for folder in ("Categorical", "Attribute", "Self-evaluation"):
        assert list(few.glob(f"Session?/dialog/EmoEvaluation/{folder}/*.txt"))


def test_labels_are_what_most_judges_heard(few: Path) -> None:
    names = {
        "ang": "Anger", "hap": "Happiness", "exc": "Excited", "neu": "Neutral", "sad": "Sadness",
        "fru": "Frustration", "sur": "Surprise", "fea": "Fear", "dis": "Disgust", "oth": "Other",
    }  # fmt: skip
    for utterance in Corpus(few).utterances:
        (top, count), *_ = Counter(utterance.votes).most_common(1)
        assert len(utterance.votes) == 3
        assert (count == 1) if utterance.label == "xxx" else (top == names[utterance.label])
        assert utterance.label == "xxx" or count >= 2


def test_audio_and_times(few: Path) -> None:
    ends: dict[str, float] = {}
    for utterance in sorted(Corpus(few).utterances, key=lambda u: (u.dialogue, u.start)):
        info = soundfile.info(utterance.wav)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert utterance.end - utterance.start == pytest.approx(info.duration, abs=1e-6)
        assert utterance.start > ends.get(utterance.dialogue, 0.0)
        ends[utterance.dialogue] = utterance.end
        assert 0.5 < info.duration < 6


def test_transcripts(few: Path) -> None:
    corpus = Corpus(few)
    times = {(u.name, f"{u.start:08.4f}", f"{u.end:08.4f}") for u in corpus.utterances}
    others = []
    for path in corpus.transcripts:
        for line in path.read_text(encoding="utf-8").splitlines():
            match = TRANSCRIPT.fullmatch(line)
            if match and "XX0" not in match[1]:
                assert match[1].startswith(path.stem)
                times.remove((match[1], match[2], match[3]))
            else:
                others.append(line)
    assert times == set()
    assert any("XX0 [" in line for line in others)
    assert any(line.startswith(("F: ", "M: ")) for line in others)


def test_traces_of_macos(few: Path) -> None:
    traces = list(few.rglob("._*"))
    assert {path.suffix for path in traces} == {".txt", ".wav"}
    for path in traces:
        assert path.with_name(path.name[2:]).exists()
        with pytest.raises(UnicodeDecodeError):
            path.read_text(encoding="utf-8")


# Who says what


def test_every_speaker_has_every_class(standard: list[Turn]) -> None:
    counts = Counter((turn.voice, CLASSES.get(turn.label, "-")) for turn in standard)
    assert len({voice for voice, _ in counts}) == 10
    assert all(counts[voice, name] >= 8 for voice, _ in counts for name in CLASSES.values())
    assert all(counts[voice, "-"] >= 2 for voice, _ in counts)
    assert 380 <= sum(turn.label in CLASSES for turn in standard) <= 420
    assert {turn.label for turn in standard} == {*CLASSES, "fru", "xxx", "sur", "fea", "oth", "dis"}


def test_the_fewest_have_every_class(few: Path) -> None:
    counts = Counter((u.speaker, CLASSES.get(u.label, "-")) for u in Corpus(few).utterances)
    assert len({speaker for speaker, _ in counts}) == 10
    assert all(counts[speaker, name] >= 1 for speaker, _ in counts for name in CLASSES.values())


def test_names_do_not_give_the_speaker_away(standard: list[Turn]) -> None:
    for dialogue in {turn.dialogue for turn in standard}:
        assert {turn.speaker for turn in standard if turn.dialogue == dialogue} == {"F", "M"}
    crossed = sum(turn.dialogue[5] != turn.speaker for turn in standard)
    assert 0.4 < crossed / len(standard) < 0.6
    dialogues = {turn.dialogue for turn in standard}
    assert {"Ses03M_impro05a", "Ses05M_script01_1b"} <= dialogues
    for session in range(1, 6):
        names = [name for name in dialogues if name.startswith(f"Ses0{session}")]
        assert {"impro", "scrip"} == {name[7:12] for name in names}


def test_scripted_lines_recur(standard: list[Turn]) -> None:
    lines = {(t.spoken, t.session) for t in standard if "script" in t.dialogue}
    recurring = Counter(line for line, _ in lines)
    assert max(recurring.values()) == 5
    coloured = {t.spoken for t in standard} - {t.spoken for t in standard if t.label == "xxx"}
    assert any(recurring[line] > 1 for line in coloured)


def test_carriers_say_nothing(standard: list[Turn]) -> None:
    """About half of the sentences belong to all classes alike, in most sessions."""
    by_words: dict[str, list[Turn]] = {}
    for turn in standard:
        if turn.label in CLASSES:
            by_words.setdefault(turn.spoken, []).append(turn)
    carriers = {w for w, turns in by_words.items() if len({CLASSES[t.label] for t in turns}) == 4}
    share = sum(len(by_words[w]) for w in carriers) / sum(map(len, by_words.values()))
    assert 0.35 < share < 0.6
    for words in carriers:
        counts = Counter(CLASSES[turn.label] for turn in by_words[words])
        assert max(counts.values()) < 0.5 * counts.total(), words
        assert len({turn.session for turn in by_words[words]}) >= 4


def test_tags_and_letters(standard: list[Turn]) -> None:
    alone = [t for t in standard if t.transcript in ("[BREATHING]", "[LAUGHTER]")]
    assert alone
    assert all(turn.label in CLASSES for turn in alone)
    tagged = [t for t in standard if "[" in t.transcript]
    assert len({CLASSES.get(turn.label) for turn in tagged}) >= 4
    assert len(alone) < len(tagged) < len(standard) / 10
    assert any(not turn.transcript.isascii() for turn in standard)
    assert not any("[" in turn.spoken or "{" in turn.spoken for turn in standard)
