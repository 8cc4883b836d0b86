"""Build the network that a configuration names."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

from cfia.networks import NETWORKS, ModelConfig

if TYPE_CHECKING:
    from torch import nn

    from cfia.model.encoder import Layers


def build(
    dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
) -> nn.Module:
    """Build the network that `config.network` names, with freshly drawn weights.

    Args:
        dims: the width of the features of each modality in use, in the order "audio", "text".
    """
    return _class(config)(dims, n_classes, config, layers)


def about(config: ModelConfig) -> str:
    """Say what the network is, where it is from and what was inferred: its docstring, in a line."""
    told, _, _ = (inspect.getdoc(_class(config)) or "").partition("\nArgs:")
    return " ".join(told.split())


def _class(config: ModelConfig) -> type[nn.Module]:
    module, _, name = NETWORKS[config.network].rpartition(".")
    network: type[nn.Module] = getattr(importlib.import_module(module), name)
    return network


def count_weights(
    dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
) -> int:
    """Count the weights of such a network that training changes, without drawing them."""
    import torch

    with torch.device("meta"):
        network = build(dims, n_classes, config, layers)
    return sum(weight.numel() for weight in network.parameters())
