"""Compute the CFIA stack in closed form, for a block of utterances that stays in cache.

With `D = X_a - X_t` of the first module's inputs, the equations of `equations.py` make everything
later `X_t` plus a scalar field over (t, f) times `D`. Modules from 0, `h_i = 2^-i`, `G_0 = 0`:

    audio input   X_t + (G_i + h_i) D               gate_i   A_a of Eq. 9
    text input    X_t + G_i D                       G_{i+1} = G_i + h_i gate_i / 2
    F_fusion      X_t + (G_i + h_i gate_i) D
    audio output  X_t + (G_{i+1} + h_{i+1}) D
    text output   X_t + G_{i+1} D

So a module needs sums of `X_t` and `D` over the channels (for the gate, see `gate_weights.py`) and
over the positions, weighted by `G_i` (for the global average pooling), and no tensor of its own of
their size. The gradients are in `closed_form_gradient.py`.

Shapes: b utterances, C channels, N = T*F positions, n modules, k taps of the convolution along T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from cfia.model.fast.gate_weights import Seen, Weights


class Readout(NamedTuple):
    """A part of the classifier's input: `text X_t + K D`.

    The field is `K = last G_n + before G_{n-1} + constant`.
    """

    text: float
    last: float
    before: float
    constant: float

    def field(self, G: list[Tensor]) -> Tensor:
        """Compute `K`, (b, N)."""
        return self.last * G[-1] + self.before * G[-2] + self.constant


def readouts(classifier_input: str, n_modules: int) -> list[Readout]:
    """List the parts of the classifier's input, which are concatenated along the channels."""
    h = 0.5**n_modules
    return {
        "fusion": [Readout(1, 2, -1, 0)],  # G_{n-1} + h_{n-1} gate_{n-1}
        "sum": [Readout(2, 2, 0, h)],
        "concat": [Readout(1, 1, 0, h), Readout(1, 1, 0, 0)],
    }[classifier_input]


class Pairs(NamedTuple):
    """The self-consistency terms. An output of a module is `X_t + (G_{i+1} + offset) D`.

    Attributes:
        modules: (deep, shallow).
        shallow: (pairs, modalities, 1), the offset of the shallow output.
        apart: (pairs, modalities, 1), the offset of the shallow output less that of the deep one.
        detach: whether the deep output is a constant target.
    """

    modules: list[tuple[int, int]]
    shallow: Tensor
    apart: Tensor
    detach: bool

    def difference(self, gates: Sequence[Tensor]) -> Tensor:
        """Subtract the deep outputs' fields from the shallow ones', (b, pairs, modalities, N).

        It starts from the gates, since the difference of two `G` would lose digits.
        """
        steps = [-(0.5 ** (i + 1)) * gate for i, gate in enumerate(gates)]
        fields = [
            sum(steps[shallow + 2 : deep + 1], start=steps[shallow + 1])
            for deep, shallow in self.modules
        ]
        return torch.stack(fields, dim=1).unsqueeze(2) + self.apart


class Form(NamedTuple):
    """A stack in closed form: weights and constants that are the same for every block."""

    weights: Weights
    reads: list[Readout]
    pairs: Pairs


@dataclass
class Block:
    """A few utterances.

    Attributes:
        X, D: (b, C, T, F), contiguous: `X_t` and `X_a - X_t`.
        frames: (b, 1), how many of T are valid.
        scratch: (b, C, T, F), anything.
    """

    X: Tensor
    D: Tensor
    frames: Tensor
    scratch: Tensor

    def energy(self) -> Tensor:
        """Sum D^2 over the channels, (b, N)."""
        return torch.mul(self.D, self.D, out=self.scratch).sum(dim=1).flatten(1)

    def over_time(self, field: Tensor) -> Tensor:
        """Sum D, weighted by a field (b, N), over time: (b, C, F)."""
        return torch.mul(self.D, self.grid(field), out=self.scratch).sum(dim=2)

    def from_time(self, weights: Tensor) -> Tensor:
        """Sum D, weighted by (b, C, F), over the channels: (b, N), the transpose of `over_time`."""
        return torch.mul(self.D, weights.unsqueeze(2), out=self.scratch).sum(dim=1).flatten(1)

    def grid(self, field: Tensor) -> Tensor:
        """Reshape a field (b, N) to (b, 1, T, F)."""
        return field.view(len(field), 1, *self.D.shape[2:])

    def count(self) -> Tensor:
        """Count the valid positions, (b, 1)."""
        return self.frames * self.D.shape[3]


def over_channels(rows: Tensor, X: Tensor) -> Tensor:
    """Sum over the channels with R sets of weights: (b, R, C), (b, C, T, F) to (b, R, N)."""
    return torch.bmm(rows, X.flatten(2))


def over_positions(fields: Tensor, X: Tensor) -> Tensor:
    """Sum over the positions with R sets of weights: (b, R, N), (b, C, T, F) to (b, R, C)."""
    return torch.bmm(fields, X.flatten(2).transpose(1, 2))


def convolve(taps: Tensor) -> Tensor:
    """Move each of k taps (b, k, T, F) to its place along T, and sum them, (b, T, F)."""
    k, T = taps.shape[1:3]
    if k == 1:
        return taps[:, 0]
    padded = pad(taps, (0, 0, k // 2, k // 2))
    return torch.stack([padded[:, j, j : j + T] for j in range(k)]).sum(dim=0)


def to_taps(field: Tensor, k: int) -> Tensor:
    """Apply the transpose of `convolve`: (b, T, F) to (b, k, T, F)."""
    if k == 1:
        return field.unsqueeze(1)
    padded = pad(field, (0, 0, k // 2, k // 2))
    return padded.unfold(1, field.shape[1], 1).flip(1).transpose(2, 3)


def grown(G: Tensor, i: int, gate: Tensor) -> Tensor:
    """Compute `G_{i+1}` from `G_i` and the gate of module i."""
    return G + 0.5 ** (i + 1) * gate


class Kept(NamedTuple):
    """The values of the forward pass that the backward pass needs, for each utterance.

    Attributes:
        gates: (b, n, N), the weight of audio at each position.
        energy: (b, N), the sum over the channels of D^2; (b, 0) where there is no pair.
        mean, hidden, W: as of `Seen`.
    """

    gates: Tensor
    energy: Tensor
    mean: Tensor
    hidden: Tensor
    W: Tensor

    def seen(self) -> Seen:
        """Give the part that the gates were computed from."""
        return Seen(self.mean, self.hidden, self.W)


def forward(form: Form, block: Block) -> tuple[Tensor, Tensor, Kept]:
    """Compute the stack on a block.

    Returns:
        (b, K, F), the mean over time of the classifier's input; (b, pairs, modalities), the
        squared distances of the shallow from the deep outputs; and values for the backward pass.
    """
    D = block.D
    X_over_time = block.X.sum(dim=2)
    text, difference = X_over_time.sum(dim=2), D.flatten(2).sum(dim=2)  # over positions, (b, C)
    G = [torch.zeros_like(D[:, 0]).flatten(1)]
    gates: list[Tensor] = []
    seen = []
    for i in range(len(form.weights.bias)):
        h = 0.5**i
        of_text = text + over_positions(G[i].unsqueeze(1), D).squeeze(1) if i else text
        mean = torch.cat([of_text + h * difference, of_text], dim=1) / block.count()
        hidden, W = form.weights.attention(i, mean)
        gates.append(_gate(form.weights, i, W, G[i], block))
        seen.append(Seen(mean, hidden, W))
        G.append(grown(G[i], i, gates[i]))
    pooled = [read.text * X_over_time + block.over_time(read.field(G)) for read in form.reads]
    energy = block.energy() if form.pairs.modules else D.new_zeros(len(D), 0)
    side_by_side = (torch.stack(kind, dim=1) for kind in zip(*seen, strict=True))
    return (
        torch.cat(pooled, dim=1) / block.frames.unsqueeze(2),
        _squares(form.pairs, gates, energy),
        Kept(torch.stack(gates, dim=1), energy, *side_by_side),
    )


def _gate(weights: Weights, i: int, W: Tensor, G: Tensor, block: Block) -> Tensor:
    """Compute the weight of audio in module i, (b, N)."""
    on_audio, on_text = weights.rows(i, W)
    on_both, k = on_audio + on_text, on_audio.shape[1]
    of_D = over_channels(torch.cat([on_both, on_audio], dim=1), block.D)
    taps = over_channels(on_both, block.X).add_(of_D[:, k:], alpha=0.5**i)
    taps.addcmul_(of_D[:, :k], G.unsqueeze(1))
    logit = convolve(taps.view(len(W), k, *block.D.shape[2:]))
    return torch.sigmoid(logit + weights.bias[i]).flatten(1)


def _squares(pairs: Pairs, gates: list[Tensor], energy: Tensor) -> Tensor:
    if not pairs.modules:
        return energy.new_zeros(len(energy), 0, 0)
    # Not a matrix product: `sum` adds pairwise, and keeps the digits that the terms' roots need.
    return pairs.difference(gates).square_().mul_(energy[:, None, None]).sum(dim=3)
