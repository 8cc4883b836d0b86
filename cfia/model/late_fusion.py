"""Late fusion: the product of the unimodal posteriors."""

from __future__ import annotations

import torch
from torch import nn

from cfia.model.encoder import Layers, Sequences, encoders
from cfia.model.network import Classifier, Output
from cfia.model.pooling import time_means
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig


class LateFusion(Network):
    """`p(c) ~ p_a(c) p_t(c)`, each factor from a network that sees one modality.

    Each factor is a `concat` of one modality. They share no weight, and each learns from its own
    cross entropy (`Output.parts`), so that one training on the sum of the two losses trains both
    as two trainings would. Common to them are the order of the batches, the norm that `clip_grad`
    bounds, and the selected epoch: the best of the product.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        self.masked = config.mask == "full"
        self.encoders = encoders(dims, config, layers)
        size = config.channels * config.features
        self.classifiers = nn.ModuleDict(
            {name: Classifier(size, n_classes, config) for name in dims}
        )

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of each modality in use to the log of the normalised product."""
        means = time_means(self.encoders, batch, self.masked)
        parts = tuple(self.classifiers[name](mean) for name, mean in means.items())
        product = torch.stack([part.log_softmax(dim=1) for part in parts]).sum(dim=0)
        return Output(product.log_softmax(dim=1), product.new_zeros(0), parts)
