"""The linear head that emotion2vec's authors put on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfia.model.encoder import InputLayer, Layers, Sequences, encoders
from cfia.model.network import Classifier, Output
from cfia.model.pooling import time_means
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig


class FrameLayer(InputLayer):
    """`ReLU(Linear(D -> hidden))` of each frame, behind the same input as CFIA-Net's encoder."""

    def __init__(self, dim: int, config: ModelConfig, layers: int):
        super().__init__(dim, config, layers)
        self.linear = nn.Linear(dim // layers, config.hidden)

    def forward(self, x: Sequences) -> Tensor:
        """Map (B, T, D) to (B, T, hidden), exactly 0 beyond each length."""
        hidden: Tensor = self.linear(self.prepare(x))
        return hidden.relu() * x.valid().unsqueeze(2)


class LinearHead(Network):
    """Linear, ReLU, mean over an utterance's frames, Linear -> classes.

    Source: Ma et al., "emotion2vec", and its published code, iemocap_downstream/model.py, where
    the hidden width is 256. Nothing mixes frames, so padding never counts, whatever `mask` says.
    The means of two modalities are concatenated.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        self.encoders = encoders(dims, config, layers, FrameLayer)
        self.classifier = Classifier(len(dims) * config.hidden, n_classes, config)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of each modality in use to logits."""
        pooled = torch.cat(list(time_means(self.encoders, batch, masked=True).values()), dim=1)
        return Output(self.classifier(pooled), pooled.new_zeros(0))
