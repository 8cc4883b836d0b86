"""Map frozen features to the intermediate features `X_a`, `X_t` of shape C x T x F."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cfia.model.fast import packed
from cfia.model.fast.gru import bigru, padded, rows
from cfia.model.transfer import to_device
from cfia.networks import ModelConfig

Layers = Mapping[str, int] | None
"""How many layers of a frozen encoder are side by side in each modality's features; None: 1."""


@dataclass
class Sequences:
    """A batch of sequences of one modality.

    Attributes:
        data: (B, T, D), 0 beyond each length.
        lengths: (B,), on the CPU, at least 1.
        counts: the same where `data` is.
    """

    data: Tensor
    lengths: Tensor
    counts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.counts = to_device(self.lengths, self.data.device)

    def valid(self) -> Tensor:
        """Mark the positions within each length: (B, T) in {0, 1}, in the type of `data`."""
        return position_mask(self.counts, self.data.shape[1]).to(self.data)


def position_mask(lengths: Tensor, size: int) -> Tensor:
    """Mark the positions within each length: (B,) to booleans (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class Normaliser(nn.Module):
    """Input normalisation: none, per utterance, or by statistics of the training utterances.

    The statistics are buffers, so that a checkpoint holds them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, kind: str):
        super().__init__()
        self.kind = kind
        if kind == "global":
            self.register_buffer("mean", torch.zeros(dim))
            self.register_buffer("std", torch.ones(dim))

    def forward(self, x: Sequences) -> Tensor:
        """Normalise (B, T, D), with 0 beyond each length."""
        if self.kind == "none":
            return x.data
        valid = x.valid().unsqueeze(2)
        if self.kind == "global":
            return (x.data - self.mean) / self.std * valid
        count = valid.sum(dim=1, keepdim=True)
        centred = (x.data - x.data.sum(dim=1, keepdim=True) / count) * valid
        variance = centred.square().sum(dim=1, keepdim=True) / count
        return centred / (variance + STD_FLOOR**2).sqrt()


STD_FLOOR = 1e-5  # keeps a dimension that never varies finite


class LayerSum(nn.Module):
    """A learnt weighted sum of an encoder's layers, as in SUPERB (Yang et al. 2021, section 3).

    The weights pass through a softmax. At the start they are equal, so that the sum is the mean.
    """

    def __init__(self, layers: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Sum (B, T, layers * D), the layers side by side, to (B, T, D)."""
        side_by_side = x.reshape(*x.shape[:2], len(self.weights), -1)
        return torch.einsum("btnd,n->btd", side_by_side, self.weights.softmax(dim=0))


class InputLayer(nn.Module):
    """Normalisation of frozen features, and the sum of their layers; with nothing behind it here.

    Args:
        dim: the width of a frame.
        layers: how many layers of a frozen encoder are side by side in a frame; more than one are
            summed, with learnt weights, behind the normalisation of each dimension.
    """

    def __init__(self, dim: int, config: ModelConfig, layers: int):
        super().__init__()
        self.normaliser = Normaliser(dim, config.normalisation)
        self.layer_sum = LayerSum(layers) if layers > 1 else nn.Identity()

    def prepare(self, x: Sequences) -> Tensor:
        """Normalise and sum: (B, T, D) to (B, T, D / layers)."""
        summed: Tensor = self.layer_sum(self.normaliser(x))
        return summed

    def forward(self, x: Sequences) -> Tensor:
        """Map (B, T, D) to (B, T, K), exactly 0 beyond each length."""
        return self.prepare(x)


class BiGRU(InputLayer):
    """Normalisation and Bi-GRU of one modality."""

    def __init__(self, dim: int, config: ModelConfig, layers: int = 1):
        super().__init__(dim, config, layers)
        self.masked = config.mask == "full"
        self.max_frames = config.max_frames
        dim //= layers
        self.gru = nn.GRU(dim, config.hidden, config.layers, batch_first=True, bidirectional=True)

    def forward(self, x: Sequences) -> Tensor:
        """Map (B, T, D) to the states (B, T', 2H); see `of_states`."""
        return self.of_states(x, lambda states: states)

    def of_states(self, x: Sequences, then: Callable[[Tensor], Tensor]) -> Tensor:
        """Map (B, T, D) to the states (..., 2H), and these by `then` to (B, T', K).

        With `mask: full`, T' = T, nothing is computed on padding, and the output is exactly 0
        beyond each length. With `mask: none`, input padded with zeros to T' = `max_frames` goes
        through everything.
        """
        data = self.prepare(x)
        lengths = x.lengths if self.masked else torch.full_like(x.lengths, self.max_frames)
        size = data.shape[1] if self.masked else self.max_frames
        if data.device.type == "cpu":
            ragged = bigru(self.gru, rows(data, x.lengths), lengths, x.lengths)
            return padded(then(ragged), lengths, size)
        return self._by_cudnn(data, lengths, size, then)

    def _by_cudnn(
        self, data: Tensor, lengths: Tensor, size: int, then: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Run the GRU of cuDNN: (B, T, D) by the states (M, 2H) to (B, size, K)."""
        plan = packed.packing(lengths, size, data.device)
        # Autocast would run it in float16, whose small gradients vanish, whatever it is asked for.
        with torch.autocast(data.device.type, enabled=False):
            data = data.to(next(self.gru.parameters()).dtype)
            if size > data.shape[1]:
                data = nn.functional.pad(data, (0, 0, 0, size - data.shape[1]))
            states = packed.run(self.gru, data, plan)
        return packed.padded(then(states), plan, size)


class Encoder(BiGRU):
    """Normalisation, Bi-GRU and `Linear(2H -> C*F)` of one modality (section 2.1)."""

    def __init__(self, dim: int, config: ModelConfig, layers: int = 1):
        super().__init__(dim, config, layers)
        self.linear = nn.Linear(2 * config.hidden, config.channels * config.features)

    def forward(self, x: Sequences) -> Tensor:
        """Encode (B, T, D) as (B, T', C*F); see `of_states`."""
        return self.of_states(x, self.linear)


def encoders(
    dims: Mapping[str, int],
    config: ModelConfig,
    layers: Layers = None,
    kind: type[InputLayer] = Encoder,
) -> nn.ModuleDict:
    """Build an encoder for each modality, given the widths of their features."""
    counts = layers or {}
    return nn.ModuleDict(
        {name: kind(dim, config, counts.get(name, 1)) for name, dim in dims.items()}
    )


def widths(dims: Mapping[str, int], layers: Layers = None) -> dict[str, int]:
    """Give the width of each modality's frames behind an `InputLayer`."""
    return {name: dim // (layers or {}).get(name, 1) for name, dim in dims.items()}


def stretch_to_frames(y: Tensor, lengths: Tensor, targets: Tensor, size: int) -> Tensor:
    """Stretch each utterance's tokens over its audio frames by linear interpolation.

    Token 0 is placed on frame 0, the last token on the last frame (`align: interpolate`). It is a
    product, as is its gradient, which takes less time than to gather rows and to weigh them; and on
    a GPU the gradient of a gather would sort the places of all numbers, to be the same each time.

    Args:
        y: (B, L, K), the tokens.
        lengths: (B,), the number of tokens of each utterance, where `y` is.
        targets: (B,), the number of audio frames of each utterance, there too.
        size: the number of frames of the output.

    Returns:
        (B, size, K), exactly 0 beyond `targets`.
    """
    token, frame = (torch.arange(n, device=y.device) for n in (y.shape[1], size))
    last = (lengths - 1)[:, None].double()  # a float32 step would add up errors over long audio
    step = last / (targets - 1).clamp(min=1)[:, None]
    place = (frame * step).minimum(last)  # (B, size), from 0 to the last token
    weights = (1 - (place.unsqueeze(2) - token).abs()).clamp(min=0).to(y)  # (B, size, L)
    return (weights * position_mask(targets, size).unsqueeze(2)) @ y
