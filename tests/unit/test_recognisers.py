"""Recognisers: what they hear, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cfia.asr import load
from cfia.asr.transformers import QUIET, WINDOW, windows
from cfia.errors import UserError
from tests.support import tiny_models
from tests.support.data_files import ROOT
from tests.support.dump_data import noise
from tests.support.tiny_recognisers import LETTERS, save_ctc, save_whisper_asr

SPEAK = """
import sys
sys.path.insert(0, "egs/mini_iemocap/local")
import espeak, soundfile
with espeak.engine() as engine:
    for text in sys.argv[2:]:
        samples = engine.say(text, "en-us+f2", 140, 50, 50, 1)
        soundfile.write(f"{sys.argv[1]}/{text}.wav", samples, engine.rate)
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[NDArray[np.float32], int]]:
    """Words of the synthesiser: text -> samples and rate."""
    place, texts = tmp_path_factory.mktemp("spoken"), ("yes", "I am sorry")
    subprocess.run([sys.executable, "-c", SPEAK, str(place), *texts], check=True, cwd=ROOT)
    return {text: soundfile.read(place / f"{text}.wav", dtype="float32") for text in texts}


def test_pocketsphinx_hears_words_whatever_it_heard_before(
    spoken: dict[str, tuple[NDArray[np.float32], int]],
) -> None:
    recogniser = load("pocketsphinx")
    heard = {text: recogniser.recognise(*sound) for text, sound in spoken.items()}
    assert heard["yes"] == "yes"
    assert heard["I am sorry"].startswith("i am ")
    for nothing in (np.zeros(16000), np.zeros(0), noise(0.01), np.full(8000, 0.5)):
        assert recogniser.recognise(np.asarray(nothing, np.float32), 16000) == ""
    samples, rate = spoken["yes"]
    padded = np.concatenate([np.zeros(rate // 4), samples, np.zeros(rate // 4)])
    first = recogniser.recognise(padded.astype(np.float32), rate)
    for text in reversed(heard):
        assert recogniser.recognise(*spoken[text]) == heard[text]
    assert recogniser.recognise(padded.astype(np.float32), rate) == first
    with pytest.raises(UserError, match="a sample that is not a finite number"):
        recogniser.recognise(np.full(8000, np.nan, np.float32), 16000)


def test_ctc_is_the_best_path(tmp_path: Path) -> None:
    from transformers import Wav2Vec2ForCTC

    save_ctc(tmp_path / "ctc")
    recogniser, wave = load(str(tmp_path / "ctc")), noise(1.3, seed=4)
    model = Wav2Vec2ForCTC.from_pretrained(tmp_path / "ctc").eval()
    normalised = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.no_grad():
        best = model(torch.from_numpy(normalised)[None]).logits[0].argmax(-1).tolist()
    path = [token for token, before in zip(best, [None, *best], strict=False) if token != before]
    tokens = ["", " ", " ", *LETTERS]  # the blank, the unknown, the end of a word
    words = "".join(tokens[i] for i in path).split()
    assert words
    assert recogniser.recognise(wave, 16000) == " ".join(words)
    # Read in windows that overlap, and alike wherever it stands.
    long = noise(31.0, seed=5)
    assert recogniser.recognise(long, 16000) == recogniser.recognise(long, 16000)


def test_whisper_writes_a_text_for_each_window(tmp_path: Path) -> None:
    recogniser = load(str(save_whisper_asr(tmp_path / "whisper")))
    wave = noise(40.0, seed=1)
    wave[28 * 16000 : 29 * 16000] = 0
    parts = windows(wave, 16000)
    assert [round(len(part) / 16000) for part in parts] == [28, 12]
    texts = [recogniser.recognise(part, 16000) for part in parts]
    assert all(texts)
    assert recogniser.recognise(wave, 16000) == " ".join(texts)
    assert recogniser.recognise(noise(0.5, rate=8000), 8000)


@settings(max_examples=30)
@given(st.floats(0.01, 100.0), st.integers(0, 1000))
def test_windows_are_the_whole_and_none_is_too_long(seconds: float, seed: int) -> None:
    rate = 100
    wave = np.random.default_rng(seed).normal(size=round(seconds * rate)).astype(np.float32)
    parts = windows(wave, rate)
    assert np.array_equal(np.concatenate(parts), wave)
    assert all(len(part) <= WINDOW * rate for part in parts)
    assert all(len(part) > (WINDOW - 5 - QUIET) * rate for part in parts[:-1])


def test_what_is_no_recogniser_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.save_bert(tmp_path / "bert")
    with pytest.raises(UserError, match=r"bert is BertModel of the type bert, which writes no"):
        load(str(tmp_path / "bert"))
    tiny_models.save_whisper(tmp_path / "encoder")
    with pytest.raises(UserError, match="is WhisperModel of the type whisper, which writes no"):
        load(str(tmp_path / "encoder"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no weights"):
        load(str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no such model directory \./none"):
        load("./none")
    for key in ("lm_head__weight", "wav2vec2__encoder__layers__0__final_layer_norm__weight"):
        ctc = save_ctc(tmp_path / key)
        tiny_models.edit_weights(ctc, **{key: None})
        with pytest.raises(UserError, match=f"lack {key.replace('__', '.')}"):
            load(str(ctc))
    (tmp_path / "funasr").mkdir()
    (tmp_path / "funasr" / "config.yaml").write_text("model: Paraformer\n")
    with pytest.raises(UserError, match=r"has config\.yaml and no weights"):
        load(str(tmp_path / "funasr"))
    (tmp_path / "funasr" / "model.pt").write_bytes(b"PK")
    for name, package in ((str(tmp_path / "funasr"), "funasr"), ("pocketsphinx", "pocketsphinx")):
        monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
        with pytest.raises(UserError, match=f"install it with `pip install {package}`"):
            load(name)
