"""What several peers have in common: attention between sequences, positions, pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cfia.config import ModelConfig
from cfia.model.encoder import InputLayer, Sequences, position_mask

LAST_FREQUENCY = 10000.0  # of "Attention is all you need", section 3.5


class Resized(InputLayer):
    """Normalised features; a linear layer where they are not `config.hidden` wide."""

    def __init__(self, dim: int, config: ModelConfig, layers: int):
        super().__init__(dim, config, layers)
        dim //= layers
        same = dim == config.hidden
        self.resize = nn.Identity() if same else nn.Linear(dim, config.hidden)

    def forward(self, x: Sequences) -> Tensor:
        """Map (B, T, D) to (B, T, hidden); what is beyond each length must not be used."""
        resized: Tensor = self.resize(self.prepare(x))
        return resized


def beyond(x: Sequences) -> Tensor:
    """Mark the positions beyond each length: booleans (B, T), where the features are."""
    return ~position_mask(x.lengths, x.data.shape[1]).to(x.data.device)


def mean(y: Tensor, x: Sequences) -> Tensor:
    """Average (B, T, K) over the positions within each length of `x`, whatever the others hold."""
    within = y.masked_fill(beyond(x).unsqueeze(2), 0)
    return within.sum(dim=1) / x.lengths.to(y)[:, None]


def maximum(y: Tensor, x: Sequences) -> Tensor:
    """Take the largest of (B, T, K) over the positions within each length of `x`: (B, K)."""
    return y.masked_fill(beyond(x).unsqueeze(2), -torch.inf).max(dim=1).values


def sinusoids(y: Tensor) -> Tensor:
    """Give the sinusoidal positions for (B, T, K): (T, K), sines and cosines by turns."""
    size, width = y.shape[1:]
    pair = torch.arange(width) // 2
    angle = torch.arange(size)[:, None] / LAST_FREQUENCY ** (2 * pair / width)
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).to(y)


class Attention(nn.Module):
    """Multi-head attention from one sequence to another, keys and values at once."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = nn.MultiheadAttention(width, heads, dropout, batch_first=True)

    def forward(self, query: Tensor, keys: Tensor, **masks: Any) -> Tensor:
        """Attend from (B, Tq, K) to (B, Tk, K); the weights themselves are not made.

        Args:
            masks: `key_padding_mask`, `attn_mask`, `is_causal` of `nn.MultiheadAttention`.

        Returns:
            (B, Tq, K). What is beyond the query's length must not be used.
        """
        attended: Tensor = self.heads(query, keys, keys, need_weights=False, **masks)[0]
        return attended


class AttentionLayer(nn.Module):
    """A transformer layer: attention to itself or to another sequence, and a feed-forward network.

    Args:
        attention: maps queries (B, Tq, width) and keys (B, Tk, width) to (B, Tq, width).
        inner: the width within the feed-forward network.
        dropout: of what the residuals add, and of the feed-forward network's hidden units unless
            `inner_dropout` says otherwise.
        pre_norm: normalise what goes into a part, keys by the same norm, instead of the sums.
    """

    def __init__(
        self,
        attention: nn.Module,
        width: int,
        inner: int,
        dropout: float,
        *,
        inner_dropout: float | None = None,
        pre_norm: bool = False,
        activation: type[nn.Module] = nn.ReLU,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner),
            activation(),
            nn.Dropout(dropout if inner_dropout is None else inner_dropout),
            nn.Linear(inner, width),
        )
        self.norm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor, **masks: Any) -> Tensor:
        """Map (B, Tq, K), attending to `keys` (B, Tk, K), to (B, Tq, K)."""
        if self.pre_norm:
            query = self.attention_norm(x)
            others = query if keys is x else self.attention_norm(keys)
            x = x + self.dropout(self.attention(query, others, **masks))
            summed: Tensor = x + self.dropout(self.feed_forward(self.norm(x)))
            return summed
        x = self.attention_norm(x + self.dropout(self.attention(x, keys, **masks)))
        normed: Tensor = self.norm(x + self.dropout(self.feed_forward(x)))
        return normed
