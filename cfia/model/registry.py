"""Build the network that a configuration names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cfia.config import NETWORKS, ModelConfig

if TYPE_CHECKING:
    from torch import nn


def build(
    dims: dict[str, int],
    n_classes: int,
    config: ModelConfig,
    layers: Mapping[str, int] | None = None,
) -> nn.Module:
    """The network that `config.network` names, with freshly drawn weights.

    Args:
        dims: feature width of each modality used ("audio", "text"), in that order.
        layers: how many layers of a frozen encoder stand side by side in them (default: 1).
    """
    module, _, name = NETWORKS[config.network].rpartition(".")
    network: type[nn.Module] = getattr(importlib.import_module(module), name)
    return network(dims, n_classes, config, layers)
