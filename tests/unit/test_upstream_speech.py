"""wav2vec 2.0, HuBERT and WavLM: batches, layers, long audio; and checkpoints that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.files import sha256
from cfia.upstream import build, relative_attention, speech
from cfia.upstream.choice import ALL, Choice
from cfia.upstream.registry import FAMILIES, Family
from tests.support import tiny_models

NAMES = ("wav2vec2", "hubert", "wavlm")
KINDS = [(name, norm) for name in NAMES for norm in ("group", "layer")]
Saved = dict[tuple[str, str], tuple[Path, Any]]


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    root = tmp_path_factory.mktemp("tiny speech ü")
    return {
        (name, norm): (root / f"{name} {norm}", save(name, root / f"{name} {norm}", norm))
        for name, norm in KINDS
    }


def save(name: str, directory: Path, norm: str = "group", head: str = "") -> Any:
    return getattr(tiny_models, f"save_{name}")(directory, norm, head=head)


@pytest.fixture
def directory(saved: Saved, tmp_path: Path) -> Path:
    """A copy of the wav2vec 2.0 that a test may spoil."""
    return Path(shutil.copytree(saved["wav2vec2", "group"][0], tmp_path / "model"))


def encoder(name: str, directory: Path, layer: int | str | None = None) -> Any:
    return build(Choice("audio", name, str(directory), layer))


def states(model: Any, directory: Path, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """transformers' own: one waveform through its own feature extractor and the whole model."""
    from transformers import Wav2Vec2FeatureExtractor

    prepare = Wav2Vec2FeatureExtractor.from_pretrained(directory)
    inputs = prepare(samples, sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        output = model(inputs, output_hidden_states=True)
    return [s[0].numpy() for s in (*output.hidden_states[:-1], output.last_hidden_state)]


@pytest.mark.parametrize(("name", "norm"), KINDS)
def test_a_batch_is_transformers_one_by_one_on_every_frame(
    saved: Saved, name: str, norm: str
) -> None:
    directory, model = saved[name, norm]
    random = np.random.default_rng(1).integers(400, 100_000, size=4)
    items = [noise(n, seed) for seed, n in enumerate((9600, 544_000, 400, 719, 720, *random))]
    expected = [states(model, directory, item) for item in items]
    for i, item in enumerate(expected):
        assert len(item[0]) == (len(items[i]) - 400) // 320 + 1
    found = encoder(name, directory, ALL).extract(items)
    for matrix, wanted in zip(found, expected, strict=True):
        assert matrix.dtype == np.float32
        assert np.abs(matrix - np.concatenate(wanted, axis=1)).max() < 1e-4
    for layer in (0, 2, 3, None):
        found = encoder(name, directory, layer).extract([items[0], *items[2:]])
        for matrix, wanted in zip(found, [expected[0], *expected[2:]], strict=True):
            assert np.abs(matrix - wanted[3 if layer is None else layer]).max() < 1e-4


@pytest.mark.parametrize(("name", "norm"), KINDS)
def test_long_audio_in_pieces_is_the_same(
    saved: Saved, name: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, model = saved[name, norm]
    monkeypatch.setattr(speech, "PIECE", 7)  # frames of the convolutions
    monkeypatch.setattr(relative_attention, "CHUNK", 2 * 2 * 30 * 4)  # queries of WavLM
    items = [noise(n) + 0.3 for n in (9600, 400 + 320 * 6, 400 + 320 * 7, 400 + 320 * 13 + 319)]
    for item, matrix in zip(items, encoder(name, directory).extract(items), strict=True):
        assert np.abs(matrix - states(model, directory, item)[-1]).max() < 1e-4


def test_wavlms_far_frames_share_a_bias_as_in_transformers(saved: Saved) -> None:
    directory, model = saved["wavlm", "group"]
    model.encoder.layers[0].attention.rel_attn_embed.weight.data.mul_(30)
    try:
        model.save_pretrained(directory.parent / "far")
        shutil.copy(directory / "preprocessor_config.json", directory.parent / "far")
        items = [noise(320 * 1200), noise(320 * 300)]  # distances over the 800 of the buckets
        for item, matrix in zip(
            items, encoder("wavlm", directory.parent / "far").extract(items), strict=True
        ):
            wanted = states(model, directory, item)[-1]
            assert np.abs(matrix - wanted).max() < 1e-4
            assert np.abs(encoder("wavlm", directory).extract([item])[0] - wanted).max() > 1e-2
    finally:
        model.encoder.layers[0].attention.rel_attn_embed.weight.data.div_(30)


def test_another_encoder_of_the_family_is_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data2vec, with several convolutions for the positions, as one entry says it is."""
    from transformers import Data2VecAudioConfig, Data2VecAudioModel, Wav2Vec2FeatureExtractor

    own = Family("audio", "cfia.upstream.speech", model_class="Data2VecAudioModel")
    monkeypatch.setitem(FAMILIES, "data2vec-audio", own)
    torch.manual_seed(0)
    config = Data2VecAudioConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        conv_dim=[8] * 7, num_conv_pos_embeddings=2, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = Data2VecAudioModel(config).eval()
    model.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    items = [noise(n, n) for n in (9600, 4000, 400)]
    for layer in (None, 2):
        found = encoder("data2vec-audio", tmp_path, layer).extract(items)
        for item, matrix in zip(items, found, strict=True):
            wanted = states(model, tmp_path, item)[3 if layer is None else layer]
            assert np.abs(matrix - wanted).max() < 1e-4


def test_batch_norm_before_the_positions_is_run_one_by_one(tmp_path: Path) -> None:
    from transformers import HubertConfig, HubertModel

    save("hubert", tmp_path / "plain")
    config = HubertConfig.from_pretrained(tmp_path / "plain", conv_pos_batch_norm=True)
    model = HubertModel(config).eval()
    model.encoder.pos_conv_embed.batch_norm.running_mean += 0.5
    model.save_pretrained(tmp_path / "plain")
    items = [noise(9600), noise(5000)]
    for item, matrix in zip(
        items, encoder("hubert", tmp_path / "plain").extract(items), strict=True
    ):
        assert np.abs(matrix - states(model, tmp_path / "plain", item)[-1]).max() < 1e-4


def test_waveforms_are_normalised_where_the_model_says_so(saved: Saved, directory: Path) -> None:
    settings = json.loads((directory / "preprocessor_config.json").read_text())
    assert settings["do_normalize"] is False
    settings["do_normalize"] = True
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    batch = [noise(5000), 3 * noise(9000, 1) + 0.2]
    normal = [(x - x.mean()) / np.sqrt(x.var() + 1e-7) for x in batch]
    found = encoder("wav2vec2", directory).extract(batch)
    wanted = encoder("wav2vec2", saved["wav2vec2", "group"][0]).extract(normal)
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other).max() < 1e-4
    (directory / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"no usable preprocessor_config\.json, which says whether"):
        encoder("wav2vec2", directory)


def test_description_of_a_layer_and_of_all(saved: Saved) -> None:
    directory = saved["hubert", "group"][0]
    one = encoder("hubert", directory, 1)
    assert one.shortest == 400
    assert one.description.values() == {
        "kind": "audio",
        "name": "hubert",
        "model": str(directory),
        "revision": None,
        "layer": 1,
        "dim": 16,
        "frame_shift": 0.02,
        "sample_rate": 16000,
        "weights": sha256(directory / "model.safetensors"),
        "layers": 1,
    }
    every = encoder("hubert", directory, ALL).description.values()
    assert every == one.description.values() | {"layer": "all", "dim": 64, "layers": 4}


@pytest.mark.parametrize(
    ("name", "head"),
    [("wav2vec2", "PreTraining"), ("wav2vec2", "CTC"), ("hubert", "CTC"), ("wavlm", "CTC")],
)
def test_heads_may_be_left_over(tmp_path: Path, name: str, head: str) -> None:
    model = save(name, tmp_path, "layer", head)
    (found,) = encoder(name, tmp_path).extract([noise(4000)])
    assert np.abs(found - states(model, tmp_path, noise(4000))[-1]).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_both_names_of_the_weight_norm_are_read(saved: Saved, tmp_path: Path, name: str) -> None:
    """Files of before and after torch 2.0; the mask of pretraining may be missing."""
    from safetensors.torch import load_file, save_file

    (wanted,) = encoder(name, saved[name, "group"][0]).extract([noise(4000)])
    old, new = (
        ("weight_g", "weight_v"),
        tuple(f"parametrizations.weight.original{i}" for i in "01"),
    )
    for i, (source, target) in enumerate(((new, old), (old, new))):
        directory = Path(shutil.copytree(saved[name, "group"][0], tmp_path / str(i)))
        weights = load_file(directory / "model.safetensors")
        for before, after in zip(source, target, strict=True):
            prefix = "encoder.pos_conv_embed.conv."
            if prefix + before in weights:
                weights[prefix + after] = weights.pop(prefix + before)
        del weights["masked_spec_embed"]
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        assert prefix + target[0] in weights
        assert np.array_equal(encoder(name, directory).extract([noise(4000)])[0], wanted)
        del weights[prefix + target[1]]
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=r"lack encoder\.pos_conv_embed\.conv\."):
            encoder(name, directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_projection__projection__bias": None}, "lack feature_projection.projection"),
        (
            {"feature_extractor__conv_layers__7__conv__weight": torch.zeros(8)},
            "unknown feature_ext",
        ),
        ({"encoder__layer_norm__bias": torch.zeros(17)}, "wrong shape for encoder.layer_norm"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    directory: Path, change: dict[str, Any], message: str
) -> None:
    tiny_models.edit_weights(directory, **change)
    with pytest.raises(UserError, match=message):
        encoder("wav2vec2", directory)


def test_what_is_not_asked_for_is_refused(saved: Saved) -> None:
    directory = saved["hubert", "group"][0]
    with pytest.raises(UserError, match=r"of the type hubert, not wavlm; give a wavlm model"):
        encoder("wavlm", directory)
    with pytest.raises(UserError, match=r"--audio_layer 4: the layers of .* are 0 to 3, or all"):
        encoder("hubert", directory, 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_that_is_not_there_is_an_error(
    saved: Saved, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cuda was asked for, but torch sees no GPU here"):
        build(Choice("audio", name, str(saved[name, "group"][0])), device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "norm"), KINDS)
def test_a_gpu_gives_the_same(saved: Saved, name: str, norm: str) -> None:
    choice = Choice("audio", name, str(saved[name, norm][0]), ALL)
    items = [noise(9600), noise(50_000), noise(400)]
    found = build(choice, device="cuda").extract(items)
    for one, other in zip(found, build(choice).extract(items), strict=True):
        assert np.abs(one - other).max() < 1e-3
