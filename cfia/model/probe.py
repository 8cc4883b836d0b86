"""The probe: what frozen features tell a linear classifier, which every network has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfia.model.encoder import Layers, Sequences
from cfia.model.network import Output
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig


class Probe(Network):
    """Mean and standard deviation over time of each modality, standardised, and one linear layer.

    Statistics pooling as of x-vectors (Snyder et al. 2018), of the features themselves. It is not
    trained by steps but fitted, by `cfia.training.probe`. Layers of an encoder side by side are
    so many more dimensions. The statistics are those of one utterance at a time, in float64, so
    that none of their bits depends on the batch.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        size = 2 * sum(dims.values())
        self.modalities = tuple(dims)
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(size, dtype=torch.float64))
        self.classifier = nn.Linear(size, n_classes, dtype=torch.float64)

    def pool(self, batch: dict[str, Sequences]) -> Tensor:
        """Map the features (B, T, D) of each modality to their statistics side by side, (B, S).

        Of each modality first the means, then the standard deviations, whose divisor is the
        number of frames; S is twice the sum of the widths.
        """
        return torch.cat([_statistics(batch[name]) for name in self.modalities], dim=1)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of each modality in use to logits."""
        return self.classify((self.pool(batch) - self.mean) / self.scale)

    def classify(self, standardised: Tensor) -> Output:
        """Map standardised statistics (N, S) to logits."""
        logits = self.classifier(standardised)
        return Output(logits, logits.new_zeros(0))


def _statistics(x: Sequences) -> Tensor:
    """Compute mean and standard deviation over each utterance's own frames, (B, 2D)."""
    rows = []
    for frames, length in zip(x.data, x.lengths.tolist(), strict=True):
        variance, mean = torch.var_mean(frames[:length].double(), dim=0, correction=0)
        rows.append(torch.cat([mean, variance.sqrt()]))
    return torch.stack(rows)
