"""Controls of the gate: gates that are learnt, but do not depend on the input."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from cfia.model.encoder import Layers, Sequences
from cfia.model.equations import mean_over_time
from cfia.model.network import CFIANet, Output
from cfia.networks import ModelConfig


class ConstantGate(CFIANet):
    """`X = s X_a + (1 - s) X_t` in place of the CFIA modules, with one s for all positions.

    By its closed form (conf/README.md, section 7) a CFIA module is such a mixture, whose s at each
    (t, f) is computed from the input. The difference in scores to these controls shows how much
    that computation contributes. s is the sigmoid of a parameter that starts at 0: at first X is
    the mean of the modalities. A missing modality is 0, as in CFIA-Net.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        without_modules = dataclasses.replace(
            config, n_modules=0, consistency=[], classifier_input="fusion"
        )
        super().__init__(dims, n_classes, without_modules, layers)
        self.share = nn.Parameter(self.initial_gate(config))

    def initial_gate(self, config: ModelConfig) -> Tensor:
        """Make the parameter whose sigmoid is s, broadcast over (B, C, F)."""
        return torch.zeros(())

    def forward(self, batch: dict[str, Sequences], *, unimodal: bool = False) -> Output:
        """Map the features of each modality in use to logits; `unimodal` as in CFIA-Net."""
        X, valid = self.intermediate(batch)
        # s is the same for all t, so the mean over time may come first.
        means = {name: mean_over_time(features, valid) for name, features in X.items()}  # (B, C, F)
        gates = {"audio": self.share.sigmoid(), "text": (-self.share).sigmoid()}
        mixed = torch.stack([gates[name] * mean for name, mean in means.items()]).sum(dim=0)
        output = Output(self.classifier(mixed), mixed.new_zeros(0))
        if unimodal:
            output.unimodal = self.classify_each(means)
        return output


class ConstantGatePerFeature(ConstantGate):
    """`X = s_f X_a + (1 - s_f) X_t`, with one s for each of the F features."""

    def initial_gate(self, config: ModelConfig) -> Tensor:
        """Make (F,) parameters."""
        return torch.zeros(config.features)
