"""Self/Cross-style: two networks of the same size, one with self- and one with cross-attention."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from cfia.model.encoder import BiGRU, Layers, Sequences, encoders
from cfia.model.network import Output
from cfia.model.peers.parts import Attention, beyond, mean
from cfia.model.pretrained import Network
from cfia.networks import SelfCrossConfig

HEADS = 6
TEXT_DROPOUT = 0.25  # of the text's features


class TextBiGRU(BiGRU):
    """A Bi-GRU with dropout on the normalised features."""

    def prepare(self, x: Sequences) -> Tensor:
        """Normalise, sum the layers, and drop: (B, T, D) to (B, T, D / layers)."""
        return nn.functional.dropout(super().prepare(x), TEXT_DROPOUT, self.training)


class SelfCross(Network):
    """A Bi-GRU and an attention for each modality, to its own states or to the other's.

    The attended states' means over time, u_a and u_t, give mean and standard deviation over the two
    modalities, `(u_a + u_t) / 2` and `|u_a - u_t| / sqrt 2`, and two linear layers with nothing
    between them. `attention: cross` takes its queries from the modality itself, keys and values
    from the other. Both have the same number of weights, so that they differ in the attention only.

    Grade B. Source: smartcameras/SelfCrossAttn df62166, models.py, without its video, and without
    its convolution of the audio, which takes 1000 time steps for channels.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: SelfCrossConfig, layers: Layers = None
    ):
        super().__init__()
        self.cross = config.attention == "cross"
        packed = dataclasses.replace(config, mask="full")
        self.encoders = encoders({"audio": dims["audio"]}, packed, layers, BiGRU)
        self.encoders["text"] = encoders({"text": dims["text"]}, packed, layers, TextBiGRU)["text"]
        width = 2 * config.hidden
        self.attentions = nn.ModuleDict(
            {name: Attention(width, HEADS, config.dropout) for name in ("audio", "text")}
        )
        self.hidden = nn.Linear(2 * width, config.hidden)
        self.classifier = nn.Linear(config.hidden, n_classes)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        states = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        means = []
        for name, other in (("audio", "text"), ("text", "audio")):
            keys = other if self.cross else name
            hidden = beyond(batch[keys])
            layer = self.attentions[name]
            attended = layer(states[name], states[keys], hidden=hidden)
            means.append(mean(attended, batch[name]))
        u_a, u_t = means
        statistics = torch.cat([(u_a + u_t) / 2, (u_a - u_t).abs() / math.sqrt(2)], dim=1)
        return Output(self.classifier(self.hidden(statistics)), u_a.new_zeros(0))
