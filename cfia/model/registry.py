"""The networks by the name that `network:` gives them in a configuration."""

from __future__ import annotations

from torch import nn

from cfia.config import ModelConfig
from cfia.model.baselines import Concatenation
from cfia.model.network import CFIANet

NETWORKS: dict[str, type[CFIANet] | type[Concatenation]] = {
    "cfia": CFIANet,
    "concat": Concatenation,
}


def build(dims: dict[str, int], n_classes: int, config: ModelConfig) -> nn.Module:
    """The network that `config.network` names, with freshly drawn weights.

    Args:
        dims: feature width of each modality used ("audio", "text"), in that order.
    """
    return NETWORKS[config.network](dims, n_classes, config)
