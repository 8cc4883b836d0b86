"""MMER-fusion-style: BERT layers between text and audio, and a gate."""

from __future__ import annotations

import torch
from torch import nn

from cfia.model.encoder import InputLayer, Layers, Sequences, encoders, widths
from cfia.model.network import Output
from cfia.model.peers.parts import Attention, AttentionLayer, Resized, beyond, maximum
from cfia.model.pretrained import Network
from cfia.networks import MMERConfig

HEADS = 12
EPS = 1e-12  # of BERT's layer norms


class MMER(Network):
    """The text, what it has from the audio, and a gate between the two.

    With X(q; k) a BERT layer that attends from q to k: `S = X(t; t)`, `P = X(S; W1 a)`,
    `Q = X(W2 a; S)`, `R = X(S; Q)`, `M = [R; sigmoid(W [R; P]) * P]`. The largest of M over the
    tokens, by a linear layer, stands beside the largest of the audio over the frames.

    Grade B. Source: Sreyan88/MMER 2b076fb, src/mmi_module.py (`MMI_Model`, `fuse_type` max), which
    fine-tunes wav2vec 2.0. Dropped: the CTC loss, which on frozen features would reach none of
    these weights, and two contrastive losses, one of which needs augmented audio and text.
    Inferred: a linear layer to the width of 768 for text of another.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: MMERConfig, layers: Layers = None
    ):
        super().__init__()
        width, dim = config.hidden, widths(dims, layers)["audio"]
        self.encoders = encoders({"audio": dims["audio"]}, config, layers, InputLayer)
        self.encoders["text"] = encoders({"text": dims["text"]}, config, layers, Resized)["text"]
        self.text, self.text_to_audio, self.audio_to_text, self.text_to_both = (
            self._layer(config) for _ in range(4)
        )
        self.keys, self.queries = nn.Linear(dim, width), nn.Linear(dim, width)  # W1, W2
        self.gate = nn.Linear(2 * width, width)
        self.reduce = nn.Linear(2 * width, width)
        self.classifier = nn.Linear(dim + width, n_classes)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def _layer(config: MMERConfig) -> AttentionLayer:
        return AttentionLayer(
            Attention(config.hidden, HEADS, config.dropout),
            config.hidden,
            4 * config.hidden,
            config.dropout,
            inner_dropout=0.0,
            activation=nn.GELU,
            eps=EPS,
        )

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Map the features of audio and text to logits."""
        a = self.encoders["audio"](batch["audio"])
        t = self.dropout(self.encoders["text"](batch["text"]))
        no_audio, no_text = (beyond(batch[name]) for name in ("audio", "text"))
        s = self.text(t, t, hidden=no_text)
        p = self.text_to_audio(s, self.keys(a), hidden=no_audio, unread=no_text)
        q = self.audio_to_text(self.queries(a), s, hidden=no_text)
        r = self.text_to_both(s, q, hidden=no_audio)
        gate = self.gate(torch.cat([r, p], dim=2)).sigmoid()
        m = torch.cat([r, gate * p], dim=2)
        z = torch.cat([maximum(a, batch["audio"]), self.reduce(maximum(m, batch["text"]))], dim=1)
        return Output(self.classifier(z), z.new_zeros(0))
