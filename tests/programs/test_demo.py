"""What the page of `cfia demo` shows of models and recordings."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cfia.bin.demo import main
from cfia.errors import UserError
from cfia.inference.demo import Answers, about
from cfia.inference.demo_server import Demo
from cfia.inference.model import Model, load
from tests.signals import heed_signals
from tests.support import tiny_packs
from tests.support.questions import ask

RATE = 16000
NOISE = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
SECONDS = 30.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def pack(root: Path) -> Path:
    """One of audio, with a card."""
    directory = tiny_packs.write(root / "pack", tiny_packs.FBANK)
    (directory / "README.md").write_text("# The card\n")
    return directory


@pytest.fixture(scope="module")
def model(pack: Path) -> Model:
    return load(pack)


@pytest.fixture(scope="module")
def demo(pack: Path, model: Model) -> Iterator[Demo]:
    with Demo(about(model, pack, SECONDS, 50), Answers(model, SECONDS), port=0) as demo:
        threading.Thread(target=demo.serve_forever, args=[0.01], daemon=True).start()
        yield demo
        demo.shutdown()


def sound(samples: NDArray[np.float32], rate: int = RATE, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return file.getvalue()


def test_a_recording_gets_the_models_own_posteriors(demo: Demo, model: Model) -> None:
    reply = ask(demo, sound(NOISE))
    said = reply.json()
    (expected,) = model.posteriors({"audio": model.encoders["audio"].extract([NOISE])})
    assert reply.status == 200
    assert list(said["posteriors"]) == list(tiny_packs.CLASSES)
    assert list(said["posteriors"].values()) == pytest.approx(expected, abs=1e-6)
    assert said["label"] == max(said["posteriors"], key=said["posteriors"].get)
    assert said["picture"] is None  # of audio alone there is nothing to weigh
    assert said["windows"] == []
