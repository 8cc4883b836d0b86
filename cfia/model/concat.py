"""Concatenation: the encoders of CFIA-Net without any interaction."""

from __future__ import annotations

import torch

from cfia.model.encoder import Layers, Sequences, encoders
from cfia.model.network import Classifier, Output
from cfia.model.pooling import time_means
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig


class Concatenation(Network):
    """`cat(mean X_a, mean X_t) -> Linear`; with one modality, a plain Bi-GRU classifier."""

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        self.masked = config.mask == "full"
        self.encoders = encoders(dims, config, layers)
        size = len(dims) * config.channels * config.features
        self.classifier = Classifier(size, n_classes, config)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of each modality in use to logits."""
        pooled = torch.cat(list(time_means(self.encoders, batch, self.masked).values()), dim=1)
        return Output(self.classifier(pooled), pooled.new_zeros(0))
