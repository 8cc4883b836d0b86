"""Compute the weight of audio at each position of a stack of CFIA modules."""

from __future__ import annotations

import torch
from torch import Tensor

from cfia.model.equations import EquationStack


@torch.no_grad()
def audio_weight(stack: EquationStack, X_a: Tensor, X_t: Tensor, valid: Tensor) -> Tensor:
    """Compute the weight w of audio in the last `F_fusion = w X_a + (1 - w) X_t`.

    It is the same for all channels.

    Each module weighs mixtures of the first inputs. With `gate_i` its weight of audio (`A_a`,
    Eq. 9), `h_i = 2^-(i-1)` and `G_0 = 0`, it is `w_i = G_{i-1} + h_i gate_i`, and
    `G_i = G_{i-1} + h_i gate_i / 2`.

    Args:
        stack: of one module at least.
        X_a: (B, C, T, F) audio, `X_t` text, `valid` (B, T), as the stack takes them.

    Returns:
        (B, T, F), from 0 to 1.
    """
    gates: list[Tensor] = []
    hooks = [
        module.get_submodule("gate").register_forward_hook(lambda *call: gates.append(call[2][0]))
        for module in stack.modules_
    ]
    try:
        stack(X_a, X_t, valid, ())
    finally:
        for hook in hooks:
            hook.remove()
    weight = G = torch.zeros_like(gates[0])
    h = 1.0
    for gate in gates:
        weight = G + h * gate
        G, h = G + h * gate / 2, h / 2
    return weight[:, 0]
