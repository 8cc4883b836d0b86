"""MulT-style: transformers from one modality to the other, of two modalities instead of three."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cfia.model.encoder import InputLayer, Layers, Sequences, encoders
from cfia.model.network import Output
from cfia.model.peers.parts import Attention, AttentionLayer, beyond, sinusoids
from cfia.model.pretrained import Network
from cfia.networks import MulTConfig

HEADS = 5
EMBEDDING_DROPOUT = 0.25  # behind the positions, and of the text's features


class Projected(InputLayer):
    """A convolution of kernel 1 without bias, that is, one linear map of each frame."""

    def __init__(self, dim: int, config: MulTConfig, layers: int):
        super().__init__(dim, config, layers)
        self.linear = nn.Linear(dim // layers, config.hidden, bias=False)

    def forward(self, x: Sequences) -> Tensor:
        """Map (B, T, D) to (B, T, hidden), exactly 0 beyond each length."""
        projected: Tensor = self.linear(self.prepare(x))
        return projected


class ProjectedText(Projected):
    """The same, with dropout on the normalised features."""

    def prepare(self, x: Sequences) -> Tensor:
        """Normalise, sum the layers, and drop: (B, T, D) to (B, T, D / layers)."""
        return nn.functional.dropout(super().prepare(x), EMBEDDING_DROPOUT, self.training)


class Stream(nn.Module):
    """`x sqrt(d)` and positions, pre-norm layers, layer norm; keys are embedded as x is."""

    def __init__(self, config: MulTConfig, attention_dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(
            AttentionLayer(
                Attention(config.hidden, HEADS, attention_dropout),
                config.hidden,
                4 * config.hidden,
                config.dropout,
                pre_norm=True,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(EMBEDDING_DROPOUT)

    def forward(self, x: Tensor, keys: Tensor | None, **masks: Any) -> Tensor:
        """Map (B, Tq, K), attending to `keys` (B, Tk, K) or to itself, to (B, Tq, K)."""
        x = self._embed(x)
        others = None if keys is None else self._embed(keys)
        for layer in self.layers:
            x = layer(x, x if others is None else others, **masks)
        normed: Tensor = self.norm(x)
        return normed

    def _embed(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(math.sqrt(x.shape[2]) * x + sinusoids(x))
        return embedded


class MulT(Network):
    """Audio attends to text and text to audio, each then to itself; the last positions count.

    `z` holds the last position of each; `z + W' ReLU(W z)`, and a linear layer. With `future_mask:
    shifted` position i attends to a position j only if `j - i` is at most the difference of the two
    lengths, those of the utterance itself. Nothing is dropped from an attention to audio.

    Grade B. Source: yaohungt/Multimodal-Transformer a670936, src/models.py and modules/. Its
    streams of self-attention, too, scale, add positions and drop again, and it drops from the
    text's features before the projection; nothing is dropped in `z`'s residual. Changed: no video;
    padding is masked; positions count from 0, with the frequencies of "Attention is all you need";
    weights start as PyTorch has them.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: MulTConfig, layers: Layers = None
    ):
        super().__init__()
        self.shifted = config.future_mask == "shifted"
        self.encoders = encoders({"audio": dims["audio"]}, config, layers, Projected)
        self.encoders["text"] = encoders({"text": dims["text"]}, config, layers, ProjectedText)[
            "text"
        ]
        self.cross = nn.ModuleDict(
            {"audio": Stream(config, config.dropout), "text": Stream(config, 0.0)}
        )
        self.own = nn.ModuleDict({name: Stream(config, config.dropout) for name in self.cross})
        width = 2 * config.hidden
        self.residual = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        y = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        last = []
        for name, other in (("audio", "text"), ("text", "audio")):
            crossed = self.cross[name](y[name], y[other], **self._masks(batch[name], batch[other]))
            own = self.own[name](crossed, None, **self._own_masks(batch[name]))
            ends = batch[name].counts - 1
            last.append(own[torch.arange(len(own), device=own.device), ends])
        z = torch.cat(last, dim=1)
        return Output(self.classifier(z + self.residual(z)), z.new_zeros(0))

    def _masks(self, query: Sequences, keys: Sequences) -> dict[str, Tensor]:
        """Hide padding, and of each utterance the keys too far ahead."""
        if not self.shifted:
            return {"hidden": beyond(keys)}
        hidden = future(query, keys) | beyond(keys).unsqueeze(1)  # (B, Tq, Tk)
        # Added to the logits: a boolean mask would be made into such a one in every layer.
        added = torch.zeros(hidden.shape, dtype=query.data.dtype, device=hidden.device)
        return {"added": added.masked_fill(hidden, -torch.inf)}

    def _own_masks(self, x: Sequences) -> dict[str, Any]:
        if not self.shifted:
            return {"hidden": beyond(x)}
        return {"causal": True}  # nothing within a length attends to what is beyond it


def future(query: Sequences, keys: Sequences) -> Tensor:
    """Mark the keys too far ahead of each position: `j - i > |Tk - Tq|`, booleans (B, Tq, Tk)."""
    i, j = (torch.arange(x.data.shape[1], device=x.data.device) for x in (query, keys))
    difference = (keys.counts - query.counts).abs()
    return (j - i[:, None]) > difference[:, None, None]
