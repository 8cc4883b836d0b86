"""What several peers have in common: attention between sequences, positions, pooling."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cfia.model.encoder import InputLayer, Sequences, position_mask
from cfia.model.peers import short_side
from cfia.model.transfer import to_device
from cfia.networks import ModelConfig

LAST_FREQUENCY = 10000.0  # of "Attention is all you need", section 3.5
MOST_WEIGHTS = 2**24  # of attention that are made at once, 64 MiB in float32

# Below what keeps torch's compiler away from it, which would be loaded for that.
_checkpoint = inspect.unwrap(checkpoint)


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
    return ~position_mask(x.counts, x.data.shape[1])


def mean(y: Tensor, x: Sequences) -> Tensor:
    """Average (B, T, K) over the positions within each length of `x`, whatever the others hold."""
    within = y.masked_fill(beyond(x).unsqueeze(2), 0)
    return within.sum(dim=1) / x.counts.to(y)[:, None]


def maximum(y: Tensor, x: Sequences) -> Tensor:
    """Take the largest of (B, T, K) over the positions within each length of `x`: (B, K)."""
    return y.masked_fill(beyond(x).unsqueeze(2), -torch.inf).max(dim=1).values


def sinusoids(y: Tensor) -> Tensor:
    """Give the sinusoidal positions for (B, T, K): (T, K), sines and cosines by turns."""
    size, width = y.shape[1:]
    pair = torch.arange(width) // 2
    angle = torch.arange(size)[:, None] / LAST_FREQUENCY ** (2 * pair / width)
    even = torch.arange(width) % 2 == 0
    return to_device(torch.where(even, angle.sin(), angle.cos()).to(y.dtype), y.device)


def in_parts(
    function: Callable[..., Tensor], tensors: Sequence[Tensor | None], weights: int
) -> Tensor:
    """Apply attention to a batch, some utterances at a time where all would take too much memory.

    What it makes of a part is then made again for the gradient, dropout included, so that of the
    (B, heads, Tq, Tk) of all layers one part of one is there at a time.

    Args:
        function: of parts of `tensors`.
        tensors: (B, ...) each.
        weights: how many weights of attention an utterance has, heads * Tq * Tk.
    """
    batch = next(tensor for tensor in tensors if tensor is not None)
    rows = max(1, MOST_WEIGHTS // weights)
    if len(batch) <= rows:
        return function(*tensors)
    divided = [
        [None] * -(-len(batch) // rows) if tensor is None else torch.split(tensor, rows)
        for tensor in tensors
    ]
    # Nothing would learn through what is made again of tensors that need no gradient.
    learns = any(tensor is not None and tensor.requires_grad for tensor in tensors)
    again = learns and torch.is_grad_enabled()
    made = [
        _checkpoint(function, *part, use_reentrant=True) if again else function(*part)
        for part in zip(*divided, strict=True)
    ]
    return torch.cat(made)


class Attention(nn.Module):
    """Multi-head attention from one sequence to another, keys and values at once."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = nn.MultiheadAttention(width, heads, dropout, batch_first=True)

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        *,
        hidden: Tensor | None = None,
        added: Tensor | None = None,
        causal: bool = False,
        then: nn.Linear | None = None,
        unread: Tensor | None = None,
    ) -> Tensor:
        """Attend from (B, Tq, K) to (B, Tk, K).

        Args:
            hidden: (B, Tk), the keys that nothing attends to.
            added: (B, Tq, Tk), what is added to the logits of all heads.
            causal: whether nothing attends to what follows it.
            then: a layer for what is attended, where it is all that follows.
            unread: (B, Tq), the queries of which nothing reads what is returned. It may be
                anything; to know them saves time.

        Returns:
            (B, Tq, K). What is beyond the query's length must not be used.
        """
        sizes = query.shape[1], keys.shape[1]
        weights = self.heads.num_heads * sizes[0] * sizes[1]
        if added is None and not causal and short_side.pays(self.heads, *sizes):
            attend = partial(short_side.attend, self.heads, then)
            return in_parts(attend, (query, keys, hidden, unread), weights)
        future = None
        if causal:
            future = nn.Transformer.generate_square_subsequent_mask(sizes[0], query.device)

        def part(
            query: Tensor, keys: Tensor, hidden: Tensor | None, added: Tensor | None
        ) -> Tensor:
            mask = future
            if added is not None:
                mask = added.repeat_interleave(self.heads.num_heads, dim=0)
            attended: Tensor = self.heads(
                query,
                keys,
                keys,
                key_padding_mask=hidden,
                attn_mask=mask,
                is_causal=causal,
                need_weights=False,
            )[0]
            return attended if then is None else then(attended)

        return in_parts(part, (query, keys, hidden, added), weights)


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
