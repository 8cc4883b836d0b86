"""Systems to compare with CFIA-Net."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from cfia.config import ModelConfig
from cfia.model.encoder import Sequences, encoders
from cfia.model.network import Classifier, Output


class Concatenation(nn.Module):
    """`cat(mean X_a, mean X_t) -> Linear`: the encoders of CFIA-Net without any interaction.

    Each mean is over the modality's own length, so no alignment is needed; with one modality it
    is a plain Bi-GRU classifier.
    """

    def __init__(
        self,
        dims: dict[str, int],
        n_classes: int,
        config: ModelConfig,
        layers: Mapping[str, int] | None = None,
    ):
        super().__init__()
        self.masked = config.mask == "full"
        self.encoders = encoders(dims, config, layers)
        size = len(dims) * config.channels * config.features
        self.classifier = Classifier(size, n_classes, config)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Features of each modality used to logits."""
        means = []
        for name, encoder in self.encoders.items():
            y = encoder(batch[name])  # (B, T, C*F)
            lengths = batch[name].lengths.to(y)[:, None] if self.masked else y.shape[1]
            means.append(y.sum(dim=1) / lengths)
        pooled = torch.cat(means, dim=1)
        return Output(self.classifier(pooled), pooled.new_zeros(0))
