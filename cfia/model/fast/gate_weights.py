"""Compute the channel weights with which the gates of CFIA modules see inputs, and gradients.

The softmax over the two maps of Eq. 9-10 is the sigmoid of their difference, which is affine in a
module's inputs. With `u`, `v` the difference of the two convolutions' weights on `I_a` and on
`I_t`, Eq. 4-6 make its weight on the audio input `u + v W_a`, and on the text input `v + u W_t`.

Shapes: n modules, b utterances, C channels, k taps of the convolution along T, M the width of the
channel MLPs' hidden layers, side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Weights(NamedTuple):
    """The parameters of all modules, each kind in one tensor.

    Attributes:
        inner, inner_bias: (n, M, 2C), (n, M): the first layers of the MLPs (Eq. 3).
        outer, outer_bias: (n, 2C, M), (n, 2C): their second layers, to `W_a` and `W_t`.
        u, v: (n, k, C).
        bias: (n,), the difference of the two convolutions' biases.
    """

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor
    u: Tensor
    v: Tensor
    bias: Tensor

    def attention(self, i: int, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Apply Eq. 3 of module i: (b, 2C) to the hidden layers (b, M) and `W_a`, `W_t` (b, 2C)."""
        hidden = torch.addmm(self.inner_bias[i], mean, self.inner[i].T).relu_()
        return hidden, torch.addmm(self.outer_bias[i], hidden, self.outer[i].T).sigmoid_()

    def rows(self, i: int, W: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the weights (b, k, C) on module i's audio and text inputs from `W_a`, `W_t`."""
        W_a, W_t = W.unsqueeze(1).chunk(2, dim=2)
        return torch.addcmul(self.u[i], self.v[i], W_a), torch.addcmul(self.v[i], self.u[i], W_t)


def weights_of(modules: Iterable[nn.Module]) -> Weights:
    """Collect the weights of `CFIA` modules, differentiably."""
    parts = [_weights(dict(module.named_parameters())) for module in modules]
    return Weights(*(torch.stack(kind) for kind in zip(*parts, strict=True)))


def _weights(parameters: dict[str, Tensor]) -> Weights:
    def of_mlps(name: str) -> list[Tensor]:
        return [value for key, value in parameters.items() if key.endswith(name)]

    a, t = ({kind: parameters[f"gate.to_{m}.{kind}"] for kind in ("weight", "bias")} for m in "at")
    u, v = (a["weight"] - t["weight"])[0, :, :, 0].T.chunk(2, dim=1)
    return Weights(
        inner=torch.cat(of_mlps(".0.weight")),
        inner_bias=torch.cat(of_mlps(".0.bias")),
        outer=torch.block_diag(*of_mlps(".2.weight")),  # type: ignore[no-untyped-call]
        outer_bias=torch.cat(of_mlps(".2.bias")),
        u=u,
        v=v,
        bias=(a["bias"] - t["bias"])[0],
    )


class Seen(NamedTuple):
    """The values from which the gates of all modules were computed, for each utterance.

    Attributes:
        mean: (b, n, 2C), the global average pooling of audio and text.
        hidden: (b, n, M), `W`: (b, n, 2C), of `Weights.attention`.
    """

    mean: Tensor
    hidden: Tensor
    W: Tensor


class Slopes(NamedTuple):
    """Gradients, utterance by utterance, of the values that depend on the weights.

    Attributes:
        audio, text: (b, n, k, C), for the rows on the audio and on the text input.
        logits: (b, n, 2C), for `W_a`, `W_t` before the sigmoid; hidden: (b, n, M), before the ReLU.
        bias: (b, n).
    """

    audio: Tensor
    text: Tensor
    logits: Tensor
    hidden: Tensor
    bias: Tensor


def through_attention(
    weights: Weights, i: int, seen: Seen, audio: Tensor, text: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take gradients (b, k, C) of module i's rows back to its logits, hidden layers and means."""
    W = seen.W[:, i]
    to_W = torch.cat([(weights.v[i] * audio).sum(dim=1), (weights.u[i] * text).sum(dim=1)], dim=1)
    logits = to_W * W * (1 - W)
    hidden = logits @ weights.outer[i] * (seen.hidden[:, i] > 0)
    return logits, hidden, hidden @ weights.inner[i]


def gradients(seen: Seen, slopes: Slopes) -> Weights:
    """Compute the gradients of the weights, summed over the utterances."""
    W_a, W_t = seen.W.unsqueeze(2).chunk(2, dim=3)
    return Weights(
        inner=torch.einsum("bnm,bnc->nmc", slopes.hidden, seen.mean),
        inner_bias=slopes.hidden.sum(dim=0),
        outer=torch.einsum("bnc,bnm->ncm", slopes.logits, seen.hidden),
        outer_bias=slopes.logits.sum(dim=0),
        u=torch.addcmul(slopes.audio, slopes.text, W_t).sum(dim=0),
        v=torch.addcmul(slopes.text, slopes.audio, W_a).sum(dim=0),
        bias=slopes.bias.sum(dim=0),
    )
