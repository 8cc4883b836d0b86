"""Run a bidirectional GRU over ragged batches on a CPU: the numbers of `nn.GRU`, in less time.

torch runs packed sequences through one small matrix product per time step and direction, and their
backward pass through several more. Here the input projection of all frames and both directions is
one product, as are the gradients of the weights; only the recurrence is a loop, over both
directions at once. What is left is bound by the products of the input.

Shapes: batch B, utterances' frames one after another N, positions that the recurrence visits M,
features D, hidden H. The gates are in torch's order r, z, n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Schedule:
    """The order in which the positions of a batch pass through the recurrence.

    At each step every utterance that is long enough moves on by one position, the longest first:
    forwards from its first, backwards from its last. Rows of gates and of states come in pairs, one
    for each direction.

    Attributes:
        sizes: how many utterances move at each step; never more than at the step before.
        source: (2M,), the row of gates of each position, all of one direction and then of the
            other; 2N and 2N + 1 for positions whose input is zero.
        states: (2M,), the row of states of each position, in the same order.
        places: (2M,), the inverse of `states`.
        taken: (2N,), the place in that order of each row of gates.
        before: (M - B,), the place of the state before each position behind the first step, in
            either direction.
    """

    sizes: list[int]
    source: Tensor
    states: Tensor
    places: Tensor
    taken: Tensor
    before: Tensor


def schedule(lengths: Tensor, filled: Tensor) -> Schedule:
    """Make the schedule of a batch.

    Args:
        lengths: (B,), how many positions of each utterance the recurrence visits.
        filled: (B,), how many of them have an input; those that follow have zeros.
    """
    order = lengths.argsort(descending=True, stable=True)
    starts, rows = ((counts.cumsum(0) - counts)[order] for counts in (lengths, filled))
    length, n_filled = lengths[order], filled[order]
    step = torch.arange(int(length[0]))[:, None]
    active = step < length  # (T, B)
    source, states = [], []
    for direction, position in enumerate((step.expand_as(active), length - 1 - step)):
        row = torch.where(position < n_filled, rows + position, filled.sum())
        source.append(2 * row[active] + direction)
        states.append(2 * (starts + position)[active] + direction)
    pairs = torch.cat(states)
    places = torch.empty_like(pairs)
    places[pairs] = torch.arange(len(pairs))
    sources = torch.cat(source)
    taken = torch.empty(2 * int(filled.sum()) + 2, dtype=torch.long)
    taken[sources] = torch.arange(len(sources))
    sizes = active.sum(1)
    begins = sizes.cumsum(0) - sizes
    before = (begins[:-1, None] + torch.arange(len(lengths)))[active[1:]]
    return Schedule(sizes.tolist(), sources, pairs, places, taken[:-2], before)


def rows(data: Tensor, lengths: Tensor) -> Tensor:
    """Take the frames within the lengths, one utterance after another: (B, T, D) to (N, D)."""
    flat = data.flatten(0, 1)
    if int(lengths.sum()) == len(flat):
        return flat
    return flat.index_select(0, _positions(lengths, data.shape[1]))


def padded(y: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Undo `rows`: (N, D) to (B, size, D), exactly 0 beyond each length."""
    shape = (len(lengths), size, y.shape[1])
    if len(y) == len(lengths) * size:
        return y.view(shape)
    flat = y.new_zeros(len(lengths) * size, y.shape[1])
    return flat.index_copy(0, _positions(lengths, size), y).view(shape)


def _positions(lengths: Tensor, size: int) -> Tensor:
    """List the indices of the frames within the lengths among all B * size."""
    return (torch.arange(size) < lengths[:, None]).flatten().nonzero().squeeze(1)


def bigru(gru: nn.GRU, x: Tensor, lengths: Tensor, filled: Tensor) -> Tensor:
    """Apply a bidirectional `gru` to a batch.

    Args:
        gru: any number of layers, without dropout.
        x: (N, D), the frames of one utterance after another, as `rows` gives them.
        lengths, filled: as for `schedule`. N is the sum of `filled`.

    Returns:
        (M, 2H), all positions of one utterance after another.
    """
    plan = schedule(lengths, filled)
    for layer in range(gru.num_layers):
        names = (f"l{layer}", f"l{layer}_reverse")
        kinds = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        both = (torch.stack([getattr(gru, f"{kind}_{name}") for name in names]) for kind in kinds)
        x = _BiGRU.apply(x, *both, plan)  # type: ignore[no-untyped-call]
        if layer == 0 and gru.num_layers > 1:
            plan = schedule(lengths, lengths)
    return x


class _BiGRU(torch.autograd.Function):
    """One layer. Weights and biases are those of the two directions, stacked."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any,
        x: Tensor,  # (N, D)
        w_ih: Tensor,  # (2, 3H, D)
        b_ih: Tensor,  # (2, 3H)
        w_hh: Tensor,  # (2, 3H, H)
        b_hh: Tensor,  # (2, 3H)
        plan: Schedule,
    ) -> Tensor:
        H = w_hh.shape[2]
        bias = b_ih.clone()
        bias[:, : 2 * H] += b_hh[:, : 2 * H]  # that of n stands within the reset gate
        projected = x.new_empty(len(x) + 1, 6 * H)
        torch.addmm(bias.flatten(), x, w_ih.flatten(0, 1).t(), out=projected[:-1])
        projected[-1] = bias.flatten()  # of a zero frame
        gates = projected.view(-1, 3 * H).index_select(0, plan.source).view(2, -1, 3 * H)
        hidden, inner = _recur(gates, w_hh, b_hh[:, 2 * H :], plan.sizes)
        ctx.save_for_backward(x, w_ih, w_hh, gates, inner, hidden)
        ctx.plan = plan
        return hidden.view(-1, H).index_select(0, plan.places).view(-1, 2 * H)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, inner, hidden = ctx.saved_tensors
        plan, H = ctx.plan, w_hh.shape[2]
        d_hidden = dy.reshape(-1, H).index_select(0, plan.states).view_as(hidden)
        previous = torch.zeros_like(hidden)  # 0 before the first
        torch.index_select(hidden, 1, plan.before, out=previous[:, plan.sizes[0] :])
        _, z, n = torch.split(gates, H, dim=2)
        of_n = torch.ops.aten.tanh_backward(1 - z, n)
        slopes = _slopes(gates, inner, previous, of_n)
        d_gates = _recur_back(d_hidden, slopes, z, w_hh, plan.sizes)  # of W_hh h
        dw_hh = torch.bmm(d_gates.transpose(1, 2), previous)
        db_hh = d_gates.sum(1)
        # Of W_ih x they are the same, but for n, which stands there outside the reset gate.
        torch.mul(d_hidden, of_n, out=d_gates[..., 2 * H :])
        db_ih = d_gates.sum(1)
        d_projected = d_gates.view(-1, 3 * H).index_select(0, plan.taken).view(-1, 6 * H)
        dw_ih = (d_projected.t() @ x).view_as(w_ih)
        dx = d_projected @ w_ih.flatten(0, 1) if ctx.needs_input_grad[0] else None
        return dx, dw_ih, db_ih, dw_hh, db_hh, None


def _recur(gates: Tensor, w_hh: Tensor, bias: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Run the recurrence of both directions, on (2, M, .) in the schedule's order.

    Args:
        gates: (2, M, 3H), what the inputs give to r, z and n; they become r, z and n.
        bias: (2, H), that of n within the reset gate.

    Returns:
        The states and what the reset gate multiplies, (2, M, H) each.
    """
    H = w_hh.shape[2]
    weights = w_hh.transpose(1, 2).contiguous()
    hidden, inner = gates.new_empty(2, gates.shape[1], H), gates.new_empty(2, gates.shape[1], H)
    parts = (gates[..., : 2 * H], *torch.split(gates, H, dim=2), inner, hidden)
    h = gates.new_zeros(2, sizes[0], H)
    for size, rz, r, z, n, n_h, out in zip(
        sizes, *(torch.split(part, sizes, dim=1) for part in parts), strict=True
    ):
        h = h[:, :size]
        recurrent = torch.bmm(h, weights)
        rz.add_(recurrent[..., : 2 * H]).sigmoid_()
        torch.add(recurrent[..., 2 * H :], bias[:, None], out=n_h)
        n.addcmul_(r, n_h)
        n.mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh, which torch computes in four times the time
        h = torch.lerp(n, h, z, out=out)  # (1 - z) n + z h
    return hidden, inner


def _recur_back(
    d_hidden: Tensor, slopes: Tensor, z: Tensor, w_hh: Tensor, sizes: list[int]
) -> Tensor:
    """Run the recurrence in reverse: `d_hidden` (2, M, H) becomes the whole state's gradient.

    Returns:
        (2, M, 3H), the gradients of what the state before gives to r, z and n.
    """
    d_gates = torch.empty_like(slopes)
    steps = zip(
        *(torch.split(part, sizes, dim=1) for part in (d_hidden, slopes, z, d_gates)), strict=True
    )
    carried = d_hidden.new_zeros(2, 0, d_hidden.shape[2])  # from the step that follows
    for dh, slope, z_step, out in reversed(list(steps)):
        dh[:, : carried.shape[1]].add_(carried)
        torch.mul(dh.unsqueeze(2), slope, out=out)
        carried = torch.bmm(out.flatten(2), w_hh).addcmul_(dh, z_step)
    return d_gates.flatten(2)


def _slopes(gates: Tensor, inner: Tensor, previous: Tensor, of_n: Tensor) -> Tensor:
    """Differentiate the state by the previous state's contributions to r, z, n: (2, M, 3, H).

    `of_n` (2, M, H) is its derivative by the argument of tanh.
    """
    slopes = torch.empty_like(gates).view(*gates.shape[:2], 3, -1)
    r, z, n = gates.view_as(slopes).unbind(2)
    slopes[:, :, 0] = torch.ops.aten.sigmoid_backward(of_n * inner, r)
    slopes[:, :, 1] = torch.ops.aten.sigmoid_backward(previous - n, z)
    torch.mul(of_n, r, out=slopes[:, :, 2])
    return slopes
