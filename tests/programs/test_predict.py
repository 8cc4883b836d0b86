"""`cfia predict` and the call from Python, with small networks of random weights."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

import cfia
from cfia.bin.predict import main as predict
from cfia.errors import UserError
from cfia.inference.model import Model
from cfia.kaldi import audio
from cfia.kaldi.table import write_table
from cfia.upstream.fbank import Fbank
from tests.support import tiny_packs
from tests.support.tiny_packs import RATE, noise


class Packs(NamedTuple):
    audio: str
    both: str


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """Packs of a network on audio, and of one on audio and text; they take four seconds."""
    place = tmp_path_factory.mktemp("packs")
    bert = tiny_packs.bert(place / "bert")
    alone = tiny_packs.write(place / "audio", tiny_packs.FBANK)
    return Packs(str(alone), str(tiny_packs.write(place / "both", tiny_packs.FBANK, bert)))


@pytest.fixture(scope="module")
def model(packs: Packs) -> Model:
    return cfia.load(packs.audio)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of audio of several kinds, and of other things."""
    place = tmp_path_factory.mktemp("speech")
    (place / "b").mkdir()
    (place / ".hidden").mkdir()
    for number in range(17):
        soundfile.write(place / f"{number:02d}.wav", noise(0.3 + number / 20, seed=number), RATE)
    soundfile.write(place / "ein schöner Ton.flac", noise(1.2, 8000, seed=20), 8000)
    soundfile.write(place / "b" / "stereo.mp3", noise(1.5, 48000, 2, seed=21), 48000)
    soundfile.write(place / "b" / "long.wav", noise(9, seed=22), RATE)
    for hidden in (place / "._00.wav", place / ".hidden" / "a.wav", place / "notes.txt"):
        hidden.write_bytes(b"no audio")
    (place / "b" / "up").symlink_to(place)
    return place


def rows(out: str) -> list[list[str]]:
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header == ["file", "start", "end", "label", *tiny_packs.CLASSES]
    return lines


Capsys = pytest.CaptureFixture[str]
Caplog = pytest.LogCaptureFixture


def test_a_folder_is_read_in_the_order_of_its_paths_whatever_nj_is(
    packs: Packs, speech: Path, capsys: Capsys, caplog: Caplog
) -> None:
    with contextlib.chdir(speech.parent):
        predict(["--model", packs.audio, speech.name, "--nj", "1"])
        alone, said = capsys.readouterr().out, caplog.messages
        caplog.clear()
        predict(["--model", packs.audio, speech.name, "--nj", "2"])
    assert capsys.readouterr().out == alone
    assert caplog.messages == said
    names = list(dict.fromkeys(row[0] for row in rows(alone)))
    files = [*(f"{number:02d}.wav" for number in range(17)), "b/long.wav", "b/stereo.mp3"]
    assert names == [f"{speech.name}/{name}" for name in [*files, "ein schöner Ton.flac"]]
    assert said == [
        f"{speech.name}/b/long.wav: it is longer than the 4.02 s that the model takes at once, so "
        "it is read in windows of 4 s every 2 s (this is said once)",
        f"{speech.name}/b/stereo.mp3: its 2 channels are averaged (this is said once)",
    ]


def test_a_recording_in_windows_has_their_mean(packs: Packs, speech: Path, capsys: Capsys) -> None:
    given = ["--model", packs.audio, str(speech / "b" / "long.wav"), "--window", "3", "--hop", "2"]
    predict(given)
    whole, *windows = rows(capsys.readouterr().out)
    times = [tuple(map(float, row[1:3])) for row in (whole, *windows)]
    assert times == [(0, 9), (0, 3), (2, 5), (4, 7), (6, 9)]
    each = np.array([list(map(float, row[4:])) for row in windows])
    np.testing.assert_allclose(np.array(whole[4:], float), each.mean(axis=0), atol=2e-6)
    assert whole[3] == tiny_packs.CLASSES[int(each.mean(axis=0).argmax())]
    predict([*given, "--json"])
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [
        [v["file"], f"{v['start']:.3f}", f"{v['end']:.3f}", v["label"]]
        + [f"{p:.6f}" for p in v["posteriors"].values()]
        for v in values
    ] == [whole, *windows]


def test_one_by_one_is_as_many_at_once(
    packs: Packs, model: Model, speech: Path, capsys: Capsys
) -> None:
    predict(["--model", packs.audio, str(speech), "--nj", "1"])
    lines = {row[0]: row for row in reversed(rows(capsys.readouterr().out))}
    for name, row in lines.items():
        answer = model(name)
        found = np.array(list(answer.posteriors.values()))
        np.testing.assert_allclose(np.array(row[4:], float), found, rtol=0, atol=1e-5)
        assert answer.label == row[3] == max(answer.posteriors, key=answer.posteriors.__getitem__)


def test_the_answer_is_that_of_the_network(model: Model, speech: Path) -> None:
    path = speech / "05.wav"
    samples, rate = audio.load(str(path))
    matrix = Fbank().extract([samples])[0]
    expected = model.posteriors({"audio": [matrix]})[0]
    for answer in (model(path), model(samples, rate=rate), model(samples[:, None], rate=rate)):
        np.testing.assert_allclose(list(answer.posteriors.values()), expected, atol=1e-9)
        assert sum(answer.posteriors.values()) == pytest.approx(1)
        assert (answer.seconds, answer.windows, answer.channels) == (len(samples) / rate, (), 1)
    integers = np.round(samples * 32768).astype(np.int16)
    assert model(integers, rate=rate).posteriors == pytest.approx(model(path).posteriors)


def test_what_the_network_takes_is_not_cut(model: Model) -> None:
    shaping = model.shaping["audio"]
    longest = noise(model.limit)[:, 0]
    assert len(model.encoders["audio"].extract([longest])[0]) == shaping.kept
    assert not model(longest, rate=RATE).windows
    assert len(model(np.append(longest, longest[:8000]), rate=RATE).windows) == 2


@pytest.mark.parametrize(
    ("samples", "rate", "why"),
    [
        (np.zeros(100), None, "samples need their sampling rate"),
        (np.zeros((2, 16000)), RATE, r"shape \(2, 16000\) are no audio"),
        (np.zeros((0, 2)), RATE, "are no audio"),
        (np.zeros(9, complex), RATE, "type complex128 are no audio"),
        (np.full(9000, np.nan), RATE, r"a sample is not a finite number\); give another"),
        (np.zeros(160), RATE, "has 160 samples at 16000 Hz, where one frame of fbank needs 400"),
    ],
)
def test_samples_that_are_no_audio(
    model: Model, samples: np.ndarray, rate: int | None, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        model(samples, rate=rate)


def test_python_says_what_is_odd_or_missing(
    model: Model, packs: Packs, caplog: Caplog, tmp_path: Path
) -> None:
    answer = model(np.zeros(RATE), "words", rate=RATE)
    silent = "the audio is silent: all of its samples are 0"
    assert answer.remarks == (silent,)
    assert caplog.messages == [
        f"the array: {silent}", "the array: the model takes no text, so the text is not used"
    ]  # fmt: skip
    both = cfia.load(packs.both)
    with pytest.raises(UserError, match="no text for the array, and this model needs one"):
        both(noise(1), rate=RATE)
    with pytest.raises(UserError, match="no audio for the text, and this model needs it"):
        both(text="the cat sat")
    with pytest.raises(UserError, match=r"no such audio file .*none\.wav; give another recording"):
        both(tmp_path / "none.wav", "the cat sat")
    with pytest.raises(UserError, match="its text does not say which words are in which"):
        both(noise(5), "the cat sat", rate=RATE)
    said, tagged = (both(noise(1), text, rate=RATE) for text in ("the cat", "the [LAUGHTER] cat "))
    assert said == tagged  # tidied as the transcripts of the training were
    assert said.posteriors != both(noise(1), "on a mat", rate=RATE).posteriors


def test_texts_come_from_the_command_line_or_a_file(
    packs: Packs, speech: Path, tmp_path: Path, capsys: Capsys, caplog: Caplog
) -> None:
    files = [str(speech / f"{name}.wav") for name in ("01", "02", "03")]
    write_table(tmp_path / "text", {"01": "the cat sat", "u": "on a mat", "x": "not used"})
    write_table(tmp_path / "wav.scp", {"u": files[2]})
    given = ["--model", packs.both, "--nj", "1", "--json"]
    with pytest.raises(UserError, match="1 of 3 recordings could not be judged"):
        text = ["--text_file", str(tmp_path / "text")]
        predict([*given, *files[:2], str(tmp_path / "wav.scp"), *text])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = {line["file"]: line["text"] for line in lines}
    assert named == {files[0]: "the cat sat", "u": "on a mat"}
    assert any(f"not judged: {files[1]} (there is no text for" in said for said in caplog.messages)
    predict([*given, files[0], "--text", "the cat sat"])
    assert json.loads(capsys.readouterr().out) == {**lines[0], "file": files[0]}


def test_what_is_left_of_a_long_text_is_said(packs: Packs, speech: Path, caplog: Caplog) -> None:
    words = " ".join(["cat"] * 5000)
    predict(["--model", packs.both, str(speech / "03.wav"), "--text", words])
    (said,) = [message for message in caplog.messages if "tokens" in message]
    assert "only the first" in said
    assert "of its 5002 tokens are encoded" in said


def test_a_recogniser_writes_the_text_of_each_window(
    packs: Packs, tmp_path: Path, capsys: Capsys
) -> None:
    sound = np.concatenate([np.zeros((RATE, 1)), noise(1)])
    soundfile.write(tmp_path / "a.wav", sound, RATE, "FLOAT")
    given = ["--model", packs.both, str(tmp_path / "a.wav"), "--asr_model", "pocketsphinx"]
    predict([*given, "--window", "1", "--hop", "1", "--json"])
    whole, silence, heard = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "text" not in whole
    assert silence["text"] == "..."
    assert heard["text"]
    again = cfia.load(packs.both)(sound[RATE:], heard["text"], rate=RATE)
    assert heard["posteriors"] == pytest.approx(again.posteriors, abs=1e-5)
    with pytest.raises(UserError, match="nowhere"):
        predict([*given[:-1], "nowhere"])


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["a.wav", "b.wav", "--text", "words"],
        ["-", "--text", "words"],
        [".", "--text", "words"],
        ["wav.scp", "--text", "words"],
        ["a.wav", "--text", "words", "--text_file", "text"],
        ["a.wav", "--text", "words", "--window", "2"],
        ["a.wav", "--text_file", "text", "--window", "2"],
        ["a.wav", "--window", "2", "--hop", "3"],
        ["a.wav", "--window", "0"],
        ["a.wav", "--window", "nan"],
        ["a.wav", "--nj", "0"],
    ],
)
def test_usage(given: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        predict(["--model", "nowhere", *given])
    assert caught.value.code == 2


def test_what_cannot_be_read_is_skipped_and_listed(
    packs: Packs, speech: Path, tmp_path: Path, capsys: Capsys, caplog: Caplog
) -> None:
    bad: dict[str, Callable[[Path], object]] = {
        "empty.wav": lambda path: path.write_bytes(b""),
        "infinite.wav": lambda path: soundfile.write(path, [0, np.inf, 0], RATE, "FLOAT"),
        "short.wav": lambda path: soundfile.write(path, noise(0.01), RATE),
        "words.wav": lambda path: path.write_text("RIFF of a guitar\n" * 9),
    }
    for name, write in bad.items():
        write(tmp_path / name)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    good = str(speech / "00.wav")
    names = [*(str(tmp_path / name) for name in [*bad, "gone.wav", "silent.wav"]), good, good]
    out = tmp_path / "out.tsv"
    with pytest.raises(UserError, match=r"^5 of 8 recordings could not be judged.*are written$"):
        predict(["--model", packs.audio, *names, "--out", str(out), "--nj", "2"])
    assert [row[0] for row in rows(out.read_text())] == [names[5], good, good]
    assert capsys.readouterr().out == ""
    assert caplog.messages == [
        f"{names[5]}: the audio is silent: all of its samples are 0",
        f"not judged: {names[0]} (the audio file {names[0]} cannot be read (the file is empty))",
        f"not judged: {names[1]} (the audio file {names[1]} cannot be read (a sample is not a "
        "finite number))",
        f"not judged: {names[2]} (the audio has 160 samples at 16000 Hz, where one frame of fbank "
        "needs 400)",
        f"not judged: {names[3]} (the audio file {names[3]} cannot be read (Format not "
        "recognised))",
        f"not judged: {names[4]} (no such audio file {names[4]})",
    ]
    with pytest.raises(UserError, match=r"^no such audio file [^;]*gone\.wav; give another"):
        predict(["--model", packs.audio, names[4]])


def test_commands_run_where_they_are_allowed_alone(
    packs: Packs, speech: Path, tmp_path: Path, capsys: Capsys
) -> None:
    ran, sound = tmp_path / "ran", speech / "04.wav"
    scp = tmp_path / "wav.scp"
    write_table(scp, {"a": str(sound), "b": f"touch {ran}; cat {sound} |"})
    trap = tmp_path / "x;touch ran|"
    trap.write_bytes(sound.read_bytes())
    given = ["--model", packs.audio, "--nj", "1"]
    with pytest.raises(UserError, match=r"b is the output of the command .*give --allow_pipes"):
        predict([*given, str(scp)])
    with contextlib.chdir(tmp_path):
        predict([*given, trap.name, "--allow_pipes"])  # a name is a name
    assert not ran.exists()
    capsys.readouterr()
    predict([*given, str(scp), "--allow_pipes"])
    first, second = rows(capsys.readouterr().out)
    assert ran.exists()
    assert (first[0], second[0]) == ("a", "b")
    assert first[1:] == second[1:]


def test_names_that_are_hard_to_write(packs: Packs, speech: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"ein\tschr\xf6ger name.wav")  # not UTF-8
    (tmp_path / name).write_bytes((speech / "00.wav").read_bytes())
    out = tmp_path / "out"
    given = ["--model", packs.audio, str(tmp_path), "--out", str(out)]
    predict(given)
    assert rows(os.fsdecode(out.read_bytes()))[0][0] == str(tmp_path / name).replace("\t", "\\t")
    predict([*given, "--json"])
    assert json.loads(out.read_text(encoding="utf-8"))["file"] == str(tmp_path / name)


def test_inputs_without_audio(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--model", packs.audio]
    with pytest.raises(UserError, match=r"has no audio \(files that end in .*name another"):
        predict([*given, str(tmp_path)])
    (tmp_path / "wav.scp").write_text("a /none.wav\n")
    with pytest.raises(UserError, match=r"has no audio .*; name .*wav\.scp$"):
        predict([*given, str(tmp_path)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n\n")))
    with pytest.raises(UserError, match="the list on standard input is empty"):
        predict([*given, "-"])
    with pytest.raises(UserError, match="takes text; give --text, --text_file or --asr_model"):
        predict(["--model", packs.both, "-"])


@pytest.mark.usefixtures("ffmpeg")
def test_a_film_is_read_as_it_is_decoded(model: Model, tmp_path: Path) -> None:
    samples = noise(5, 44100, 2)
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    sound, film = str(tmp_path / "a.wav"), str(tmp_path / "a.m4a")
    encode = ["-c:a", "alac", "-movflags", "+faststart", film]
    subprocess.run(["ffmpeg", "-v", "error", "-i", sound, *encode], check=True)
    assert model(film) == model(sound)
    assert len(model(film).windows) == 2
    whole = Path(film).read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.m4a cannot be read \(ffmpeg: "):
        model(tmp_path / "cut.m4a")


def test_pictures(packs: Packs, speech: Path, tmp_path: Path, caplog: Caplog) -> None:
    long, short = str(speech / "b" / "long.wav"), str(speech / "03.wav")
    predict(["--model", packs.audio, long, short, "--plot", str(tmp_path / "audio"), "--nj", "1"])
    assert sorted(p.name for p in (tmp_path / "audio").iterdir()) == ["long.png", "long.svg"]
    assert [said for said in caplog.messages if "no picture is drawn" in said]
    (tmp_path / "text").write_text("03 the cat sat\n")
    given = ["--text_file", str(tmp_path / "text"), "--plot", str(tmp_path / "both")]
    predict(["--model", packs.both, short, *given])
    assert sorted(p.name for p in (tmp_path / "both").iterdir()) == ["03.png", "03.svg"]
    assert (tmp_path / "both" / "03.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# The real command, which tells at its end what it has imported that not everybody needs.
COMMAND = """
import atexit, sys
rare = "transformers", "matplotlib", "kaldiio", "scipy", "jinja2", "tensorboard"
atexit.register(lambda: print(*[x for x in rare if x in sys.modules], file=sys.stderr, end=""))
from cfia.__main__ import main
main()
"""


def test_the_command_stops_when_nobody_reads_on(packs: Packs, speech: Path) -> None:
    """With a list on its standard input, and a reader that goes after a line."""
    listed = b"".join(os.fsencode(path) + b"\n" for path in sorted(speech.glob("*.*")) * 40)
    given = ["predict", "--model", packs.audio, "-", "--nj", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *given],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(listed)
        process.stdin.close()
        assert process.stdout.readline().startswith(b"file\tstart\tend\tlabel\t")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


@pytest.fixture(autouse=True)
def _heard(caplog: Caplog) -> None:
    caplog.set_level(logging.WARNING, "cfia")
