"""CFIA-Net: two encoders, the CFIA stack, and a classifier (Figure 1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cfia.model.encoder import Layers, Sequences, encoders, position_mask, stretch_to_frames
from cfia.model.equations import EquationStack, mean_over_time
from cfia.model.fast.fused import FusedStack
from cfia.model.pretrained import Network
from cfia.networks import ModelConfig

log = logging.getLogger(__name__)


@dataclass
class Output:
    """The output of a network for a batch.

    Attributes:
        logits: (B, classes).
        terms: (pairs,), the unweighted self-consistency losses; empty where there are none.
        parts: logits (B, classes) that learn in place of `logits`, each from a cross entropy of
            its own; empty where `logits` learn.
        unimodal: logits (B, classes) of each modality's own mean over time, by the same classifier;
            empty where they were not asked for.
    """

    logits: Tensor
    terms: Tensor
    parts: tuple[Tensor, ...] = ()
    unimodal: dict[str, Tensor] = field(default_factory=dict)


class Classifier(nn.Sequential):
    """(B, K) to logits (B, classes): dropout, a hidden layer if asked for, one linear layer."""

    def __init__(self, size: int, n_classes: int, config: ModelConfig):
        layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(config.dropout)]
        if config.classifier_hidden:
            layers += [nn.Linear(size, config.classifier_hidden), nn.ReLU()]
            size = config.classifier_hidden
        super().__init__(*layers, nn.Linear(size, n_classes))


def build_stack(config: ModelConfig) -> EquationStack:
    """Build the stack in the form of `config.stack`, or as equations, which cover all options."""
    if config.stack == "fused" and config.gate_conv == "mixing":
        log.info("gate_conv: mixing has no closed form; the stack runs on the equations")
        return EquationStack(config)
    return FusedStack(config) if config.stack == "fused" else EquationStack(config)


class CFIANet(Network):
    """The network of the paper, bimodal, audio-only or text-only.

    A Bi-GRU and a linear layer bring each modality to C channels of T x F; a stack of CFIA modules
    gates the two against each other, with self-consistency losses; the mean over time is
    classified. Source: the paper on CFIA-Net, Figure 1 and equations 3 to 18, whose code is not
    public; conf/README.md says how what it leaves open was read.

    Args:
        dims: the width of the features of each modality in use, of "audio" and "text". Where one
            is missing its `X` is 0, so that a CFIA module becomes a gate on the other, and its
            self-consistency terms are dropped; `unimodal: bypass` leaves the modules out.
        layers: as of `encoders`.
    """

    def __init__(
        self, dims: dict[str, int], n_classes: int, config: ModelConfig, layers: Layers = None
    ):
        super().__init__()
        self.config = config
        self.encoders = encoders(dims, config, layers)
        bypassed = len(dims) == 1 and config.unimodal == "bypass"
        self.stack = None if bypassed else build_stack(config)
        double = self.stack is not None and config.classifier_input == "concat"
        size = (2 if double else 1) * config.channels * config.features
        self.classifier = Classifier(size, n_classes, config)

    def forward(self, batch: dict[str, Sequences], *, unimodal: bool = False) -> Output:
        """Map the features of each modality in use to logits and self-consistency losses.

        Args:
            unimodal: give the logits of each modality's own mean over time, too. By the closed form
                the fused features lie between the two modalities, so that one classifier can take
                all three.
        """
        X, valid = self.intermediate(batch)
        first = next(iter(X.values()))
        if self.stack is None:
            return Output(self.classifier(mean_over_time(first, valid)), first.new_zeros(0))
        zero = first.new_zeros(()).expand_as(first)
        stacked = self.stack(X.get("audio", zero), X.get("text", zero), valid, tuple(X))
        output = Output(self.classifier(stacked.pooled), stacked.terms)
        if unimodal:
            output.unimodal = self.classify_each(
                {name: mean_over_time(features, valid) for name, features in X.items()}
            )
        return output

    def classify_each(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map the mean over time (B, C, F) of each modality to logits (B, classes)."""
        return {name: self.classifier(mean) for name, mean in means.items()}

    def intermediate(self, batch: dict[str, Sequences]) -> tuple[dict[str, Tensor], Tensor]:
        """Map features to each modality's aligned `X` (B, C, T, F) and to `valid` (B, T)."""
        y = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        lengths = {name: batch[name].counts for name in y}
        if len(y) == 2:
            y["text"], lengths["text"] = self._align(y, lengths)
        size = max(part.shape[1] for part in y.values())
        y = {
            name: nn.functional.pad(part, (0, 0, 0, size - part.shape[1]))
            for name, part in y.items()
        }
        longest = torch.stack(list(lengths.values())).max(dim=0).values
        if self.config.mask == "none":
            longest = torch.full_like(longest, size)  # every mean divides by max_frames
        valid = position_mask(longest, size).to(next(iter(y.values())))
        return {name: self._to_channels(part) for name, part in y.items()}, valid

    def _to_channels(self, y: Tensor) -> Tensor:
        """Reshape (B, T, C*F) to (B, C, T, F)."""
        shape = (*y.shape[:2], self.config.channels, self.config.features)
        return y.reshape(shape).transpose(1, 2)

    def _align(self, y: dict[str, Tensor], lengths: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Put the text (B, T, C*F) on the time axis of the audio; return its lengths there too."""
        if self.config.align == "pad":
            return y["text"], lengths["text"]
        size = y["audio"].shape[1]
        return stretch_to_frames(y["text"], lengths["text"], lengths["audio"], size), lengths[
            "audio"
        ]
