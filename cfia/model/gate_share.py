"""What CFIA-Net takes from the audio at each position (conf/README.md, section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cfia.model.equations import EquationStack


@dataclass(frozen=True)
class Share:
    """The share of audio in one utterance.

    Attributes:
        part: the part of the fold that it is in: train, valid or test.
        share: (T, F), the share of audio, from 0 to 1.
        shift: seconds from one position to the next.
        text: how many positions the text takes, from the first one on.
    """

    utt: str
    part: str
    share: npt.NDArray[np.float32]
    shift: float
    text: int


@torch.no_grad()
def audio_share(stack: EquationStack, X_a: Tensor, X_t: Tensor, valid: Tensor) -> Tensor:
    """The share s of audio in the last `F_fusion = s X_a + (1 - s) X_t`, the same for all channels.

    Each module weighs mixtures of the first inputs. With `gate_i` its weight of audio (`A_a`,
    Eq. 9), `h_i = 2^-(i-1)` and `G_0 = 0`, it is `s_i = G_{i-1} + h_i gate_i`, and
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
    share = G = torch.zeros_like(gates[0])
    h = 1.0
    for gate in gates:
        share = G + h * gate
        G, h = G + h * gate / 2, h / 2
    return share[:, 0]
