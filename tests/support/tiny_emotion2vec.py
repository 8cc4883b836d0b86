"""A randomly initialised emotion2vec of a few thousand weights, saved as funasr has its models.

`save` writes config.yaml and model.pt, as the emotion2vec+ models have them; `publish` the files
of emotion2vec/emotion2vec_base on Hugging Face, as its listing and its users describe them.
"""

from __future__ import annotations

import copy
import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The base model's settings, those of its training left out; see `config` for the sizes.
MODEL = {
    "norm_eps": 1.0e-5,
    "norm_affine": True,
    "encoder_dropout": 0.1,
    "post_mlp_drop": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "layerdrop": 0.05,
    "mlp_ratio": 4.0,
    "layer_norm_first": False,
    "end_of_block_targets": False,
    "average_top_k_layers": 8,
    "loss_beta": 0.0,
    "loss_scale": None,
    "normalize": True,
}
AUDIO = {
    "type": "AUDIO",
    "prenet_layerdrop": 0.05,
    "prenet_dropout": 0.1,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "num_extra_tokens": 10,
    "init_extra_token_zero": True,
    "local_grad_mult": 1.0,
    "use_alibi_encoder": True,
    "alibi_scale": 1.0,
    "learned_alibi": False,
    "learned_alibi_scale": True,
    "learned_alibi_scale_per_head": True,
    "learned_alibi_scale_per_layer": False,
    "extractor_mode": "layer_norm",
    "conv_pos_width": 95,
    "conv_pos_depth": 5,
    "conv_pos_pre_ln": False,
}
DECODER = {"decoder_kernel": 7, "input_dropout": 0.1, "decoder_residual": True}
DECODER |= {"add_positions_masked": False, "add_positions_all": False}
DECODER |= {"projection_layers": 1, "projection_ratio": 2.0}


def config(
    dim: int = 24,
    channels: int = 8,
    heads: int = 3,
    prenet: int = 2,
    depth: int = 2,
    groups: int = 4,
) -> dict[str, Any]:
    """The contents of config.yaml. Three heads are no power of 2, as the base model's twelve."""
    c = channels
    spec = f"[({c}, 10, 5)] + [({c}, 3, 2)] * 4 + [({c},2,2)] + [({c},2,2)]"
    audio = AUDIO | {
        "prenet_depth": prenet,
        "model_depth": depth,
        "num_alibi_heads": heads,
        "feature_encoder_spec": spec,
        "conv_pos_groups": groups,
        "decoder": DECODER
        | {"decoder_dim": dim // 2, "decoder_groups": groups, "decoder_layers": 2},
    }
    model = MODEL | {"embed_dim": dim, "num_heads": heads, "depth": depth}
    conf = copy.deepcopy(model | {"modalities": {"audio": audio}})
    return {"model": "Emotion2vec", "model_conf": conf}


def base_config() -> dict[str, Any]:
    """The sizes of emotion2vec_base."""
    return config(dim=768, channels=512, heads=12, prenet=4, depth=8, groups=16)


def network(conf: dict[str, Any]) -> Any:
    """funasr's own model, with random weights."""
    # Its import tells on stdout which optional packages it misses.
    with redirect_stdout(io.StringIO()):
        from funasr.models.emotion2vec.model import Emotion2vec
    return Emotion2vec(model_conf=copy.deepcopy(conf))


def save(directory: Path, settings: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """Save config.yaml and model.pt with random weights; returns the directory.

    They have the names and shapes of `network`, as tests/unit/test_upstream_emotion2vec.py holds
    them to, without the import of funasr, which takes eight seconds.
    """
    import torch
    import yaml

    from cfia.upstream import emotion2vec
    from cfia.upstream.choice import Choice
    from cfia.upstream.emotion2vec_files import Files
    from cfia.upstream.emotion2vec_shapes import shapes

    settings = settings or config()
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    place = Files(str(directory), directory, None)
    spec = emotion2vec.check(Choice("audio", "emotion2vec"), place)
    all_shapes = shapes(settings["model_conf"], spec) | _decoder(settings["model_conf"])
    torch.manual_seed(seed)
    weights = {name: _random(name, shape) for name, shape in all_shapes.items()}
    torch.save({"model": weights}, directory / "model.pt")
    return directory


def _decoder(conf: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Map the names of the pretraining's decoder, which no encoder of ours reads, to shapes."""
    decoder, name = conf["modalities"]["audio"]["decoder"], "modality_encoders.AUDIO.decoder"
    if decoder is None:
        return {}
    dim, width, groups = conf["embed_dim"], decoder["decoder_dim"], decoder["decoder_groups"]
    found = {f"{name}.proj.weight": (dim, width), f"{name}.proj.bias": (dim,)}
    for i in range(decoder["decoder_layers"]):
        inputs = (width if i else dim) // groups
        found[f"{name}.blocks.{i}.0.weight"] = (width, inputs, decoder["decoder_kernel"])
        found[f"{name}.blocks.{i}.0.bias"] = (width,)
    return found


def _random(name: str, shape: tuple[int, ...]) -> Any:
    """Draw what shows if it is left out: no norm is the identity, no bias and no token zero."""
    import torch

    drawn = torch.randn(shape)
    if name.endswith("alibi_scale"):
        return 1 + 0.3 * drawn
    if name.endswith("extra_tokens"):
        return drawn
    if len(shape) > 1:
        return drawn / drawn[0].numel() ** 0.5
    return 0.05 * drawn + (1 if name.endswith("weight") else 0)


def publish(
    directory: Path,
    model: Path,
    *,
    zipped: bool = True,
    extra: Mapping[str, Any] | None = None,
    name: str = "emotion2vec_base.pt",
) -> Path:
    """Save the model of a directory that `save` made as fairseq's training saves a checkpoint.

    The weights are a third of it, the rest Adam's moments. The hub's scan of the real file lists
    `_rebuild_tensor_v2`, OrderedDict, and storages of floats and doubles. `extra` stands besides
    in the options of the training.
    """
    import torch

    weights = torch.load(model / "model.pt", weights_only=True)["model"]
    moments = {
        i: {"step": 1, "exp_avg": torch.rand_like(w), "exp_avg_sq": torch.rand_like(w)}
        for i, w in enumerate(weights.values())
    }
    loss = {"loss": torch.tensor(3.5, dtype=torch.float64)}
    checkpoint = {
        "args": None,
        "cfg": {"common": {"seed": 1, "fp16": True}, **(extra or {})},
        "model": OrderedDict(weights),
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 2}, "metrics": OrderedDict(loss)},
        "last_optimizer_state": {"state": moments, "param_groups": [{"lr": 1e-4}]},
    }
    directory.mkdir(parents=True)
    torch.save(checkpoint, directory / name, _use_new_zipfile_serialization=zipped)
    settings = (model / "config.yaml").read_text(encoding="utf-8")
    # Without a point and a sign it is a text to YAML 1.1.
    changed = settings.replace("norm_eps: 1.0e-05", "norm_eps: 1e-05")
    assert changed != settings
    (directory / "config.yaml").write_text(changed, encoding="utf-8")
    files = {"init_param": name, "config": "config.yaml"}
    configuration = {"framework": "pytorch", "task": "emotion-recognition"}
    (directory / "configuration.json").write_text(
        json.dumps({**configuration, "file_path_metas": files})
    )
    (directory / "README.md").write_text("# emotion2vec\n")
    (directory / "example").mkdir()
    (directory / "example" / "test.wav").write_bytes(b"RIFF")
    return directory


def edit(directory: Path, **changes: Any) -> None:
    """Change model.pt: a tensor replaces a key's, None deletes it. Two underscores are a dot."""
    import torch

    weights = torch.load(directory / "model.pt", weights_only=True)["model"]
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del weights[key]
        else:
            weights[key] = tensor
    torch.save({"model": weights}, directory / "model.pt")


def reference(directory: Path, num_threads: int = 1, device: str = "cpu") -> Any:
    """funasr's own AutoModel, which looks nothing up and draws no bar."""
    with redirect_stdout(io.StringIO()):
        from funasr import AutoModel

        return AutoModel(
            model=str(directory),
            disable_update=True,
            disable_pbar=True,
            device=device,
            ncpu=num_threads,
            log_level="ERROR",
        )


def generate(model: Any, waves: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Frames by funasr's `generate`, one waveform after another."""
    found = []
    for wave in waves:
        (result,) = model.generate(wave, granularity="frame", extract_embedding=True)
        found.append(result["feats"])
    return found
