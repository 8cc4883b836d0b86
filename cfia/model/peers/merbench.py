"""MERBench-style: fusion of one vector per modality, by attention or by a low-rank tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfia.model.encoder import InputLayer, Layers, Sequences, encoders, widths
from cfia.model.network import Output
from cfia.model.pooling import time_means
from cfia.model.pretrained import Network
from cfia.networks import MERBenchConfig

RANK = 4


class MLPEncoder(nn.Sequential):
    """(B, K) to (B, hidden): dropout, and three times a linear layer and ReLU."""

    def __init__(self, size: int, hidden: int, dropout: float):
        sizes = (size, hidden, hidden)
        layers = [part for n in sizes for part in (nn.Linear(n, hidden), nn.ReLU())]
        super().__init__(nn.Dropout(dropout), *layers)


class MERBench(Network):
    """Means over time, an MLP for each modality, and their fusion.

    `fusion: attention`: an MLP on both gives a weight for each, used without softmax: `sum_m w_m
    e_m`. `fusion: lmf`: low-rank multimodal fusion (Liu et al. 2018), `sum_r w_r ([1; e_a] F_ar *
    [1; e_t] F_tr) + b`, of half the width.

    Grade A. Source: zeroQiaoba/MERTools 89120b7, MERBench/toolkit/models (attention.py, lmf.py,
    modules/encoder.py) with `feat_type utt`, without video. Theirs searches dropout in 0.2 to 0.5,
    the width in 64 to 256 (lmf: 32 to 256) and the rank in 3 to 6; ours are 0.3, 128 and 4. Theirs
    sums the last four layers of the text encoder; ours takes the last, unless `--text_layer` says
    otherwise.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: MERBenchConfig, layers: Layers = None
    ):
        super().__init__()
        self.encoders = encoders(dims, config, layers, InputLayer)
        self.mlps = nn.ModuleDict(
            {
                name: MLPEncoder(dim, config.hidden, config.dropout)
                for name, dim in widths(dims, layers).items()
            }
        )
        fusion = AttentionFusion if config.fusion == "attention" else LowRankFusion
        self.fusion = fusion(config)
        self.classifier = nn.Linear(self.fusion.size, n_classes)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        means = time_means(self.encoders, batch, masked=True)
        fused = self.fusion(*(self.mlps[name](means[name]) for name in ("audio", "text")))
        return Output(self.classifier(fused), fused.new_zeros(0))


class AttentionFusion(nn.Module):
    """Two vectors (B, hidden), weighted, to (B, size)."""

    def __init__(self, config: MERBenchConfig):
        super().__init__()
        self.size = config.hidden
        self.mlp = MLPEncoder(2 * config.hidden, config.hidden, config.dropout)
        self.linear = nn.Linear(config.hidden, 2)

    def weights(self, audio: Tensor, text: Tensor) -> Tensor:
        """Give the weights of audio and text, (B, 2)."""
        found: Tensor = self.linear(self.mlp(torch.cat([audio, text], dim=1)))
        return found

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Fuse two vectors."""
        return torch.einsum("bm,mbk->bk", self.weights(audio, text), torch.stack([audio, text]))


class LowRankFusion(nn.Module):
    """Two vectors (B, hidden), with a 1 before each, by a tensor of low rank to (B, size)."""

    def __init__(self, config: MERBenchConfig):
        super().__init__()
        self.size = config.hidden // 2
        shape = (RANK, config.hidden + 1, self.size)
        self.audio, self.text = (nn.Parameter(torch.empty(shape)) for _ in range(2))
        self.weights = nn.Parameter(torch.empty(1, RANK))
        self.bias = nn.Parameter(torch.zeros(self.size))
        for weight in (self.audio, self.text, self.weights):
            nn.init.xavier_normal_(weight)

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Fuse two vectors."""
        one = audio.new_ones(len(audio), 1)
        parts = (torch.cat([one, audio], dim=1) @ self.audio) * (
            torch.cat([one, text], dim=1) @ self.text
        )  # (rank, B, size)
        return torch.einsum("r,rbk->bk", self.weights[0], parts) + self.bias
