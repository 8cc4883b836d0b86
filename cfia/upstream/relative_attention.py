"""WavLM's attention in bounded memory.

transformers makes the gated bias of every pair of frames in every head, several times over: over
50 GB for ten minutes of audio. Here queries go through in chunks, and what depends on the distance
of two frames alone is kept once per distance.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Numbers in the bias of a chunk of queries: 128 MB.
CHUNK = 2**25


class RelativeAttention(nn.Module):
    """Stands in for a `WavLMAttention`, whose weights it takes.

    Args:
        attention: a block's attention.
        first: that of the first block, which has the embedding of distances for all blocks.
    """

    def __init__(self, attention: Any, first: Any) -> None:
        super().__init__()
        self.attention = attention
        self.distances = first.rel_attn_embed
        self.bucket = first._relative_positions_bucket

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None, None]:
        """Map (B, T, dim) to the same shape; the mask (B, T) is false on padded frames."""
        attention = self.attention
        batch, size, _width = hidden_states.shape
        query, key, value = (
            self._heads(projection(hidden_states))
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        gate = self._gate(hidden_states)
        table = self._table(size, hidden_states.device)
        step = max(1, CHUNK // (batch * attention.num_heads * size))
        parts = []
        for start in range(0, size, step):
            rows = slice(start, min(start + step, size))
            bias = gate[:, :, rows] * _rows(table, rows, size)
            if attention_mask is not None:
                bias = bias.masked_fill(~attention_mask[:, None, None], float("-inf"))
            parts.append(
                nn.functional.scaled_dot_product_attention(
                    query[:, :, rows], key, value, attn_mask=bias
                )
            )
        attended = torch.cat(parts, dim=2).transpose(1, 2).reshape(hidden_states.shape)
        return attention.out_proj(attended), None, None

    def _heads(self, x: Tensor) -> Tensor:
        """Reshape (B, T, dim) to (B, heads, T, dim / heads)."""
        return x.reshape(*x.shape[:2], self.attention.num_heads, -1).transpose(1, 2)

    def _gate(self, x: Tensor) -> Tensor:
        """Compute each query's factor of the bias (the WavLM paper's gate): (B, heads, T, 1)."""
        projected: Tensor = self.attention.gru_rel_pos_linear(self._heads(x))  # (B, heads, T, 8)
        summed = projected.reshape(*projected.shape[:3], 2, 4).sum(dim=-1)
        update, reset = torch.sigmoid(summed).chunk(2, dim=-1)
        gate: Tensor = update * (reset * self.attention.gru_rel_pos_const - 1.0) + 2.0
        return gate

    def _table(self, size: int, device: torch.device) -> Tensor:
        """Compute the bias of distances 1 - size to size - 1 (key - query): (heads, 2 size - 1)."""
        distance = torch.arange(1 - size, size, device=device)
        values: Tensor = self.distances(self.bucket(distance)).T
        return values.contiguous()


def _rows(table: Tensor, rows: slice, size: int) -> Tensor:
    """Take the bias (heads, rows, size) of some queries, a view: each row is the last, shifted."""
    windows = table.unfold(1, size, 1)  # (heads, size, size), [h, w, k] at distance k - w of below
    return windows[:, size - rows.stop : size - rows.start].flip(1)


def install(encoder: Any) -> None:
    """Replace the attention of each block of a WavLM encoder."""
    blocks = list(encoder.layers)
    first = blocks[0].attention
    for block in blocks:
        block.attention = RelativeAttention(block.attention, first)
