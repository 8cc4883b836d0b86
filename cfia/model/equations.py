"""The CFIA stack as the paper writes it, one module per equation block: the oracle.

Source: "Cross-modal Features Interaction-and-Aggregation Network with Self-consistency Training
for Speech Emotion Recognition", sections 2.1, 2.3 and 2.4; the numbers in the comments are the
paper's equations. Shapes: batch B, channels C, time T, features F.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cfia.model.consistency import PairLoss, pairs
from cfia.networks import ModelConfig


@dataclass
class StackOutput:
    """The output of a stack.

    Attributes:
        pooled: (B, K, F), the mean over time of the classifier's input; K is C, or 2C for
            `classifier_input: concat`.
        terms: (pairs,), one self-consistency loss per pair of modules, unweighted.
    """

    pooled: Tensor
    terms: Tensor


class ChannelAttention(nn.Module):
    """Map the pooled channels of both modalities to `W_a` and `W_t` (Eq. 3)."""

    def __init__(self, channels: int, reduction: int, mlp: str):
        super().__init__()
        middle = max(1, channels // reduction)
        outputs = [channels, channels] if mlp == "two" else [2 * channels]
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * channels, middle), nn.ReLU(), nn.Linear(middle, size))
            for size in outputs
        )

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 2C) to two vectors (B, C) in (0, 1)."""
        weights = torch.sigmoid(torch.cat([mlp(pooled) for mlp in self.mlps], dim=1))
        W_a, W_t = weights.chunk(2, dim=1)
        return W_a, W_t


class SpatialGate(nn.Module):
    """Map `I_a, I_t` to the weights `A_a, A_t` of the modalities at each (t, f) (Eq. 7-10)."""

    def __init__(self, channels: int, features: int, kernel: int, gate_conv: str):
        super().__init__()
        self.mixing = gate_conv == "mixing"
        if self.mixing:  # 1-D over T, all channels and features at once
            size, padding = 2 * channels * features, kernel // 2
            maps: list[nn.Module] = [
                nn.Conv1d(size, features, kernel, padding=padding) for _ in range(2)
            ]
        else:  # the channels alone; `kernel` positions along T
            shape, edges = (kernel, 1), (kernel // 2, 0)
            maps = [nn.Conv2d(2 * channels, 1, shape, padding=edges) for _ in range(2)]
        self.to_a, self.to_t = maps

    def forward(self, I_a: Tensor, I_t: Tensor) -> tuple[Tensor, Tensor]:
        """Map two (B, C, T, F) to two (B, 1, T, F) that sum to one."""
        both = torch.cat([I_a, I_t], dim=1)  # (B, 2C, T, F)
        F_a, F_t = self._map(self.to_a, both), self._map(self.to_t, both)  # Eq. 7, 8
        A = torch.softmax(torch.stack([F_a, F_t]), dim=0)  # Eq. 9, 10
        return A[0], A[1]

    def _map(self, convolution: nn.Module, both: Tensor) -> Tensor:
        if not self.mixing:
            mapped: Tensor = convolution(both)
            return mapped
        flat = both.transpose(2, 3).flatten(1, 2)  # (B, 2C*F, T)
        mixed: Tensor = convolution(flat).transpose(1, 2).unsqueeze(1)  # (B, 1, T, F)
        return mixed


class CFIA(nn.Module):
    """One cross-modal features interaction-and-aggregation module (Eq. 3-11)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention = ChannelAttention(config.channels, config.reduction, config.mlp)
        self.gate = SpatialGate(config.channels, config.features, config.kernel, config.gate_conv)

    def forward(self, X_a: Tensor, X_t: Tensor, valid: Tensor) -> Tensor:
        """Fuse two (B, C, T, F), 0 where not `valid` (B, T), to F_fusion (B, C, T, F)."""
        pooled = mean_over_time(torch.cat([X_a, X_t], dim=1), valid).mean(dim=2)  # (B, 2C)
        W_a, W_t = self.attention(pooled)  # Eq. 3
        X_a1 = W_a[:, :, None, None] * X_a  # Eq. 4
        X_t1 = W_t[:, :, None, None] * X_t
        I_a = X_a + X_t1  # Eq. 5
        I_t = X_t + X_a1  # Eq. 6
        A_a, A_t = self.gate(I_a, I_t)  # Eq. 7-10
        fusion: Tensor = X_a * A_a + X_t * A_t  # Eq. 11
        return fusion


class EquationStack(nn.Module):
    """`n_modules` CFIA modules in a row, the mean over time, and the self-consistency terms."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.modules_ = nn.ModuleList(CFIA(config) for _ in range(config.n_modules))
        self.classifier_input = config.classifier_input
        self.pair_loss = PairLoss(config.consistency_loss, config.detach)
        self.pairs = pairs(config.n_modules) if config.consistency else []

    def forward(
        self, X_a: Tensor, X_t: Tensor, valid: Tensor, used: tuple[str, ...]
    ) -> StackOutput:
        """Fuse the two modalities.

        Args:
            X_a: (B, C, T, F) audio, exactly 0 where not valid; so `X_t` for text.
            valid: (B, T) in {0, 1}, the positions that means and losses count.
            used: the modalities whose self-consistency terms count, of "audio" and "text".
        """
        fusion = X_a + X_t  # the classifier's input where there is no module (Table 4 iii)
        inputs = {"audio": X_a, "text": X_t}
        outputs: dict[str, list[Tensor]] = {"audio": [], "text": []}
        for module in self.modules_:
            fusion = module(inputs["audio"], inputs["text"], valid)
            for name, X in inputs.items():
                inputs[name] = (fusion + X) / 2  # Eq. 1, 2
                outputs[name].append(inputs[name])
        terms = [
            sum(
                (
                    self.pair_loss(outputs[name][deep], outputs[name][shallow], valid)
                    for name in used
                ),
                start=fusion.new_zeros(()),
            )  # Eq. 13-15
            for deep, shallow in self.pairs
        ]
        classified = self._classified(fusion, inputs["audio"], inputs["text"])
        return StackOutput(
            pooled=mean_over_time(classified, valid),
            terms=torch.stack(terms) if terms else fusion.new_zeros(0),
        )

    def _classified(self, fusion: Tensor, F_a: Tensor, F_t: Tensor) -> Tensor:
        if self.classifier_input == "fusion":
            return fusion
        if self.classifier_input == "sum":
            return F_a + F_t
        return torch.cat([F_a, F_t], dim=1)


def mean_over_time(X: Tensor, valid: Tensor) -> Tensor:
    """Average (B, C, T, F), 0 where not valid, over the valid positions: (B, C, F)."""
    return X.sum(dim=2) / valid.sum(dim=1)[:, None, None]
