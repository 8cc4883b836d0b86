"""emotion2vec: every frame as funasr's own, in batches too; checkpoints that do not fit."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.files import sha256
from cfia.upstream import build, emotion2vec_batch
from cfia.upstream.choice import Choice
from cfia.upstream.emotion2vec import check
from cfia.upstream.emotion2vec_files import Files
from cfia.upstream.emotion2vec_shapes import shapes
from cfia.upstream.registry import model_digest
from tests.support import dump_data, tiny_emotion2vec
from tests.support.payload import Payload

ENCODER = "modality_encoders__AUDIO__"


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells, off zero, so that the normalisation of the waveform shows."""
    rng = np.random.default_rng(seed)
    return (0.02 + np.linspace(0.01, 0.2, n) * rng.normal(size=n)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_emotion2vec.save(tmp_path_factory.mktemp("my models ü") / "tiny_emotion2vec")


@pytest.fixture(scope="module")
def reference(saved: Path) -> Any:
    return tiny_emotion2vec.reference(saved)


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def emotion2vec(directory: Path, device: str = "cpu") -> Any:
    return build(Choice("audio", "emotion2vec", str(directory)), device=device)


def difference(found: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]]) -> float:
    assert [m.shape for m in found] == [m.shape for m in wanted]
    return max(float(np.abs(f - w).max()) for f, w in zip(found, wanted, strict=True))


def test_a_batch_is_as_funasr_one_by_one(saved: Path, reference: Any) -> None:
    rng = np.random.default_rng(5)
    lengths = [9600, 544000, 400, 719, 720, *rng.integers(9600, 200000, size=6)]
    waves = [noise(int(n), seed) for seed, n in enumerate(lengths)]
    found = emotion2vec(saved).extract(waves)
    assert [len(m) for m in found] == [(n - 400) // 320 + 1 for n in lengths]
    assert all(m.dtype == np.float32 and m.flags.owndata for m in found)
    wanted = tiny_emotion2vec.generate(reference, waves)
    assert np.std(np.concatenate(wanted), axis=0).min() > 0.05, "the frames are all alike"
    assert difference(found, wanted) < 1e-4


def test_grouping_changes_nothing(saved: Path) -> None:
    upstream = emotion2vec(saved)
    waves = [noise(n, n) for n in (9600, 80000, 16000, 400)]
    alone = [upstream.extract([wave])[0] for wave in waves]
    assert difference(upstream.extract(waves), alone) < 1e-5
    assert difference(upstream.extract(waves[::-1])[::-1], alone) < 1e-5


def test_long_audio_in_blocks_is_the_same(
    saved: Path, reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [noise(n, n) for n in (200000, 16000)]
    monkeypatch.setattr(emotion2vec_batch, "PIECE", 7)
    monkeypatch.setattr(emotion2vec_batch, "ROWS", 100)
    # Six queries at once of the 634 rows: the first ones are among the ten extra tokens.
    monkeypatch.setattr(emotion2vec_batch, "BIAS", 3 * 634 * 6)
    found = emotion2vec(saved).extract(waves)
    assert difference(found, tiny_emotion2vec.generate(reference, waves)) < 1e-4


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("model", "normalize", False),
        ("model", "norm_eps", 0.01),
        ("audio", "num_extra_tokens", 0),
        ("audio", "use_alibi_encoder", False),
        ("audio", "learned_alibi_scale_per_head", False),
        ("audio", "conv_pos_width", 20),  # kernels of 4, an even number
        ("audio", "decoder", None),
    ],
)
def test_other_settings_are_followed(tmp_path: Path, part: str, key: str, value: Any) -> None:
    settings = tiny_emotion2vec.config()
    conf = settings["model_conf"]
    (conf if part == "model" else conf["modalities"]["audio"])[key] = value
    directory = tiny_emotion2vec.save(tmp_path / "model", settings)
    waves = [noise(n, n) for n in (30000, 9600)]
    wanted = tiny_emotion2vec.generate(tiny_emotion2vec.reference(directory), waves)
    assert difference(emotion2vec(directory).extract(waves), wanted) < 1e-4


@settings(max_examples=20)
@given(
    sizes=st.fixed_dictionaries(
        {"dim": st.just(12), "channels": st.integers(1, 5), "heads": st.integers(1, 4),
         "prenet": st.integers(0, 3), "depth": st.integers(0, 3), "groups": st.integers(1, 4)}
    ),
    ratio=st.sampled_from([0.3, 1, 4.0]),
    audio=st.fixed_dictionaries(
        {"conv_pos_width": st.integers(1, 99), "conv_pos_depth": st.integers(1, 6),
         "num_extra_tokens": st.integers(0, 3), "use_alibi_encoder": st.booleans(),
         "learned_alibi_scale_per_head": st.booleans()}
    ),
)  # fmt: skip
def test_parameters_are_those_of_funasrs_class(
    sizes: dict[str, int], ratio: float, audio: dict[str, Any]
) -> None:
    config = tiny_emotion2vec.config(**sizes)
    conf = config["model_conf"]
    conf["mlp_ratio"] = ratio
    conf["modalities"]["audio"].update(audio, decoder=None)
    with torch.device("meta"):
        theirs = tiny_emotion2vec.network(conf).state_dict()
    assert shapes(conf, spec_of(config)) == {k: tuple(v.shape) for k, v in theirs.items()}


def test_a_stand_in_has_the_weights_of_funasrs_class(saved: Path) -> None:
    with torch.device("meta"):
        theirs = tiny_emotion2vec.network(tiny_emotion2vec.config()["model_conf"]).state_dict()
    weights = torch.load(saved / "model.pt", weights_only=True)["model"]
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in theirs.items()}


def spec_of(config: dict[str, Any]) -> list[list[int]]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "config.yaml").write_text(yaml.safe_dump(config))
        return check(Choice("audio", "emotion2vec"), Files(name, Path(name), None))


def test_description_holds_the_digest_of_the_weights(saved: Path) -> None:
    upstream = emotion2vec(saved)
    assert upstream.shortest == 400
    assert upstream.description.values() == {
        "kind": "audio",
        "name": "emotion2vec",
        "model": str(saved),
        "revision": None,
        "layer": None,
        "dim": 24,
        "frame_shift": 0.02,
        "sample_rate": 16000,
        "weights": sha256(saved / "model.pt"),
        "layers": 1,
    }


def test_a_dump_is_as_funasr_one_by_one(saved: Path, reference: Any, tmp_path: Path) -> None:
    waves = {u: noise(9600 + 3001 * i, i) for i, u in enumerate(dump_data.UTTERANCES)}
    data = dump_data.write_data(tmp_path / "data", waves)
    jobs = dump_data.plan(tmp_path / "dump", data, f"--model={saved}", upstream="emotion2vec", nj=2)
    dump_data.run_dump(tmp_path / "dump", data, jobs)
    found = dump_data.features(tmp_path / "dump")
    assert found.keys() == waves.keys()
    for utterance in waves:
        wave, _ = soundfile.read(data / "wav ü" / f"{utterance}.wav", dtype="float32")
        (wanted,) = tiny_emotion2vec.generate(reference, [wave])
        assert np.abs(found[utterance] - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks__1__mlp__fc1__bias": None}, "lack blocks.1.mlp.fc1.bias, so"),
        ({f"{ENCODER}extra_tokens": None}, "lack modality_encoders.AUDIO.extra_tokens"),
        ({"blocks__2__norm1__bias": torch.zeros(24)}, "have the unknown blocks.2.norm1.bias"),
        (
            {"blocks__0__attn__qkv__weight": torch.zeros(24, 24)},
            "have the wrong shape for blocks.0.attn.qkv.weight",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    directory: Path, change: dict[str, Any], message: str
) -> None:
    tiny_emotion2vec.edit(directory, **change)
    with pytest.raises(UserError, match=message):
        emotion2vec(directory)


def test_the_decoder_is_not_needed(directory: Path, saved: Path) -> None:
    state = torch.load(directory / "model.pt", weights_only=True)["model"]
    names = [key for key in state if ".decoder." in key]
    assert names
    tiny_emotion2vec.edit(directory, **{n.replace(".", "__"): None for n in names})
    waves = [noise(3000)]
    assert difference(emotion2vec(directory).extract(waves), emotion2vec(saved).extract(waves)) == 0


def test_bad_files_are_refused_and_run_no_code(directory: Path, tmp_path: Path) -> None:
    path = directory / "model.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(UserError, match=r"not a whole file of torch\.save"):
        emotion2vec(directory)
    torch.save({"model": {"a": Payload(open, str(tmp_path / "ran"), "w")}}, path)
    with pytest.raises(UserError, match="holds no model's weights"):
        emotion2vec(directory)
    path.write_bytes(pickle.dumps(Payload(open, str(tmp_path / "ran"), "w"), 2))
    with pytest.raises(UserError, match=r"not a whole file of torch\.save"):
        emotion2vec(directory)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="holds no model's weights"):
        emotion2vec(directory)
    assert not (tmp_path / "ran").exists()


def test_a_configuration_runs_no_code(directory: Path, tmp_path: Path) -> None:
    config = tiny_emotion2vec.config()
    audio = config["model_conf"]["modalities"]["audio"]
    audio["feature_encoder_spec"] = f"[(8, 10, 5)] + [open({str(tmp_path / 'ran')!r}, 'w')]"
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="feature_encoder_spec"):
        emotion2vec(directory)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_an_emotion2vec_model_is_refused(directory: Path) -> None:
    with pytest.raises(UserError, match="emotion2vec has no layers to choose from"):
        build(Choice("audio", "emotion2vec", str(directory), 3))
    config = tiny_emotion2vec.config()
    for change, message in (
        ({"model": "Paraformer"}, "of the model Paraformer, not Emotion2vec"),
        ({"model_conf": config["model_conf"] | {"layer_norm_first": True}}, "layer_norm_first"),
        ({"model_conf": config["model_conf"] | {"embed_dim": "x"}}, "cannot be loaded"),
        ({"model_conf": config["model_conf"] | {"embed_dim": 25}}, "25 is no multiple of conv_pos"),
        ({"model_conf": config["model_conf"] | {"depth": None}}, "cannot be loaded"),
        ({"model_conf": config["model_conf"] | {"modalities": {}}}, "modalities.audio"),
    ):
        (directory / "config.yaml").write_text(yaml.safe_dump(config | copy.deepcopy(change)))
        with pytest.raises(UserError, match=message):
            emotion2vec(directory)
    (directory / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"has no config\.yaml; give a model directory with"):
        model_digest(Choice("audio", "emotion2vec", str(directory)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(saved: Path) -> None:
    with pytest.raises(UserError, match="torch sees no GPU"):
        emotion2vec(saved, device="cuda")


@pytest.mark.gpu
def test_a_gpu_gives_the_same(saved: Path) -> None:
    waves = [noise(n, n) for n in (9600, 80000)]
    cpu, gpu = (emotion2vec(saved, device).extract(waves) for device in ("cpu", "cuda"))
    assert difference(gpu, cpu) < 1e-3


def test_the_models_digest_changes_with_weights_and_settings(directory: Path) -> None:
    choice = Choice("audio", "emotion2vec", str(directory))
    first = model_digest(choice)
    tiny_emotion2vec.edit(directory, blocks__0__norm1__bias=torch.ones(24))
    second = model_digest(choice)
    with (directory / "config.yaml").open("a") as handle:
        handle.write("# as before\n")
    assert len({first, second, model_digest(choice)}) == 3


def test_nothing_is_printed_and_no_hub_is_asked(saved: Path, tmp_path: Path) -> None:
    """In a process of its own: caches of both hubs, and no way out."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hf" / "models--someone--tiny"
    shutil.copytree(saved, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    shutil.copytree(saved, tmp_path / "ms" / "models" / "someone" / "other")
    program = (
        "import logging, socket, sys\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "def refuse(*_): raise OSError('no network in this test')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from cfia.upstream import build\n"
        "from cfia.upstream.choice import Choice\n"
        "for model, hub in ('someone/tiny', 'hf'), ('someone/other', 'ms'):\n"
        "    found = build(Choice('audio', 'emotion2vec', model, hub=hub)).description\n"
        "    print(found.model, found.revision)\n"
        "assert 'funasr' not in sys.modules\n"  # which takes ten seconds
    )
    environment = {"HF_HUB_CACHE": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, "MODELSCOPE_CACHE": str(tmp_path / "ms")},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"someone/tiny {revision}", "someone/other None"]
    assert done.stderr == ""
