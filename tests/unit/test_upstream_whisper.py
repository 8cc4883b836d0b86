"""Whisper's encoder: frames, padding, layers; and checkpoints that do not fit."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.files import sha256
from cfia.upstream import build
from cfia.upstream.choice import Choice
from cfia.upstream.registry import model_digest
from tests.support import tiny_models
from tests.support.payload import Payload


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    directory = tmp_path_factory.mktemp("my models ü") / "tiny_whisper"
    return directory, tiny_models.save_whisper(directory)


@pytest.fixture
def directory(saved: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved[0], tmp_path / "model"))


def whisper(directory: Path, layer: int | str | None = None) -> Any:
    return build(Choice("audio", "whisper", str(directory), layer))


def test_fifty_frames_a_second_rounded_up(saved: tuple[Path, Any]) -> None:
    items = [noise(n) for n in (1, 319, 320, 321, 16000, 480000, 480001)]
    found = whisper(saved[0]).extract(items)
    assert [m.shape for m in found] == [(n, 16) for n in (1, 1, 1, 2, 50, 1500, 1501)]
    assert all(m.dtype == np.float32 for m in found)


def test_every_layer_is_the_full_models_hidden_state(saved: tuple[Path, Any]) -> None:
    from transformers import WhisperFeatureExtractor

    samples = noise(20000)
    inputs = WhisperFeatureExtractor()([samples], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        output = saved[1].encoder(inputs.input_features, output_hidden_states=True)
    for layer in (0, 1, 2):
        (found,) = whisper(saved[0], layer).extract([samples])
        assert np.abs(found - output.hidden_states[layer][0, :63].numpy()).max() < 1e-5
    assert np.array_equal(found, whisper(saved[0]).extract([samples])[0])


def test_all_layers_stand_side_by_side(saved: tuple[Path, Any]) -> None:
    upstream = whisper(saved[0], "all")
    singles = [whisper(saved[0], layer).extract([noise(5000)])[0] for layer in (0, 1, 2)]
    (found,) = upstream.extract([noise(5000)])
    assert np.abs(found - np.concatenate(singles, axis=1)).max() < 1e-5
    description = upstream.description.values()
    assert (description["layer"], description["dim"], description["layers"]) == ("all", 48, 3)


def test_a_gpu_that_is_not_there_is_an_error(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cuda was asked for, but torch sees no GPU here"):
        build(Choice("audio", "whisper", str(saved[0])), device="cuda")


def test_a_batch_is_as_one_by_one(saved: tuple[Path, Any]) -> None:
    upstream = whisper(saved[0])
    items = [noise(n, seed) for seed, n in enumerate((5000, 500000, 320, 16000))]
    for item, matrix in zip(items, upstream.extract(items), strict=True):
        assert np.abs(matrix - upstream.extract([item])[0]).max() < 1e-4


def test_longer_audio_is_its_pieces_of_thirty_seconds(saved: tuple[Path, Any]) -> None:
    upstream = whisper(saved[0])
    samples = noise(480000 + 9000)
    pieces = upstream.extract([samples[:480000], samples[480000:]])
    assert np.array_equal(upstream.extract([samples])[0], np.concatenate(pieces))


def test_description_holds_the_digest_of_the_weights(saved: tuple[Path, Any]) -> None:
    assert whisper(saved[0], 1).description.values() == {
        "kind": "audio",
        "name": "whisper",
        "model": str(saved[0]),
        "revision": None,
        "layer": 1,
        "dim": 16,
        "frame_shift": 0.02,
        "sample_rate": 16000,
        "weights": sha256(saved[0] / "model.safetensors"),
        "layers": 1,
    }


def test_half_precision_on_disk_is_run_in_float32(directory: Path, saved: tuple[Path, Any]) -> None:
    copy.deepcopy(saved[1]).half().save_pretrained(directory)
    samples = noise(3000)
    found, full = (whisper(d).extract([samples])[0] for d in (directory, saved[0]))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - full).max() < 1e-2


def test_the_decoder_is_not_needed(directory: Path, saved: tuple[Path, Any]) -> None:
    names = [f"decoder.{name}" for name, _ in saved[1].decoder.named_parameters()]
    tiny_models.edit_weights(directory, **{n.replace(".", "__"): None for n in names})
    samples = noise(3000)
    found, full = (whisper(d).extract([samples])[0] for d in (directory, saved[0]))
    assert np.array_equal(found, full)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder__conv1__bias": None}, "lack encoder.conv1.bias"),
        ({"encoder__layers__1__fc1__weight": None}, "lack encoder.layers.1.fc1.weight"),
        ({"encoder__layers__2__fc1__weight": torch.zeros(32, 16)}, "unknown encoder.layers.2"),
        ({"encoder__layer_norm__bias": torch.zeros(17)}, "wrong shape for encoder.layer_norm"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    directory: Path, change: dict[str, Any], message: str
) -> None:
    tiny_models.edit_weights(directory, **change)
    with pytest.raises(UserError, match=message):
        whisper(directory)


def test_cut_weights_are_refused(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        whisper(directory)


def test_pickled_weights_load_but_cannot_run_code(
    directory: Path, saved: tuple[Path, Any], tmp_path: Path
) -> None:
    (directory / "model.safetensors").unlink()
    torch.save(saved[1].state_dict(), directory / "pytorch_model.bin")
    samples = noise(3000)
    found, full = (whisper(d).extract([samples])[0] for d in (directory, saved[0]))
    assert np.array_equal(found, full)
    (directory / "pytorch_model.bin").write_bytes(
        pickle.dumps(Payload(open, str(tmp_path / "ran"), "w"), 2)
    )
    with pytest.raises(UserError, match="a pickle that is cut or holds more than tensors"):
        whisper(directory)
    torch.save(
        {"encoder.conv1.bias": Payload(open, str(tmp_path / "ran"), "w")},
        directory / "pytorch_model.bin",
    )
    with pytest.raises(UserError, match="a pickle that is cut or holds more than tensors"):
        whisper(directory)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_a_whisper_model_is_refused(directory: Path) -> None:
    with pytest.raises(UserError, match="name one with --audio_model"):
        build(Choice("audio", "whisper"))
    with pytest.raises(UserError, match=r"--audio_layer 3: the layers of .* are 0 to 2"):
        whisper(directory, 3)
    with pytest.raises(UserError, match="no such model directory"):
        whisper(directory / "nowhere")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "wav2vec2"}))
    with pytest.raises(UserError, match="of the type wav2vec2, not whisper"):
        whisper(directory)
    (directory / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        whisper(directory)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        model_digest(Choice("audio", "whisper", str(directory)))


def test_the_models_digest_changes_with_weights_and_settings(directory: Path) -> None:
    first = model_digest(Choice("audio", "whisper", str(directory)))
    tiny_models.edit_weights(directory, encoder__conv1__bias=torch.ones(16))
    second = model_digest(Choice("audio", "whisper", str(directory)))
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    settings["dither"] = 0.5
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    assert len({first, second, model_digest(Choice("audio", "whisper", str(directory)))}) == 3


def test_a_hub_model_is_taken_from_the_cache_when_offline(
    saved: tuple[Path, Any], tmp_path: Path
) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(saved[0], repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    program = (
        "from cfia.errors import UserError\n"
        "from cfia.upstream.choice import Choice\n"
        "from cfia.upstream.registry import find\n"
        "found = find(Choice('audio', 'whisper', 'someone/tiny'))\n"
        "print(found.model, found.revision, found.weights_digest())\n"
        "try: find(Choice('audio', 'whisper', 'someone/else'))\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == f"someone/tiny {revision} {sha256(saved[0] / 'model.safetensors')}"
    assert second.startswith("the Hugging Face hub cannot be reached")
    assert "has not all of someone/else" in second
