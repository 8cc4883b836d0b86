"""Modality dropout: in training, some utterances lack one of their two modalities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfia.model.transfer import to_device


def draw(n: int, share: float, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Draw which of `n` utterances lack the first modality, and which the second: booleans (N,).

    An utterance lacks one of them with the probability `share`, either of the two as likely. Seed
    and epoch alone determine it, so that neither batches nor a killed job change it.
    """
    # A list of seeds, so that it has nothing to do with the order of the utterances.
    drawn = torch.from_numpy(np.random.default_rng([seed, epoch]).random(n))
    first = drawn < share / 2
    return first, (drawn < share) & ~first


class ModalityDropout:
    """What the encoder of a missing modality gives is 0.

    So `X` is 0 in CFIA-Net, as that of the absent modality is in its audio-only and text-only forms
    (Table 2), and nothing is learnt from its features; the self-consistency terms stay. Source:
    ModDrop (Neverova et al., TPAMI 2016), but here no utterance ever lacks both.

    Args:
        model: with an encoder for each of two modalities in `encoders`; in evaluation mode it is
            left as it is. With a share of 0 it is always, and may have one modality.
        n: how many utterances are trained on.
    """

    def __init__(self, model: nn.Module, share: float, n: int, seed: int):
        self.share, self.n, self.seed = share, n, seed
        self._epoch: dict[str, Tensor] = {}  # which of all utterances lack the modality
        self._batch: dict[str, Tensor] = {}  # which of the batch
        self._encoders = model.get_submodule("encoders") if share else nn.ModuleDict()
        for name, encoder in self._encoders.named_children():
            encoder.register_forward_hook(self._hook(name))

    def begin(self, epoch: int) -> None:
        """Draw for the utterances of an epoch."""
        names = [name for name, _ in self._encoders.named_children()]
        if names:
            drawn = draw(self.n, self.share, self.seed, epoch)
            self._epoch = dict(zip(names, drawn, strict=True))

    def of_batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Say which utterances the next batch has; give those without each modality, (B,)."""
        self._batch = {name: missing[list(indices)] for name, missing in self._epoch.items()}
        return self._batch

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def leave_out(encoder: nn.Module, _: Any, encoded: Tensor) -> Tensor:
            if not encoder.training:
                return encoded
            missing = to_device(self._batch[name], encoded.device)
            return encoded.masked_fill(missing[:, None, None], 0)

        return leave_out
