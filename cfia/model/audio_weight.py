"""Compute the weight of audio at each position of a stack of CFIA modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cfia.model.encoder import Sequences
from cfia.model.equations import EquationStack
from cfia.model.network import CFIANet


@dataclass(frozen=True)
class AudioWeight:
    """The weight of audio at each position of one utterance.

    Attributes:
        weight: (T, F), the weight of audio, from 0 to 1.
        frame_shift: seconds from one position to the next.
        text_frames: how many positions the text takes, from the first one on.
    """

    weight: NDArray[np.float32]
    frame_shift: float
    text_frames: int


def has_gates(network: nn.Module) -> bool:
    """Whether a network has a CFIA module between audio and text."""
    return (
        isinstance(network, CFIANet)
        and network.stack is not None
        and len(network.encoders) == 2
        and network.config.n_modules > 0
    )


def equation_stack(network: CFIANet) -> EquationStack:
    """Give the stack of a network with gates in the form of the equations."""
    assert network.stack is not None
    stack = EquationStack(network.config)
    stack.load_state_dict(network.stack.state_dict())
    return stack.to(next(network.parameters()).device).eval()


def of_utterance(
    network: CFIANet, stack: EquationStack, batch: Mapping[str, Sequences], frame_shift: float
) -> AudioWeight:
    """Compute the weights of a batch of one utterance.

    Args:
        network: with gates, in evaluation mode; `stack`: its `equation_stack`.
        frame_shift: seconds from one frame of the audio to the next, as the network takes them.
    """
    with torch.no_grad():
        X, valid = network.intermediate(dict(batch))
    lengths = {name: int(batch[name].lengths[0]) for name in X}
    text = lengths["audio" if network.config.align == "interpolate" else "text"]
    weight = audio_weight(stack, X["audio"], X["text"], valid)[0, : max(lengths["audio"], text)]
    return AudioWeight(weight.cpu().numpy(), frame_shift, text)


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
