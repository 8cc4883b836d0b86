"""Average encoded modalities over time, for the systems that align nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cfia.model.encoder import Sequences


def time_means(
    encoders: nn.ModuleDict, batch: Mapping[str, Sequences], masked: bool
) -> dict[str, Tensor]:
    """Average the output (B, T', K) of each modality's encoder over time, to (B, K).

    Args:
        masked: the mean is over each utterance's own length, beyond which the encoder returns 0;
            otherwise over all T' positions, as with `mask: none`.
    """
    means = {}
    for name, encoder in encoders.items():
        y = encoder(batch[name])
        lengths = batch[name].counts.to(y)[:, None] if masked else y.shape[1]
        means[name] = y.sum(dim=1) / lengths
    return means
