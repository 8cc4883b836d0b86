"""The linear head: what emotion2vec's authors put on frozen features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cfia.config import ModelConfig
from cfia.model.encoder import LayerSum, Normaliser, Sequences
from cfia.model.network import Classifier, Output
from cfia.model.pooling import time_means


class FrameLayer(nn.Module):
    """`ReLU(Linear(D -> hidden))` of each frame, behind the same input as CFIA-Net's encoder.

    Args:
        dim: the width of a frame.
        layers: how many layers of a frozen encoder stand side by side in it, to be summed with
            learnt weights.
    """

    def __init__(self, dim: int, config: ModelConfig, layers: int):
        super().__init__()
        self.normaliser = Normaliser(dim, config.normalisation)
        self.layer_sum = LayerSum(layers) if layers > 1 else nn.Identity()
        self.linear = nn.Linear(dim // layers, config.hidden)

    def forward(self, x: Sequences) -> Tensor:
        """(B, T, D) to (B, T, hidden), exactly 0 beyond each length."""
        hidden: Tensor = self.linear(self.layer_sum(self.normaliser(x)))
        return hidden.relu() * x.valid().unsqueeze(2)


class LinearHead(nn.Module):
    """Linear, ReLU, mean over an utterance's own frames, Linear -> classes.

    Source: Ma et al., "emotion2vec", and its published code, iemocap_downstream/model.py, where
    the hidden width is 256. Nothing mixes frames, so padding never counts, whatever `mask` says.
    With two modalities their means stand side by side.
    """

    def __init__(
        self,
        dims: dict[str, int],
        n_classes: int,
        config: ModelConfig,
        layers: Mapping[str, int] | None = None,
    ):
        super().__init__()
        layers = layers or {}
        self.encoders = nn.ModuleDict(
            {name: FrameLayer(dim, config, layers.get(name, 1)) for name, dim in dims.items()}
        )
        self.classifier = Classifier(len(dims) * config.hidden, n_classes, config)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Features of each modality used to logits."""
        pooled = torch.cat(list(time_means(self.encoders, batch, masked=True).values()), dim=1)
        return Output(self.classifier(pooled), pooled.new_zeros(0))
