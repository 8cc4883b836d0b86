"""Folds, and the check of what was written."""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cfia.bin import folds as program
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.naming import folds_scheme
from cfia.options import SCHEMES as MADE
from cfia.training.fold_check import check
from cfia.training.folds import Fold, make_folds, read_folds
from cfia.training.schemes import ImpossibleError
from tests.support.data_files import dialogue_corpus, tree, write_tables

CLASSES = ("ang", "hap", "neu")
SCHEMES = [
    ("session", "random20"), ("session", "next_speaker"), ("session", "next_session"),
    ("speaker", "random20"), ("speaker", "next_speaker"), ("speaker", "next_session"),
    ("speaker", "partner"),
]  # fmt: skip


@st.composite
def data_dirs(draw: st.DrawFn) -> DataDir:
    """Three to five sessions of two speakers, each speaker with every class at least twice."""
    labels: dict[str, str] = {}
    for session in range(draw(st.integers(3, 5))):
        for gender in "FM":
            more = draw(st.lists(st.sampled_from(CLASSES), max_size=12))
            for i, label in enumerate([*CLASSES, *CLASSES, *more]):
                labels[f"S{session}{gender}-{i:02d}"] = label
    return DataDir(
        path=Path("data/all"),
        wav_scp=dict.fromkeys(labels, "x"),
        text=dict.fromkeys(labels, "x"),
        utt2spk={u: u[:3] for u in labels},
        utt2dur=dict.fromkeys(labels, 1.0),
        further={"utt2emo": labels, "utt2session": {u: u[:2] for u in labels}},
    )


@settings(deadline=None, max_examples=20)
@given(data=data_dirs(), scheme=st.sampled_from(SCHEMES))
def test_folds_are_what_their_names_say(data: DataDir, scheme: tuple[str, str]) -> None:
    cv, validation = scheme
    speakers = sorted({u[:3] for u in data.utt2spk})
    sessions = sorted({u[:2] for u in data.utt2spk})
    held_out = sessions if cv == "session" else speakers
    folds = make_folds(data, cv, validation)
    assert list(folds) == held_out
    for name, fold in folds.items():
        everything = fold.train + fold.valid + fold.test
        assert sorted(everything) == sorted(data.utt2spk)  # so nothing is on two sides
        assert fold.test == sorted(u for u in data.utt2spk if u.startswith(name))
        valid = {u[:3] for u in fold.valid}
        session, gender = name[:2], name[2:]
        next_session = sessions[(sessions.index(session) + 1) % len(sessions)]
        if validation == "partner":
            assert valid == {session + ("M" if gender == "F" else "F")}
        elif validation == "next_session":
            assert valid == {next_session + "F", next_session + "M"}
        elif validation == "next_speaker" and gender == "F":
            assert valid == {session + "M"}
        elif validation == "next_speaker":
            assert valid == {next_session + "F"}
        if validation != "random20":
            assert valid.isdisjoint(u[:3] for u in fold.train)


@settings(deadline=None, max_examples=15)
@given(data=data_dirs(), cv=st.sampled_from(["session", "speaker"]))
def test_random20_is_a_stratified_fifth(data: DataDir, cv: str) -> None:
    for fold in make_folds(data, cv, "random20").values():
        rest = fold.train + fold.valid
        assert len(fold.valid) == round(0.2 * len(rest))
        drawn = Counter(data.table("utt2emo")[u] for u in fold.valid)
        for label, n in Counter(data.table("utt2emo")[u] for u in rest).items():
            assert abs(drawn[label] - 0.2 * n) < 1


@settings(deadline=None, max_examples=8)
@given(data=data_dirs(), order=st.randoms(use_true_random=False))
def test_the_order_of_tables_changes_nothing(data: DataDir, order: random.Random) -> None:
    utts = list(data.utt2spk)
    order.shuffle(utts)
    shuffled = DataDir(
        path=data.path,
        wav_scp=data.wav_scp,
        text=data.text,
        utt2spk={u: data.utt2spk[u] for u in utts},
        utt2dur=data.utt2dur,
        further={**data.further, "utt2emo": {u: data.table("utt2emo")[u] for u in utts}},
    )
    assert make_folds(shuffled, "session", "random20") == make_folds(data, "session", "random20")


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_random20_never_takes_all_of_a_class(counts: list[int]) -> None:
    assume(sum(counts) > len(counts))
    labels = {f"{s}-{c}{i}": f"c{c}" for s in "ab" for c, n in enumerate(counts) for i in range(n)}
    data = DataDir(Path("d"), labels, labels, {u: u[0] for u in labels}, {}, {"utt2emo": labels})
    for fold in make_folds(data, "speaker", "random20").values():
        assert {labels[u] for u in fold.train} == set(labels.values())


def run(
    data: Path, cv: str = "session", validation: str = "random20", force: str = "false"
) -> Path:
    """Run the program as ser.sh does, one scheme needed; the directory with the schemes."""
    out = data.parent / "folds"
    schemes = [folds_scheme(name, validation) for name in sorted(MADE, key=lambda n: n != cv)]
    needed = ["--need", schemes[0], "--force", force]
    program.main(["--data", str(data), "--out", str(out), *needed, *schemes])
    return out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return dialogue_corpus(tmp_path / "daten ü" / "all")


def test_all_schemes_are_written_and_read(data: Path) -> None:
    out = run(data)
    assert sorted(p.name for p in out.iterdir()) == ["session", "speaker"]
    for name, n_folds in (("session", 5), ("speaker", 10)):
        folds = read_folds(out / name)
        assert list(folds) == list(range(1, n_folds + 1))
        made = make_folds(DataDir.load(data), name, "random20").values()
        assert list(folds.values()) == list(made)
    lines = (out / "session" / "1" / "test").read_text()
    assert lines.startswith("Ses01F-Ses01_impro_F000\n")
    assert len(lines.splitlines()) == 24


def test_names_of_the_schemes_directories(data: Path) -> None:
    out = run(data, "speaker", "partner")
    assert [p.name for p in out.iterdir()] == ["speaker-partner"]
    program.main(["--data", str(data), "--out", str(out), "--suffix", "_6"])  # all schemes
    assert sorted(p.name for p in out.iterdir()) == ["session_6", "speaker-partner", "speaker_6"]


def test_the_fold_check_counts_what_is_shared(data: Path) -> None:
    out = run(data, "speaker")
    run(data, "speaker", "partner")
    lines = [
        line
        for scheme in ("speaker", "speaker-partner")
        for line in (out / scheme / "folds.log").read_text().splitlines()
        if "(tests Ses01F)" in line
    ]
    assert len(lines) == 2
    # Four of a speaker's twelve lines are spoken by everybody; the partner is in both dialogues.
    assert (
        "train 86, valid 22, test 12; train and test share 2 dialogues, 4 transcripts" in lines[0]
    )
    assert lines[1].endswith(
        "train 96, valid 12, test 12; train and test share 0 dialogues, 4 transcripts; "
        "valid and test share 2 dialogues, 4 transcripts"
    )


def test_a_second_run_says_so_and_does_nothing(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = tree(run(data))
    caplog.set_level(logging.INFO)
    caplog.clear()
    assert tree(run(data)) == before
    assert [m.split("/")[-1] for m in caplog.messages] == [
        "session: already made, skipping",
        "speaker: already made, skipping",
    ]


def test_other_data_stops_and_force_makes_again(data: Path) -> None:
    before = tree(run(data))
    labels = (data / "utt2emo").read_text()
    (data / "utt2emo").write_text(labels.replace("sad", "fru"))
    with pytest.raises(UserError, match=r"its input utt2emo has changed.*--force true"):
        run(data)
    run(data, force="true")
    (data / "utt2emo").write_text(labels)
    assert tree(run(data, force="true")) == before


def usage_error(
    capsys: pytest.CaptureFixture[str], data: Path, cv: str, validation: str = "random20"
) -> str:
    with pytest.raises(SystemExit) as stop:
        run(data, cv, validation)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_without_sessions_there_are_speakers(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "utt2session").unlink()
    out = run(data, "speaker")
    assert [p.name for p in out.iterdir()] == ["speaker"]
    assert "has no sessions" in usage_error(capsys, data, "session")
    for validation in ("partner", "next_session"):
        message = usage_error(capsys, data, "speaker", validation)
        assert f"--validation {validation} needs sessions" in message
    assert [p.name for p in out.iterdir()] == ["speaker"]


def test_partner_needs_two_speakers_and_one_of_them_tested(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = usage_error(capsys, data, "session", "partner")
    assert "--validation partner needs --cv speaker" in message
    one_session = dict.fromkeys(DataDir.load(data).utt2spk, "Ses01")
    write_tables(data, {"utt2session": one_session})
    message = usage_error(capsys, data, "speaker", "partner")
    assert "needs two speakers in each session" in message
    assert "has 10" in message


def test_too_few_sessions_or_speakers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dialogue_corpus(tmp_path / "all", sessions=2)
    message = usage_error(capsys, data, "session", "next_session")
    assert "leaves the train list of fold 1 (Ses01 is tested) empty" in message
    data = dialogue_corpus(tmp_path / "one", sessions=1)
    assert "one session only" in usage_error(capsys, data, "session")


def test_a_speaker_in_two_sessions(data: Path) -> None:
    sessions = DataDir.load(data).table("utt2session")
    first = min(sessions)
    write_tables(data, {"utt2session": {**sessions, first: "Ses02"}})
    with pytest.raises(ImpossibleError, match="Ses01F speaks in"):
        make_folds(DataDir.load(data), "session", "random20")


def relabel(data: Path, keep: Callable[[str], bool]) -> None:
    """Make sad neutral where `keep` says no of the utterance."""
    labels = DataDir.load(data).table("utt2emo")
    rows = {u: "neu" if e == "sad" and not keep(u) else e for u, e in labels.items()}
    write_tables(data, {"utt2emo": rows})


def test_a_class_that_training_lacks_stops(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    relabel(data, lambda utt: utt.startswith("Ses02F"))
    with pytest.raises(UserError, match=r"fold 2 \(Ses02 is tested\).*no training .*class sad"):
        run(data, "session")
    assert not (data.parent / "folds").exists() or not any((data.parent / "folds").iterdir())
    # In folds by speaker, the other speaker of the session has none either.
    with pytest.raises(UserError, match=r"fold 3 \(Ses02F is tested\)"):
        run(data, "speaker")


def test_a_class_that_one_scheme_lacks_does_not_stop_the_other(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    relabel(data, lambda utt: utt.startswith("Ses02"))
    out = run(data, "speaker")
    assert [p.name for p in out.iterdir()] == ["speaker"]
    text = "\n".join(caplog.messages)
    assert "no folds by session: fold 2 (Ses02 is tested)" in text
    (line,) = [m for m in caplog.messages if "speaker: 10 folds" in m]
    assert "fold 1: its test part has no utterance of the class sad (and 7 more); folds" in line
    assert "fold 10: its test part has no" in (out / "speaker" / "folds.log").read_text()


def break_list(folds: Path, part: str, change: Callable[[list[str]], list[str]]) -> None:
    path = folds / "1" / part
    path.write_text("".join(f"{utt}\n" for utt in change(path.read_text().split())))


MISTAKES: list[tuple[str, str, str, Callable[[Fold], Fold], str]] = [
    (
        "session", "random20", "an utterance on two sides",
        lambda f: Fold(sorted([*f.train, f.test[0]]), f.valid, f.test),
        "Ses01F-Ses01_impro_F000 stands in train and in test",
    ),
    (
        "session", "random20", "a session on two sides",
        lambda f: Fold(sorted([*f.train, f.test[0]]), f.valid, f.test[1:]),
        "test and train share the speaker Ses01F",
    ),
    (
        "session", "random20", "a session on two sides, of other speakers",
        lambda f: Fold(sorted(f.train + f.test[12:]), f.valid, f.test[:12]),
        "test and train share the session Ses01",
    ),
    (
        "session", "random20", "a session in validation",
        lambda f: Fold(f.train, sorted(f.valid + f.test[12:]), f.test[:12]),
        "test and valid share the session Ses01",
    ),
    (
        "speaker", "random20", "a test speaker in validation",
        lambda f: Fold(f.train, sorted([*f.valid, f.test[0]]), f.test[1:]),
        "test and valid share the speaker Ses01F",
    ),
    (
        "speaker", "next_session", "the partner in validation",
        lambda f: Fold(f.train[12:], sorted(f.valid + f.train[:12]), f.test),
        "test and valid share the session Ses01",
    ),
    (
        "speaker", "partner", "the partner in training",
        lambda f: Fold(sorted([*f.train, *f.valid]), f.train[-12:], f.test),
        "stands in train and in valid",
    ),
    (
        "speaker", "partner", "some of the partner in training",
        lambda f: Fold(sorted([*f.train, f.valid[0]]), f.valid[1:], f.test),
        "valid and train share the speaker Ses01M",
    ),
    (
        "speaker", "partner", "another speaker in the partner's place",
        lambda f: Fold(sorted(f.train[:-12] + f.valid), f.train[-12:], f.test),
        "test and train share the session Ses01",
    ),
    (
        "session", "next_session", "half of the validation session in training",
        lambda f: Fold(sorted(f.train + f.valid[12:]), f.valid[:12], f.test),
        "valid and train share the session Ses02",
    ),
    (
        "session", "random20", "an utterance lost",
        lambda f: Fold(f.train[1:], f.valid, f.test),
        "no part has",
    ),
    (
        "session", "random20", "an utterance of nowhere",
        lambda f: Fold([*f.train, "zzz"], f.valid, f.test),
        "train names zzz, which the data directory lacks",
    ),
    (
        "session", "random20", "not sorted",
        lambda f: Fold(f.train[::-1], f.valid, f.test),
        "it is not sorted or has duplicates",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cv", "validation", "what", "change", "message"), MISTAKES, ids=[m[2] for m in MISTAKES]
)
def test_a_wrong_fold_stops(
    data: Path, cv: str, validation: str, what: str, change: Callable[[Fold], Fold], message: str
) -> None:
    out = run(data, cv, validation)
    folds = out / (cv if validation == "random20" else f"{cv}-{validation}")
    check(data, folds, cv, validation)
    changed = change(read_folds(folds)[1])
    for part in ("train", "valid", "test"):
        break_list(folds, part, lambda _, part=part: getattr(changed, part))  # type: ignore[misc]
    with pytest.raises(UserError, match=r"is not as it was made \(its file 1/"):
        run(data, cv, validation)
    with pytest.raises(UserError, match=message) as error:
        check(data, folds, cv, validation)
    assert "1" in str(error.value)
    assert str(folds) in str(error.value)


def test_a_dialogue_in_training_stops_even_between_sessions(data: Path) -> None:
    out = run(data, "speaker", "partner")
    dialogues = {u: "one" if u[:5] in ("Ses01", "Ses02") else d for u, d in
                 DataDir.load(data).table("utt2dialogue").items()}  # fmt: skip
    write_tables(data, {"utt2dialogue": dialogues})
    with pytest.raises(UserError, match="test and train share the dialogue one"):
        check(data, out / "speaker-partner", "speaker", "partner")


def test_every_utterance_is_tested_once(data: Path) -> None:
    folds = run(data) / "session"
    shutil.copytree(folds / "1", folds / "6")
    with pytest.raises(UserError, match="folds 1 and 6 both test Ses01F-"):
        check(data, folds, "session", "random20")
    shutil.rmtree(folds / "6")
    shutil.rmtree(folds / "5")
    with pytest.raises(UserError, match="no fold tests Ses05F-"):
        check(data, folds, "session", "random20")


def test_missing_lists(data: Path) -> None:
    folds = run(data) / "session"
    (folds / "3" / "valid").unlink()
    for function in (read_folds, lambda path: check(data, path, "session", "random20")):
        with pytest.raises(UserError, match="3/valid"):
            function(folds)
        with pytest.raises(UserError, match="stage 2"):
            function(folds.parent)
