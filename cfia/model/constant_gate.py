"""Controls of the gate: a learnt share of audio that does not depend on the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cfia.config import ModelConfig
from cfia.model.encoder import Sequences
from cfia.model.equations import mean_over_time
from cfia.model.network import CFIANet, Output


class OneShare(CFIANet):
    """`X = s X_a + (1 - s) X_t` in place of the CFIA modules, s one number for all positions.

    By its closed form (conf/README.md, section 7) a CFIA module is such a mixture with a share of
    its own at each (t, f), computed from the input; what that is worth is what these controls
    leave out.
    s is the sigmoid of a parameter that starts at 0: at first X is the mean of the modalities.
    A missing modality is 0, as in CFIA-Net.
    """

    def __init__(
        self,
        dims: dict[str, int],
        n_classes: int,
        config: ModelConfig,
        layers: Mapping[str, int] | None = None,
    ):
        without_modules = dataclasses.replace(
            config, n_modules=0, consistency=[], classifier_input="fusion"
        )
        super().__init__(dims, n_classes, without_modules, layers)
        self.share = nn.Parameter(self.initial_share(config))

    def initial_share(self, config: ModelConfig) -> Tensor:
        """The parameter whose sigmoid is the share of audio, broadcast over (B, C, F)."""
        return torch.zeros(())

    def forward(self, batch: dict[str, Sequences]) -> Output:
        """Features of each modality used to logits."""
        X, valid = self.intermediate(batch)
        # The share is the same for all t, so the mean over time may come first.
        means = {name: mean_over_time(part, valid) for name, part in X.items()}  # (B, C, F)
        shares = {"audio": self.share.sigmoid(), "text": (-self.share).sigmoid()}
        mixed = torch.stack([shares[name] * mean for name, mean in means.items()]).sum(dim=0)
        return Output(self.classifier(mixed), mixed.new_zeros(0))


class SharePerFeature(OneShare):
    """`X = s_f X_a + (1 - s_f) X_t`: one share for each of the F features."""

    def initial_share(self, config: ModelConfig) -> Tensor:
        """(F,) zeros."""
        return torch.zeros(config.features)
