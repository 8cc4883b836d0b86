"""SUPERB-style: the linear head of the SUPERB benchmark, of which Vesper's is a copy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfia.model.encoder import InputLayer, Layers, Sequences, encoders, widths
from cfia.model.network import Classifier, Output
from cfia.model.peers.parts import beyond, mean
from cfia.model.pretrained import Network
from cfia.networks import SuperbConfig

STD_FLOOR = 1e-5  # of a dimension that does not vary, as with an utterance of one frame


class Superb(Network):
    """`W2 mean(W1 s)`, where s is the learnt sum of an encoder's layers; nothing is nonlinear.

    Grade A. Source: s3prl/s3prl ec8064b, s3prl/downstream/emotion (`projector`, `UtteranceLevel`)
    and the weighted sum of s3prl/upstream/interfaces.py; HappyColor/Vesper 2b62af3 has the same.
    With `--audio_layer all` s is the sum over all hidden states, else one of them. The mean and W1
    commute, so W1 is applied to the mean.

    Ours: the means of two modalities stand side by side; `frame_pool: asp`, attentive statistics in
    place of W1 and the mean. s3prl's own attentive pooling adds 1 at the frames within an utterance
    and 0 at padding, where it should hide padding, so it is not copied.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: SuperbConfig, layers: Layers = None
    ):
        super().__init__()
        self.encoders = encoders(dims, config, layers, InputLayer)
        pool = Projection if config.frame_pool == "mean" else AttentiveStatistics
        self.pools = nn.ModuleDict(
            {name: pool(dim, config.hidden) for name, dim in widths(dims, layers).items()}
        )
        size = sum(part.size for part in self.pools.values() if isinstance(part, pool))
        self.classifier = Classifier(size, n_classes, config)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of each modality in use to logits."""
        pooled = torch.cat(
            [
                self.pools[name](encoder(batch[name]), batch[name])
                for name, encoder in self.encoders.items()
            ],
            dim=1,
        )
        return Output(self.classifier(pooled), pooled.new_zeros(0))


class Projection(nn.Module):
    """(B, T, D) to `W1 mean`, (B, size)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.size = hidden
        self.linear = nn.Linear(dim, hidden)

    def forward(self, y: Tensor, x: Sequences) -> Tensor:
        """Pool `y` over the positions within each length of `x`."""
        projected: Tensor = self.linear(mean(y, x))
        return projected


class AttentiveStatistics(nn.Module):
    """(B, T, D) to weighted mean and deviation, (B, size), by the scores `v'tanh(W s)`."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.size = 2 * dim
        self.score = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, y: Tensor, x: Sequences) -> Tensor:
        """Pool `y` over the positions within each length of `x`."""
        scores = self.score(y).squeeze(2).masked_fill(beyond(x), -torch.inf)
        weights = scores.softmax(dim=1).unsqueeze(2)  # (B, T, 1)
        centre = (weights * y).sum(dim=1)
        variance = (weights * (y - centre.unsqueeze(1)).square()).sum(dim=1)
        return torch.cat([centre, (variance + STD_FLOOR**2).sqrt()], dim=1)
