"""The parameters of emotion2vec: which there are, and of what shape.

They are those of funasr's model class, as `tests/unit/test_upstream_emotion2vec.py` compares. The
class itself is not asked: with it funasr imports all its models, which takes as long as to encode
minutes of speech.
"""

from __future__ import annotations

from typing import Any

from cfia.upstream.emotion2vec_files import AUDIO
from cfia.upstream.frames import Convolutions

Shapes = dict[str, tuple[int, ...]]


def shapes(conf: dict[str, Any], spec: Convolutions) -> Shapes:
    """Map names to shapes, without those of the decoder, which is for the pretraining alone.

    Args:
        conf: `model_conf` of config.yaml, checked by `emotion2vec.check`.
        spec: the layers of the convolutional front, (channels, kernel, stride) each.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: a size is missing, or cannot be one.
    """
    audio, dim, heads = conf["modalities"]["audio"], int(conf["embed_dim"]), int(conf["num_heads"])
    found = _front(spec, dim) | _positions(audio, dim)
    found |= _affine(f"{AUDIO}.context_encoder.norm", dim)
    _share(dim, heads, "num_heads")
    for name in blocks(conf):
        found |= _block(name, dim, int(dim * float(conf["mlp_ratio"])))
    if audio["num_extra_tokens"] > 0:
        found[f"{AUDIO}.extra_tokens"] = (1, int(audio["num_extra_tokens"]), dim)
    if audio["use_alibi_encoder"]:
        scales = heads if audio["learned_alibi_scale_per_head"] else 1
        found[f"{AUDIO}.alibi_scale"] = (1, 1, scales, 1, 1)
    return found


def blocks(conf: dict[str, Any]) -> list[str]:
    """List the names of the transformer's blocks, in their order."""
    prenet = range(conf["modalities"]["audio"]["prenet_depth"])
    first = [f"{AUDIO}.context_encoder.blocks.{i}" for i in prenet]
    return [*first, *(f"blocks.{i}" for i in range(conf["depth"]))]


def _affine(name: str, *shape: int) -> Shapes:
    """Name the weight and bias of a linear layer or convolution (out, in, ...), or a norm (dim)."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _front(spec: Convolutions, dim: int) -> Shapes:
    found: Shapes = {}
    channels = 1
    for i, (out, kernel, _) in enumerate(spec):
        name = f"{AUDIO}.local_encoder.conv_layers.{i}"
        found |= {f"{name}.0.weight": (out, channels, kernel)} | _affine(f"{name}.2.1", out)
        channels = out
    project = f"{AUDIO}.project_features"
    return found | _affine(f"{project}.1", channels) | _affine(f"{project}.2", dim, channels)


def _positions(audio: dict[str, Any], dim: int) -> Shapes:
    depth = int(audio["conv_pos_depth"])
    kernel = max(3, int(audio["conv_pos_width"]) // depth)
    inputs = _share(dim, int(audio["conv_pos_groups"]), "conv_pos_groups")
    found: Shapes = {}
    for i in range(1, depth + 1):
        found |= _affine(f"{AUDIO}.relative_positional_encoder.{i}.0", dim, inputs, kernel)
    return found


def _block(name: str, dim: int, hidden: int) -> Shapes:
    return (
        _affine(f"{name}.norm1", dim)
        | _affine(f"{name}.attn.qkv", 3 * dim, dim)
        | _affine(f"{name}.attn.proj", dim, dim)
        | _affine(f"{name}.norm2", dim)
        | _affine(f"{name}.mlp.fc1", hidden, dim)
        | _affine(f"{name}.mlp.fc2", dim, hidden)
    )


def _share(dim: int, parts: int, key: str) -> int:
    if parts < 1 or dim % parts:
        raise ValueError(f"embed_dim {dim} is no multiple of {key} {parts}")
    return dim // parts
