"""MemoCMT-style: cross attention both ways, and the minimum over all positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cfia.model.encoder import Layers, Sequences, encoders
from cfia.model.network import Output
from cfia.model.peers.parts import Attention, Resized, beyond
from cfia.model.pretrained import Network
from cfia.networks import MemoCMTConfig

HEADS = 8
CLASSIFIER = 128  # hidden units


class CrossBlock(nn.Module):
    """`LN(W MHA(query; keys))`, without residual and feed-forward network."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.attention = Attention(width, HEADS, dropout)
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Tensor, keys: Tensor, unread: Tensor, hidden: Tensor) -> Tensor:
        """Map (B, Tq, K), attending to `keys` (B, Tk, K), to its shape.

        Args:
            unread: (B, Tq), what is beyond the lengths of the queries; hidden: (B, Tk), of the
                keys.
        """
        attended = self.attention(query, keys, hidden=hidden, then=self.linear, unread=unread)
        normed: Tensor = self.norm(attended)
        return normed


class MemoCMT(Network):
    """`U` attends from audio to text, `V` from text to audio; `[U; V]` is pooled along time.

    `z` is the minimum (the paper's best), mean or maximum over the positions of both, or the first
    (their "cls": the first audio frame); `W2 drop LeakyReLU(W1 drop z)`. Dropout is on the weights
    of attention, on U, V and again on `[U; V]` (drawn at once), on z and the hidden units.

    Grade A. Source: tpnam0901/MemoCMT d324870, src/models/networks.py. It trains on batches of one
    utterance and has no masks; ours are exact, for they leave what it computes. Its further block
    of self-attention is defined and never called. Inferred: a linear layer to the width of 768 for
    features that have another.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: MemoCMTConfig, layers: Layers = None
    ):
        super().__init__()
        self.pool = config.pool
        self.encoders = encoders(dims, config, layers, Resized)
        self.from_audio = CrossBlock(config.hidden, config.dropout)
        self.from_text = CrossBlock(config.hidden, config.dropout)
        self.hidden = nn.Linear(config.hidden, CLASSIFIER)
        self.classifier = nn.Linear(CLASSIFIER, n_classes)
        self.dropout = nn.Dropout(config.dropout)
        self.twice = nn.Dropout(1 - (1 - config.dropout) ** 2)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        audio, text = (self.encoders[name](batch[name]) for name in ("audio", "text"))
        no_audio, no_text = (beyond(batch[name]) for name in ("audio", "text"))
        u = self.from_audio(audio, text, no_audio, no_text)  # (B, Ta, K)
        v = self.from_text(text, audio, no_text, no_audio)  # (B, Tt, K)
        both = self.twice(torch.cat([u, v], dim=1))
        z = self.dropout(pooled(both, torch.cat([no_audio, no_text], dim=1), self.pool))
        hidden = nn.functional.leaky_relu(self.hidden(z))
        return Output(self.classifier(self.dropout(hidden)), z.new_zeros(0))


def pooled(y: Tensor, hidden: Tensor, pool: str) -> Tensor:
    """Pool (B, T, K) to (B, K) over the positions that are not `hidden` (B, T)."""
    hidden = hidden.unsqueeze(2)
    if pool == "min":
        return y.masked_fill(hidden, torch.inf).min(dim=1).values
    if pool == "max":
        return y.masked_fill(hidden, -torch.inf).max(dim=1).values
    if pool == "mean":
        return y.masked_fill(hidden, 0).sum(dim=1) / (~hidden).sum(dim=1)
    return y[:, 0]
