"""What the preparations of all corpora share, seen through a small IEMOCAP."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from cfia.bin.shuffle_text import main as shuffle_text
from cfia.corpus.transcripts import tidy
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table
from tests.support.data_files import ROOT, tree, write_audio
from tests.support.iemocap_tree import FIRST, RECIPE, SCRIPT, SmallIemocap, edit


@pytest.fixture
def small(tmp_path: Path) -> SmallIemocap:
    return SmallIemocap(tmp_path)


@pytest.mark.parametrize(
    ("transcript", "stripped"),
    [
        ("[LAUGHTER] Oh [BREATHING]", "Oh"),
        ("Oh [LAUGHTER", "Oh"),
        ("LAUGHTER] Oh", "Oh"),
        ("[LIPSMACK][GARBAGE]", "..."),
        ("", "..."),
        ("I AM NOT A TAG", "I AM NOT A TAG"),
        ("a\u00a0b\u2028c\td\u0007e", "a b c d e"),
        ("\ufeffEis\u00adschrank\u200b und\u200e so", "Eisschrank und so"),
        ("می\u200cدانم क्\u200dष", "می\u200cدانم क्\u200dष"),  # other words without the joiners
        ("\u200d \u200c", "..."),
    ],
)
def test_tags_and_blanks(transcript: str, stripped: str) -> None:
    assert tidy(transcript, strip=True) == stripped


def digest(data: DataDir) -> str:
    lines = sorted(f"{utt.split('-')[1]} {label}\n" for utt, label in data.table("utt2emo").items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_expected_counts_and_digest(small: SmallIemocap) -> None:
    found = DataDir.load(small.prepare())
    sessions = {"Ses01": 12, "Ses02": 12}
    expect = {"total": 24, "sessions": sessions, "sha256": digest(found)}
    (small.conf / "corpus.yaml").write_text(yaml.safe_dump({"expect": {4: expect}}))
    small.prepare()
    for key, value, message in [
        ("total", 25, "total: 25 expected, 24 found"),
        ("sessions", {**sessions, "Ses03": 9}, r"sessions absent: Ses03 \(9 expected\)"),
        ("sessions", {"Ses01": 12}, "sessions Ses02: none expected, 12 found"),
        ("classes", {"ang": 7, "hap": 6, "neu": 6, "sad": 6}, "classes ang: 7 expected, 6 found"),
        ("sha256", "d77e", "sha256: d77e expected, "),
    ]:
        wrong = {"expect": {"4": {**expect, key: value}}}
        (small.conf / "corpus.yaml").write_text(yaml.safe_dump(wrong))
        with pytest.raises(UserError, match=message):
            small.prepare()


def test_another_label_set_is_checked_by_the_one_that_tells_the_release(
    small: SmallIemocap,
) -> None:
    small.prepare("--labels", "6")  # nothing is expected
    (small.conf / "corpus.yaml").write_text("expect: {'4': {total: 25}, '6': {total: 1}}\n")
    with pytest.raises(UserError, match=r"total: 25 expected, 24 found; complete it"):
        small.prepare("--labels", "6", "--force", "true")
    (small.conf / "corpus.yaml").write_text("expect: {'4': {total: 24}, '6': {total: 1}}\n")
    with pytest.raises(UserError, match="total: 1 expected, 30 found"):
        small.prepare("--labels", "6", "--force", "true")


@pytest.mark.parametrize(
    ("rate", "subtype", "what"),
    [(8000, "PCM_16", "the rate 8000"), (16000, "PCM_U8", "the subtype PCM_U8")],
)
def test_audio_of_another_format_is_named(
    small: SmallIemocap, rate: int, subtype: str, what: str
) -> None:
    conf = "audio: {rate: 16000, channels: 1, subtype: PCM_16}\n"
    (small.conf / "corpus.yaml").write_text(conf)
    small.prepare()
    soundfile.write(small.wav_file(), np.zeros(1600), rate, subtype)
    with pytest.raises(UserError, match=rf"{FIRST}\.wav has {what}, where all of the corpus have"):
        small.prepare("--force", "true")
    path = small.prepare("--force", "true", "--skip_bad", "true")
    assert list(DataDir.load(path).skipped) == [f"Ses01F-{FIRST}"]


def test_unreadable_audio_may_be_left_out(
    small: SmallIemocap, caplog: pytest.LogCaptureFixture
) -> None:
    small.wav_file().write_bytes(b"")
    path = small.prepare("--skip_bad", "true")
    data = DataDir.load(path)
    assert len(data.utterances) == 23
    assert list(data.skipped) == [f"Ses01F-{FIRST}"]
    assert "--skip_bad" not in data.skipped[f"Ses01F-{FIRST}"]
    assert "the file is empty" in data.skipped[f"Ses01F-{FIRST}"]
    assert f"left out Ses01F-{FIRST}" in "\n".join(caplog.messages)


def test_who_follows_the_advice_to_skip_bad_audio_need_not_prepare_again(
    small: SmallIemocap, caplog: pytest.LogCaptureFixture
) -> None:
    path = small.prepare()
    before = tree(path)
    caplog.set_level(logging.INFO)
    small.prepare("--skip_bad", "true")  # what stage 3 says, of audio whose header is sound
    assert caplog.messages[-1] == f"{path}: already made, skipping"
    small.wav_file().write_bytes(b"")
    small.prepare("--skip_bad", "true", "--force", "true")
    assert tree(path) != before
    with pytest.raises(UserError, match="--skip_bad was true, now false"):
        small.prepare()


@pytest.mark.parametrize("name", ["text", "label", "map"])
def test_tables_from_windows(small: SmallIemocap, tmp_path: Path, name: str) -> None:
    """With a byte order mark and carriage returns, as Notepad and Excel write them."""
    text = {u: f"so {u}" for u in DataDir.load(small.prepare()).utterances}
    mine = Path(write_text_file(tmp_path / "mine.txt", text))
    options = ["--force", "true", *(["--text_file", str(mine)] if name == "text" else [])]
    before = tree(small.prepare(*options))
    path = {"text": mine, "label": small.labels_file, "map": small.conf / "labels" / "4.yaml"}[name]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    after = tree(small.prepare(*options))
    assert {**after, ".done.json": b""} == {**before, ".done.json": b""}


def test_a_change_of_the_recipes_reader_is_noticed(small: SmallIemocap, tmp_path: Path) -> None:
    """As of any other input: stage 1 stops, and --force true makes it again."""
    local = tmp_path / "local"
    local.mkdir()
    (local / "names.py").write_text("SPEAKER = 'Ses01F'\n")
    script = local / "prepare_mine.py"
    future = "from __future__ import annotations\n"
    old = Path(str(SCRIPT.__file__)).read_text().replace(future, f"{future}\nimport names\n")
    script.write_text(old)
    command = [sys.executable, str(script), "--conf", str(small.conf), str(small.corpus)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def prepare(*options: str) -> str:
        made = [*command, str(small.data), *options]
        return subprocess.run(made, env=environment, capture_output=True, text=True).stderr

    assert "Successfully validated" in prepare()
    script.write_text(old.replace("transcript=texts.get(turn)", "transcript='Well.'"))
    said = prepare()
    assert "was made differently (its input local/prepare_mine.py has changed)" in said
    assert "Successfully validated" in prepare("--force", "true")
    assert set(DataDir.load(small.data).text.values()) == {"Well."}
    (local / "names.py").write_text("SPEAKER = 'Ses02F'\n")
    assert "its input local/names.py has changed" in prepare()


def test_too_much_unreadable_audio_stops(small: SmallIemocap) -> None:
    small.wav_file().write_bytes(b"")
    small.wav_file("Ses01F_impro01_M000").write_bytes(b"")
    with pytest.raises(UserError, match=rf"2 of 24 utterances .*\(the first is Ses01F-{FIRST}\)"):
        small.prepare("--skip_bad", "true")
    assert not small.data.exists()


def write_text_file(path: Path, rows: dict[str, str]) -> str:
    path.write_text("".join(f"{k} {v}\n" for k, v in sorted(rows.items())))
    return str(path)


def test_a_text_file_replaces_the_transcripts(small: SmallIemocap, tmp_path: Path) -> None:
    gold = DataDir.load(small.prepare())
    shutil.rmtree(gold.path)
    shutil.rmtree(small.transcripts_file.parent)
    shutil.copytree(
        small.corpus / "Session2" / "dialog" / "transcriptions", small.transcripts_file.parent
    )  # the corpus' own are not needed
    rows = {utt: f"recognised {i}" for i, utt in enumerate(gold.utterances)}
    rows[f"Ses01F-{FIRST}"] = ""
    rows["somebody-else"] = "not asked for"
    by_id = write_text_file(tmp_path / "by id", rows)
    text = DataDir.load(small.prepare("--text_file", by_id)).text
    assert text["Ses02M-Ses02M_script01_1b_M001"] == "recognised 23"
    assert text[f"Ses01F-{FIRST}"] == "..."
    by_name = write_text_file(tmp_path / "by name", {k.split("-")[1]: v for k, v in rows.items()})
    assert DataDir.load(small.prepare("--text_file", by_name, "--force", "true")).text == text


def test_a_text_file_that_lacks_utterances(
    small: SmallIemocap, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"Ses01F-Ses01F_impro01_F001": "hm", "Ses07F_x": "hm", "Ses07M_x": ""}
    path = write_text_file(tmp_path / "hyp", rows)
    message = rf"{path} lacks 23 of 24 utterances \(Ses01F-{FIRST}, .*, \.\.\.\); add them"
    with pytest.raises(UserError, match=message):
        small.prepare("--text_file", path)
    assert "2 lines name none of the utterances" in caplog.text
    assert "(Ses07F_x, Ses07M_x)" in caplog.text


def test_a_second_run_says_so_and_touches_nothing(
    small: SmallIemocap, caplog: pytest.LogCaptureFixture
) -> None:
    path = small.prepare()
    before = tree(path)
    times = {p: p.stat().st_mtime_ns for p in path.iterdir()}
    caplog.set_level(logging.INFO)
    caplog.clear()
    small.prepare()
    assert caplog.messages == [f"{path}: already made, skipping"]
    assert tree(path) == before
    assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == times
    small.prepare("--force", "true")
    assert tree(path) == before
    assert all(p.stat().st_mtime_ns > times[p] for p in path.iterdir())


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda c: None, ["--labels", "6"], "--labels was 4, now 6"),
        (lambda c: None, ["--text_tags", "keep"], "--text_tags was strip, now keep"),
        (lambda c: None, ["--allow_partial", "true"], "--allow_partial was false, now true"),
        (lambda c: write_audio(c.wav_file(), 0.2), [], "its input corpus has changed"),
        (
            lambda c: edit(c.transcripts_file, "Excuse me.", "Excuse me!"),
            [],
            "its input corpus has changed",
        ),
        (
            lambda c: edit(c.conf / "labels" / "4.yaml", "exc: hap", "exc: ang"),
            [],
            "its input label map has changed",
        ),
    ],
)
def test_what_changes_the_output_stops_a_second_run(
    small: SmallIemocap,
    change: Callable[[SmallIemocap], object],
    options: list[str],
    message: str,
) -> None:
    before = tree(small.prepare())
    change(small)
    with pytest.raises(UserError, match=re.escape(message)):
        small.prepare(*options)
    assert tree(small.data) == before
    assert tree(small.prepare(*options, "--force", "true")) != before


def test_what_we_did_not_make_is_never_replaced(small: SmallIemocap) -> None:
    own = small.data
    own.mkdir(parents=True)
    small.prepare()  # an empty directory is nobody's work
    (own / ".done.json").unlink()
    with pytest.raises(UserError, match="holds spk2gender but no marker"):
        small.prepare("--force", "true")
    assert (own / "text").exists()


def test_usage_errors(small: SmallIemocap, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in [
        (["--labels", "5"], "labels has 4, 4noexc, 6"),
        (["--text_tags", "some"], "invalid choice"),
        (["--skip_bad", "1"], "expected true or false"),
    ]:
        with pytest.raises(SystemExit) as stop:
            small.prepare(*options)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ang: ang\nneu: true\n", "'neu': True is not a label and its class"),
        ("ang: ang\nexc: hap py\n", "'exc': 'hap py' is not"),
        ("ang: ang\nneu: '-'\n", "names fewer than two classes"),
        ("ang: ang\nexc: hap\nneu: neu\nexc: ang\n", "the key exc is there again in line 4"),
        ("- ang\n", "must hold `key: value` lines"),
        ("ang: [\n", "is not valid YAML"),
    ],
)
def test_a_label_map_that_is_none(small: SmallIemocap, content: str, message: str) -> None:
    (small.conf / "labels" / "my own.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        small.prepare("--labels", "my own")


def shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run local/data.sh as stage 1 does, with the environment of path.sh."""
    path = f"{ROOT / 'utils'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(RECIPE / "local" / "data.sh"), *arguments],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_shell_script(small: SmallIemocap) -> None:
    # Another recipe may use it, from its own directory and with its own conf.
    done = shell(
        "--labels", "6", "--skip_bad=false", small.corpus.name, "data/all_6", cwd=small.conf.parent
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stderr.splitlines()
    assert first.endswith("data.sh --labels 6 --skip_bad=false IEMOCAP voll ü data/all_6")
    assert last == "validate_data_dir.sh: Successfully validated data-directory data/all_6"
    assert "(ang 6, exc 6, fru 6, neu 6, sad 6), 4 speakers" in done.stderr
    assert "left out by their label: xxx 6\n" in done.stderr
    marker = json.loads((small.conf.parent / "data" / "all_6" / ".done.json").read_text())
    assert marker["options"]["labels"] == "6"


def test_usage_of_the_shell_script(tmp_path: Path) -> None:
    done = shell("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: local/data.sh [options] <corpus_dir> <data_dir>")
    for arguments in (["--no_such", "x", "a", "b"], ["a"], ["--force", "maybe", "a", "b"]):
        done = shell(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""


def test_sentences_are_shuffled_within_their_speakers(small: SmallIemocap, tmp_path: Path) -> None:
    data = DataDir.load(small.prepare())
    for name in ("a", "b"):
        shuffle_text([str(data.path), str(tmp_path / name)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    dealt = read_table(tmp_path / "a")
    assert dealt != data.text
    for speaker in set(data.utt2spk.values()):
        utts = [utt for utt in data.utt2spk if data.utt2spk[utt] == speaker]
        assert sorted(dealt[utt] for utt in utts) == sorted(data.text[utt] for utt in utts)
