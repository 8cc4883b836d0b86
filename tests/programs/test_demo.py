"""What the page of `cfia demo` shows of models and recordings, and the program itself."""

from __future__ import annotations

import base64
import copy
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cfia.bin.demo import main
from cfia.inference.demo import Answers
from cfia.inference.demo_server import Demo
from cfia.inference.model import Model, load
from cfia.inference.recordings import Ear
from tests.support import tiny_packs
from tests.support.questions import ask, request

RATE = 16000
NOISE = np.random.default_rng(1).normal(0, 0.1, 20 * RATE).astype(np.float32)
SECOND = NOISE[:RATE]
SECONDS = 30.0


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of audio, with a card."""
    directory = tiny_packs.write(tmp_path_factory.mktemp("demo") / "pack", tiny_packs.FBANK)
    (directory / "README.md").write_text(
        "---\nlicense: other\n---\n\n# The card & <b>more</b>\n\n> Of no\n> use.\n"
    )
    return directory


@pytest.fixture(scope="module")
def model(pack: Path) -> Model:
    return load(pack)


@contextmanager
def served(model: Model, pack: Path, ear: Ear | None = None) -> Iterator[Demo]:
    model = copy.copy(model)
    model.ear = ear
    answers = Answers(model, SECONDS)
    with Demo(answers.about(pack, 50), answers, port=0) as demo:
        threading.Thread(target=demo.serve_forever, args=[0.01], daemon=True).start()
        yield demo
        demo.shutdown()


@pytest.fixture(scope="module")
def demo(pack: Path, model: Model) -> Iterator[Demo]:
    with served(model, pack) as demo:
        yield demo


def sound(samples: NDArray[np.float32], rate: int = RATE, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    subtype = "FLOAT" if kind == "WAV" else None
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def refused(demo: Demo, recording: bytes, text: bytes = b"") -> str:
    """Give the one sentence with which a question is refused."""
    reply = ask(demo, recording, text)
    assert reply.status == 422
    sentence = reply.json()["error"]
    assert isinstance(sentence, str)
    assert "/" not in sentence  # no path of ours
    assert "--" not in sentence  # no option of a command line
    return sentence


def test_a_recording_gets_the_models_own_posteriors(demo: Demo, model: Model) -> None:
    reply = ask(demo, sound(SECOND))
    said, own = reply.json(), model(SECOND, rate=RATE)
    assert reply.status == 200
    assert said["posteriors"] == own.posteriors
    assert said["label"] == own.label
    assert list(said["posteriors"]) == list(tiny_packs.CLASSES)
    assert said["windows"] == []
    assert said["remarks"] == []
    assert said["picture"] is None  # of audio alone there is nothing to weigh


def test_what_the_page_says_of_the_model(demo: Demo) -> None:
    said = request(demo, "GET", "/about").json()
    assert said["modalities"] == ["audio"]
    assert said["classes"] == list(tiny_packs.CLASSES)
    assert (said["system"], said["corpus"]) == ("cfia_net_fbank", "toy")
    assert said["card"] == "# The card & <b>more</b>\n\n> Of no\n> use.\n"
    assert said["warning"] == "Of no use."
    assert (said["seconds"], said["megabytes"]) == (SECONDS, 50)


def test_a_long_recording_is_shown_in_windows(demo: Demo, model: Model) -> None:
    said = ask(demo, sound(NOISE)).json()
    own = model(NOISE, rate=RATE)
    assert len(said["windows"]) == len(own.windows) > 1
    assert said["windows"][0]["start"] == 0
    assert said["windows"][-1]["end"] == 20
    assert [window["posteriors"] for window in said["windows"]] == [
        window.posteriors for window in own.windows
    ]
    assert said["posteriors"] == own.posteriors


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3", "AIFF"])
def test_other_formats_are_known_without_a_name(demo: Demo, kind: str) -> None:
    assert ask(demo, sound(SECOND, kind=kind)).status == 200


def test_what_is_odd_about_a_recording_is_shown(demo: Demo) -> None:
    stereo = np.stack([SECOND, 0.5 * SECOND], axis=1)
    assert ask(demo, sound(stereo)).json()["remarks"] == ["its 2 channels were averaged"]
    (remark,) = ask(demo, sound(np.zeros_like(SECOND))).json()["remarks"]
    assert "silent" in remark


def test_what_cannot_be_judged_is_said_in_a_sentence(demo: Demo) -> None:
    assert refused(demo, b"") == "this model listens; record something, or choose a file"
    assert refused(demo, b"RIFF, not quite").startswith("the recording cannot be read (")
    assert refused(demo, sound(SECOND)[:1000]).startswith("the recording cannot be read (it ends")
    assert "not a finite number" in refused(demo, sound(SECOND * np.float32(np.nan)))
    assert "samples" in refused(demo, sound(SECOND[:10]))
    assert "cancel out" in refused(demo, sound(np.stack([SECOND, -SECOND], axis=1)))


@settings(max_examples=40)
@given(st.binary(min_size=1), st.integers(0, 200), st.booleans())
def test_no_file_breaks_the_server(demo: Demo, junk: bytes, at: int, whole: bool) -> None:
    good = sound(SECOND[:800], kind="FLAC")
    reply = ask(demo, junk if whole else good[:at] + junk + good[at + len(junk) :])
    assert reply.status in (200, 422)


def test_a_long_sound_in_a_small_file_is_refused_before_it_is_read(demo: Demo) -> None:
    silence = sound(np.zeros(31 * 8000, np.float32), 8000, "FLAC")
    assert len(silence) < 20_000
    expected = "the recording has 31.0 s, and more than 30 s are not taken here; send a part of it"
    assert refused(demo, silence) == expected
    dense = sound(np.zeros((29 * 96000, 8), np.float32), 96000, "FLAC")
    assert refused(demo, dense).startswith("the recording has 8 channels at 96000 Hz, which")


def test_a_list_of_files_reads_none_of_them(demo: Demo, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(sound(SECOND))
    for text in (
        f"#EXTM3U\n{secret}\n",
        f"ffconcat version 1.0\nfile {secret}\n",
        f"{secret}",
        f"cat {secret} |",
    ):
        assert "cannot be read" in refused(demo, text.encode())


@pytest.mark.slow
def test_a_model_that_reads_needs_the_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = tiny_packs.write(tmp_path / "both", tiny_packs.FBANK, tiny_packs.bert(tmp_path / "bert"))
    reader = tiny_packs.write(tmp_path / "text", tiny_packs.bert(tmp_path / "bert"))
    model = load(reader)
    with served(model, reader) as demo:
        said = ask(demo, b"", b"never").json()
        assert said["posteriors"] == model(text="never").posteriors
        assert said["picture"] is None
    with served(model, reader, ear=lambda samples, rate: f"never {len(samples) / rate:g}") as demo:
        assert request(demo, "GET", "/about").json()["hears"]
        assert refused(demo, b"").startswith("this model listens")
        said = ask(demo, sound(SECOND)).json()
        assert said["text"] == "never 1"
        assert said["posteriors"] == model(text="never 1").posteriors
        assert ask(demo, b"", b"never").json()["text"] is None  # nothing was recognised
    model = load(pack)
    with served(model, pack, ear=lambda samples, rate: "never") as demo:
        windows = ask(demo, sound(NOISE)).json()["windows"]
        assert {window["text"] for window in windows} == {"never"}
        assert len(windows) > 1
    with served(model, pack) as demo:
        assert "text_hint" in request(demo, "GET", "/about").json()
        assert refused(demo, sound(SECOND), b" \n") == "this model reads; type what is said"
        assert refused(demo, b"", b"never").startswith("this model listens; record something")
        assert "send a part of it, with the words" in refused(demo, sound(NOISE), b"never")
        said = ask(demo, sound(SECOND), "never [LAUGHTER] café".encode()).json()
        own = model(SECOND, "never café", rate=RATE)
        assert said["posteriors"] == own.posteriors
        kind, _, data = said["picture"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as gates:
            assert gates.width > 500
        assert ask(demo, sound(SECOND), b"never " * 200).json()["remarks"]  # what was cut
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        said = ask(demo, sound(SECOND), b"never").json()
        assert said["picture"] is None
        assert "not drawn, for matplotlib is missing; " in said["remarks"][0]


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--port", "70000"], ["--max_seconds", "0"], ["--max_megabytes", "x"]):
        with pytest.raises(SystemExit, match="2"):
            main(["--model", "pack", *wrong])
        assert wrong[0] in capsys.readouterr().err
