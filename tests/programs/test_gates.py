"""The share of audio against the equations, and its pictures."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cfia.bin.gates import main as gates
from cfia.bin.train import main as train
from cfia.config import build
from cfia.errors import UserError
from cfia.experiment import NAME, PARTS, read
from cfia.figures.gates import plot_gates
from cfia.files import read_yaml, write_yaml
from cfia.kaldi.table import write_table
from cfia.model.audio_weight import AudioWeight, audio_weight
from cfia.model.equations import CFIA, EquationStack
from cfia.training.audio_weights import audio_weights
from cfia.training.folds import Fold
from cfia.training.training import Training
from tests.support import experiment


@settings(max_examples=20)
@given(
    st.integers(1, 4),
    st.sampled_from(["two", "split"]),
    st.sampled_from(["pointwise", "mixing"]),
    st.integers(0, 99),
)
def test_the_share_makes_the_last_fusion_of_the_equations(
    n_modules: int, mlp: str, gate_conv: str, seed: int
) -> None:
    torch.manual_seed(seed)
    options = {"n_modules": n_modules, "channels": 4, "features": 3, "consistency": []}
    options |= {"mlp": mlp, "gate_conv": gate_conv}
    stack = EquationStack(build(options).model).double()
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter)
    X_a, X_t = torch.randn(2, 2, 4, 7, 3, dtype=torch.float64)
    valid = (torch.arange(7) < torch.tensor([[7], [4]])).double()
    X_a, X_t = (X * valid[:, None, :, None] for X in (X_a, X_t))
    fusions = []
    last = stack.modules_[-1]
    assert isinstance(last, CFIA)
    last.register_forward_hook(lambda *call: fusions.append(call[2]))
    share = audio_weight(stack, X_a, X_t, valid)
    assert share.shape == (2, 7, 3)
    assert ((share >= 0) & (share <= 1)).all()
    mixed = share[:, None] * X_a + (1 - share[:, None]) * X_t
    torch.testing.assert_close(mixed, fusions[0], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fold trained for an epoch, and audio for its utterances; its directory."""
    root = experiment.make(tmp_path_factory.mktemp("gates"))
    front = root / "dump" / "audio" / "frontend.yaml"
    write_yaml(front, {**read_yaml(front), "frame_shift": 0.02})
    experiment.mark_again(front.parent)
    small = "epochs=1 hidden=4 channels=4 features=3"
    directory = experiment.plan(root, root / "cfia_net_a_t" / "session", small)
    train(experiment.command(directory))
    noise = np.random.default_rng(1).normal(0, 0.1, 8000)
    soundfile.write(root / "noise.wav", noise, 8000)
    scp = root / "data" / "all" / "wav.scp"
    utts = [line.split()[0] for line in scp.read_text().splitlines()]
    write_table(scp, dict.fromkeys(utts, str(root / "noise.wav")))
    return directory


def lists(trained: Path) -> Fold:
    return Training(read(trained.parent), fold=1, seed=1).lists


def test_shares_are_those_of_the_trained_network(trained: Path) -> None:
    training = Training(read(trained.parent), fold=1, seed=1)
    utts = [training.lists.test[0], training.lists.train[0]]
    found = list(audio_weights(training, utts))
    assert [(one.utt, one.part) for one in found] == [(utts[0], "test"), (utts[1], "train")]
    for one in found:
        data = next(iter(training.dataset(one.part).features.values()))
        length = int(data.lengths[getattr(training.lists, one.part).index(one.utt)])
        assert one.weight.weight.shape == (length, 3)
        assert one.weight.text_frames == length  # spread over the audio
        assert one.weight.frame_shift == 0.02
        assert 0.2 < one.weight.weight.mean() < 0.8


def test_pictures_are_drawn_for_the_utterances_asked_for(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    utts = lists(trained).test[:1]
    gates(["--utts", " ".join(utts), *experiment.command(trained)])
    names = capsys.readouterr().out.split()
    assert names == [str(trained / "gates" / f"{utt}.png") for utt in utts]
    first = {path: path.read_bytes() for path in (trained / "gates").iterdir()}
    assert len(first) == 2
    gates(["--utts", " ".join(utts), *experiment.command(trained)])
    assert {path: path.read_bytes() for path in (trained / "gates").iterdir()} == first


def test_weights_that_were_exchanged_are_not_shown(trained: Path) -> None:
    path, utt = trained / "best.pt", lists(trained).test[0]
    content = path.read_bytes()
    path.write_bytes(content[::-1])
    with pytest.raises(UserError, match=r"best\.pt was changed after it was made\); stage 5"):
        gates(["--utts", utt, *experiment.command(trained)])
    path.write_bytes(content)


def test_what_has_no_gates_is_said(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no utterance nobody"):
        gates(["--utts", "nobody", *experiment.command(trained)])
    values = read_yaml(trained.parent / NAME)
    for part in PARTS:
        values["parts"][part]["dumps"].pop("audio")
    experiment.seal(tmp_path / NAME, values)
    utt = lists(trained).test[0]
    with pytest.raises(UserError, match="no CFIA module between audio and text"):
        gates(["--utts", utt, *experiment.command(tmp_path / trained.name)])
    with pytest.raises(SystemExit) as caught:
        gates(["--utts", " ", *experiment.command(trained)])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("positions", "text", "n_words", "audio"),
    [(1, 1, 1, False), (40, 40, 12, True), (512, 512, 150, True), (512, 18, 15, False)],
)
def test_words_have_room(positions: int, text: int, n_words: int, audio: bool) -> None:
    rng = np.random.default_rng(3)
    share = AudioWeight(rng.random((positions, 8), np.float32), 0.02, text)
    sound = (rng.normal(0, 0.1, 4000).astype(np.float32), 8000) if audio else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = plot_gates(share, "u: neu\nsystem", "überall $x$ " * n_words, sound).png
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()
