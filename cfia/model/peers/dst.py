"""DST-style: a transformer of the audio whose heads look through windows of learnt place and size.

It stands for the family of MSTR, DST and SpeechFormer.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor, nn

from cfia.model.encoder import Layers, Sequences, encoders, widths
from cfia.model.network import Output
from cfia.model.peers.parts import AttentionLayer, Resized, beyond, in_parts, mean, sinusoids
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig

HEADS = 8
LENGTH = 512  # frames: a window's centre and size are fractions of it
NARROWEST, WIDEST = 1.25, 25.0  # frames: half widths of the windows of the heads at the start
OUTSIDE = -1e8  # the logit of a key outside a window: finite, should all keys be


class WindowedAttention(nn.Module):
    """Multi-head self-attention, each query of each head through a window of its own.

    From a query come offset o and duration d. With centre `c = i + L tanh o` and half width
    `r = L sigmoid d`, keys outside `[floor(c - r), ceil(c + r)]` are hidden.
    """

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.window = nn.Linear(width, 2 * HEADS)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = dropout

    def start(self) -> None:
        """Put all windows around their query, their sizes evenly spread over the heads."""
        half = torch.linspace(NARROWEST, WIDEST, HEADS) / LENGTH
        with torch.no_grad():
            self.window.weight.zero_()
            self.window.bias.copy_(torch.cat([torch.zeros(HEADS), half.logit()]))

    def forward(self, x: Tensor, keys: Tensor, *, hidden: Tensor) -> Tensor:
        """Map (B, T, K), all but the `hidden` (B, T) its own keys, to (B, T, K)."""
        assert keys is x
        q, k, v = self.qkv(x).chunk(3, dim=2)
        window = self.window(q).transpose(1, 2)
        # Places of frames have no room in the bfloat16 of autocast.
        window = window.to(torch.promote_types(window.dtype, torch.float32))
        offset, duration = window.chunk(2, dim=1)  # (B, heads, T)
        centre = torch.arange(x.shape[1], device=x.device) + LENGTH * offset.tanh()
        half = LENGTH * duration.sigmoid()
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        attend = functools.partial(attend_in_windows, dropout=dropout)
        weights = HEADS * x.shape[1] ** 2
        attended = in_parts(attend, (q, k, v, centre, half, hidden), weights)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


def attend_in_windows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    centre: Tensor,
    half: Tensor,
    hidden: Tensor,
    dropout: float,
    emphasise: bool = True,
) -> Tensor:
    """Attend through windows.

    Args:
        q, k, v: (B, heads, T, K).
        centre, half: (B, heads, T), of each query's window, in frames.
        hidden: (B, T), keys that nothing attends to. A window that holds no other key is as one
            that holds all others, with equal weights (the original: all keys, hidden or not).
        emphasise: whether logits are multiplied by `1 + emphasis`.

    Returns:
        (B, heads, T, K).
    """
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    if emphasise:
        places, values = emphasis(centre, half, k.shape[2])
        added = values * logits.gather(3, places)
        logits = logits.scatter_add(3, places, added.to(logits.dtype))
    key = torch.arange(k.shape[2], device=q.device)
    first, last = (centre - half).floor().unsqueeze(3), (centre + half).ceil().unsqueeze(3)
    # In place: of all that is (B, heads, T, T) there is no more than must be.
    logits = logits.masked_fill_((key < first).logical_or_(key > last), OUTSIDE)
    logits = logits.masked_fill_(hidden[:, None, None], -torch.inf)
    return nn.functional.dropout(logits.softmax(dim=3), dropout, dropout > 0) @ v


def emphasis(centre: Tensor, half: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Give the keys where p is not 0, and their shares of it: (B, heads, T) to (B, heads, T, 4).

    By p a window's place and size learn. It is minus the distance from the window's ends at the
    keys on its borders, and at the two keys beside the centre the weights of the linear
    interpolation there. A key may be several of these. Those outside 0 to `size` have a share of 0.
    """
    first, last, left = (centre - half).floor(), (centre + half).ceil(), centre.floor()
    places = torch.stack([first, last, left, left + 1], dim=3)
    values = torch.stack(
        [first - (centre - half), centre + half - last, 1 - (centre - left), centre - left], dim=3
    )
    there = (places >= 0) & (places < size)
    return places.clamp(0, size - 1).long(), values * there


class DST(Network):
    """Layer norm, positions, layers of windowed attention, a classifier of frames, their mean.

    `hidden` is the width within the feed-forward networks; the network is as wide as the features.

    Grade B. Source: HappyColor/DST 15f33bd, model/dst.py and module/dst_layer.py. Changed: padding
    is masked, L is 512 for all features. Inferred: where the features' width is no multiple of the
    heads, a linear layer to the next one.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        ((self.modality, dim),) = widths(dims, layers).items()
        width = -(-dim // HEADS) * HEADS
        self.encoders = encoders(dims, dataclasses.replace(config, hidden=width), layers, Resized)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            AttentionLayer(
                WindowedAttention(width, config.dropout), width, config.hidden, config.dropout
            )
            for _ in range(config.layers)
        )
        self.classifier = nn.Sequential(
            nn.Linear(width, width // 2), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(width // 2, width // 4), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(width // 4, n_classes),
        )  # fmt: skip
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        for module in self.modules():
            if isinstance(module, WindowedAttention):
                module.start()

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of one modality to logits."""
        sequences = batch[self.modality]
        x = self.norm(self.encoders[self.modality](sequences))
        x = x + sinusoids(x)
        hidden = beyond(sequences)
        for layer in self.layers:
            x = layer(x, x, hidden=hidden)
        logits = mean(self.classifier(x), sequences)
        return Output(logits, logits.new_zeros(0))
