"""The networks by the name that `network:` gives them in a configuration.

Standard library alone until one is built: a configuration is checked before torch is there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from cfia.config import ModelConfig

# A new network is one line here (README, "A new system").
NETWORKS = {
    "cfia": "cfia.model.network.CFIANet",
    "concat": "cfia.model.concat.Concatenation",
    "linear": "cfia.model.linear.LinearHead",
    "one_share": "cfia.model.share.OneShare",
    "share_per_f": "cfia.model.share.SharePerFeature",
    "late_fusion": "cfia.model.late_fusion.LateFusion",
}


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
