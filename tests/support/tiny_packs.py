"""Packs of small networks with random weights, so that no test has to train for one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

import cfia
from cfia.config import build
from cfia.files import sha256
from cfia.inference.encoders import PackedEncoder
from cfia.inference.pack_file import PackFile
from cfia.model import registry as networks
from cfia.upstream import registry
from cfia.upstream.choice import Choice
from tests.support import tiny_models

CLASSES = ("ang", "hap", "neu", "sad")
OPTIONS = {"hidden": 4, "channels": 4, "features": 3, "frame_rate": 25, "max_frames": 100}
FBANK = Choice("audio", "fbank")
RATE = 16000  # of the noise that they judge, in Hz


def bert(directory: Path) -> Choice:
    """A text encoder with files of its own in a directory."""
    tiny_models.save_bert(directory)
    return Choice("text", "bert", str(directory))


def write(
    directory: Path, *choices: Choice, seed: int = 0, options: Mapping[str, Any] = OPTIONS
) -> Path:
    """Write a pack of one CFIA-Net on these encoders; by default max_frames are four seconds."""
    directory.mkdir(parents=True)
    encoders, dims, layers = {}, {}, {}
    for choice in choices:
        files = registry.find(choice)
        description = registry.build(choice, 1, "cpu", files).description
        digest = registry.model_digest(choice, files)
        encoders[choice.modality] = PackedEncoder(choice, description, digest)
        dims[choice.modality] = description.dim
        layers[choice.modality] = description.layers
    config = build(dict(options)).model
    torch.manual_seed(seed)
    network = networks.build(dims, len(CLASSES), config, layers)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    weights = "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), directory / weights)
    PackFile(
        cfia=cfia.__version__,
        versions={},
        dims=dims,
        n_classes=len(CLASSES),
        config=config,
        layers=layers,
        classes=CLASSES,
        encoders=encoders,
        num_threads=1,
        text_tags="strip",
        system="cfia_net_" + "_".join(choice.name for choice in choices),
        scheme="session",
        corpus="toy",
        protocol={},
        trained_on={},
        weights={weights: sha256(directory / weights)},
    ).write(directory)
    return directory


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise whose spectrum and loudness depend on the seed."""
    rng = np.random.default_rng(seed)
    samples = np.cumsum(rng.normal(size=(round(seconds * rate), channels)), axis=0)
    samples -= samples.mean(axis=0)
    scaled: np.ndarray = (0.05 + 0.9 * rng.random()) * samples / np.abs(samples).max()
    return scaled
