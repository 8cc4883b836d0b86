"""CMT-SA-style: a cross-modal transformer and self-attention over both modalities."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from cfia.model.encoder import Encoder, Layers, Sequences, encoders
from cfia.model.network import Output
from cfia.model.peers.parts import Attention, AttentionLayer, beyond, mean, sinusoids
from cfia.model.pretrained import Network
from cfia.networks import CMTSAConfig

HEADS = 10
CROSS_LAYERS = 2
CLASSIFIER_DROPOUT = 0.2


class CMTSA(Network):
    """Bi-GRU and linear layer, cross attention both ways, self-attention over `[A; T]`, means.

    `x_m` is what the linear layer gives, with sinusoidal positions. A and T come from two post-norm
    layers each, which take their queries from their own stream, keys and values from the other's
    `x`. One such layer attends from all positions of both to all. The means over the audio's
    positions and over the text's stand side by side.

    Grade C. Source: figure and abstract of the paper (ICASSP 2023), and bubaimaji/cmt-mser 72d2433.
    They disagree: in the figure the query is the other stream's and the residual its own, which is
    impossible at unequal lengths; the training script has no cross attention, but two BERT layers
    over the concatenation; a third file, a derivative of MulT with two unimodal losses of unstated
    weight, does not run. In all of them the sequence is the utterances of a dialogue; ours is the
    frames and tokens of one, without context. Inferred: the width within the feed-forward networks
    (four times the width), the numbers of layers, the means.

    There is no option to take the query from the other stream: where the residual follows the
    query, the audio's stream is then what the text's is here, and the other way round.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: CMTSAConfig, layers: Layers = None
    ):
        super().__init__()
        width = config.hidden
        # The encoder of CFIA-Net has the same layers; its C x F is the width here.
        sizes = dataclasses.replace(config, channels=width, features=1, mask="full")
        self.encoders = encoders(dims, sizes, layers, Encoder)
        self.cross = nn.ModuleDict(
            {
                name: nn.ModuleList(self._layer(config) for _ in range(CROSS_LAYERS))
                for name in ("audio", "text")
            }
        )
        self.joint = self._layer(config)
        self.classifier = nn.Sequential(
            nn.Dropout(CLASSIFIER_DROPOUT), nn.Linear(2 * width, n_classes)
        )

    @staticmethod
    def _layer(config: CMTSAConfig) -> AttentionLayer:
        attention = Attention(config.hidden, HEADS, config.dropout)
        return AttentionLayer(attention, config.hidden, 4 * config.hidden, config.dropout)

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        x = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        x = {name: y + sinusoids(y) for name, y in x.items()}
        audio = self._cross("audio", x["audio"], x["text"], beyond(batch["text"]))
        text = self._cross("text", x["text"], x["audio"], beyond(batch["audio"]))
        both = torch.cat([audio, text], dim=1)
        hidden = torch.cat([beyond(batch["audio"]), beyond(batch["text"])], dim=1)
        both = self.joint(both, both, hidden=hidden)
        audio, text = both.split([audio.shape[1], text.shape[1]], dim=1)
        means = [mean(audio, batch["audio"]), mean(text, batch["text"])]
        return Output(self.classifier(torch.cat(means, dim=1)), both.new_zeros(0))

    def _cross(self, name: str, y: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        for layer in self.cross[name].children():
            y = layer(y, keys, hidden=hidden)
        return y
