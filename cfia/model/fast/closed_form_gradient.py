"""Compute the gradients of the closed form for a block of utterances that stays in cache.

`X_t` and `D` count as independent: a gradient `g` of `X_t + G D` gives `g` to `X_t`, `G g` to `D`,
and the sum over the channels of `g D` to `G`. In the end `X_a` gets what `D` got, and `X_t` what it
got itself less what `D` got. Both are sums of products of rows of channels with fields, plus `D`
times a field (the consistency loss), and are multiplied out once, at the end. Symbols and shapes as
in `closed_form.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cfia.model.fast.closed_form import (
    Block,
    Form,
    Kept,
    Pairs,
    grown,
    over_channels,
    over_positions,
    to_taps,
)
from cfia.model.fast.gate_weights import Slopes, through_attention


@dataclass
class Gradient:
    """The gradient of `X_a` or `X_t` in factors.

    Attributes:
        everywhere: (b, C), the same at all positions.
        reads: for each part of what is classified, weights (b, C, F) and a field (b, N).
        difference: (b, N), the field that D is multiplied by, or None.
        rows: (b, R, C), and fields: (b, R, N), of the products.
    """

    everywhere: Tensor
    reads: list[tuple[Tensor, Tensor]]
    difference: Tensor | None
    rows: Tensor
    fields: Tensor

    def write(self, block: Block, out: Tensor) -> None:
        """Multiply out into `out`, a (b, C, T, F)."""
        target = out if out.is_contiguous() else block.scratch
        total = self.everywhere[:, :, None, None]
        for weights, field in self.reads:
            total = torch.addcmul(total, weights.unsqueeze(2), block.grid(field), out=target)
        if self.difference is not None:
            target.addcmul_(block.D, block.grid(self.difference))
        target.view(*self.rows.shape[::2], -1).baddbmm_(self.rows.transpose(1, 2), self.fields)
        if target is not out:
            out.copy_(target)


class _FromModule(NamedTuple):
    """A module's part of the gradients of `X_a` and `X_t`, in the factors of `Gradient`."""

    audio_everywhere: Tensor
    text_everywhere: Tensor
    fields: Tensor
    audio_rows: Tensor
    text_rows: Tensor


def backward(
    form: Form, block: Block, kept: Kept, to_pooled: Tensor, to_squares: Tensor
) -> tuple[Slopes, Gradient, Gradient]:
    """Compute the gradients of a block: for the weights, of `X_a` and of `X_t`.

    Args:
        kept: of the forward pass.
        to_pooled, to_squares: the gradients of the other two outputs of the forward pass.
    """
    gates = kept.gates.unbind(dim=1)
    G = [torch.zeros_like(gates[0])]
    for i, gate in enumerate(gates):
        G.append(grown(G[i], i, gate))
    to_G = [torch.zeros_like(field) for field in G]
    parts = (to_pooled / block.frames.unsqueeze(2)).chunk(len(form.reads), dim=1)
    audio_reads, text_reads = [], []
    for read, part in zip(form.reads, parts, strict=True):
        K, to_K = read.field(G), block.from_time(part)
        to_G[-1] += read.last * to_K
        to_G[-2] += read.before * to_K
        audio_reads.append((part, K))
        text_reads.append((part, read.text - K))
    audio_of_D, text_of_D = _pairs(form.pairs, kept, G, to_G, to_squares)
    slopes: list[Slopes] = []
    modules: list[_FromModule] = []
    for i in reversed(range(len(G) - 1)):
        slope, module = _module(form, i, block, kept, G, to_G)
        slopes.insert(0, slope)
        modules.append(module)
    factors = list(zip(*modules, strict=True))
    audio, text = (torch.stack(factor).sum(dim=0) for factor in factors[:2])
    fields, audio_rows, text_rows = (torch.cat(factor, dim=1) for factor in factors[2:])
    return (
        Slopes(*(torch.stack(kind, dim=1) for kind in zip(*slopes, strict=True))),
        Gradient(audio, audio_reads, audio_of_D, audio_rows, fields),
        Gradient(text, text_reads, text_of_D, text_rows, fields),
    )


def _pairs(
    pairs: Pairs, kept: Kept, G: list[Tensor], to_G: list[Tensor], to_squares: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Add the part of Eq. 13-18 to `to_G`; return the fields of D for `X_a` and `X_t`, (b, N)."""
    if not pairs.modules:
        return None, None
    difference = pairs.difference(kept.gates.unbind(dim=1))
    pull = 2 * to_squares.unsqueeze(3) * difference
    to_shallow = pull.sum(dim=2) * kept.energy.unsqueeze(1)  # (b, pairs, N)
    for j, (deep, shallow) in enumerate(pairs.modules):
        to_G[shallow + 1] += to_shallow[:, j]
        if not pairs.detach:
            to_G[deep + 1] -= to_shallow[:, j]
    if not pairs.detach:
        audio = (pull * difference).sum(dim=(1, 2))
        return audio, -audio
    # The constant target holds X_t and D, so that these get what the shallow output alone gives.
    shallow_G = torch.stack([G[shallow + 1] for _, shallow in pairs.modules], dim=1)
    audio = (pull * (shallow_G.unsqueeze(2) + pairs.shallow)).sum(dim=(1, 2))
    return audio, pull.sum(dim=(1, 2)) - audio


def _module(
    form: Form, i: int, block: Block, kept: Kept, G: list[Tensor], to_G: list[Tensor]
) -> tuple[Slopes, _FromModule]:
    """Go back through module i, once `to_G[i + 1]` is complete; complete `to_G[i]`."""
    h, gate, k = 0.5**i, kept.gates[:, i], form.weights.u.shape[1]
    to_G[i] += to_G[i + 1]
    logit = h / 2 * to_G[i + 1] * gate * (1 - gate)
    taps = to_taps(block.grid(logit).squeeze(1), k).flatten(2)
    fields = torch.cat([taps, taps * G[i].unsqueeze(1)], dim=1) if i else taps
    of_D = over_positions(fields, block.D)
    to_text = over_positions(taps, block.X)
    if i:  # G_0 = 0
        to_text += of_D[:, k:]
    to_audio = to_text + h * of_D[:, :k]
    to_logits, to_hidden, to_mean = through_attention(
        form.weights, i, kept.seen(), to_audio, to_text
    )
    audio, text = (to_mean / block.count()).chunk(2, dim=1)
    pooled = (audio + text).unsqueeze(1)
    on_audio, on_text = form.weights.rows(i, kept.W[:, i])
    on_both = on_audio + on_text
    audio_rows, text_rows = [h * on_audio], [on_both - h * on_audio]
    if i:
        of_D = over_channels(torch.cat([on_both, pooled], dim=1), block.D)
        to_G[i] += (taps * of_D[:, :k]).sum(dim=1) + of_D[:, k]
        fields = torch.cat([fields, G[i].unsqueeze(1)], dim=1)
        audio_rows += [on_both, pooled]
        text_rows += [-on_both, -pooled]
    return (
        Slopes(to_audio, to_text, to_logits, to_hidden, logit.sum(dim=1)),
        _FromModule(
            h * audio,
            text + (1 - h) * audio,
            fields,
            torch.cat(audio_rows, dim=1),
            torch.cat(text_rows, dim=1),
        ),
    )
