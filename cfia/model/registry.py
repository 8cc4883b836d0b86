"""The networks by the name that `network:` gives them in a configuration."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from cfia.config import ModelConfig
from cfia.model.baselines import Concatenation
from cfia.model.network import CFIANet

NETWORKS: dict[str, type[CFIANet] | type[Concatenation]] = {
    "cfia": CFIANet,
    "concat": Concatenation,
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
    return NETWORKS[config.network](dims, n_classes, config, layers)
