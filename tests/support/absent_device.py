"""A GPU that is not here: what training asks of one, on a machine without.

`Pretended` is the processor, used as a GPU is. And tensors on torch's device "meta" have shapes and
no values: a step there takes every branch that it takes on a GPU, and what would wait for a GPU's
values cannot be computed.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import TorchDispatchMode

from cfia.training import device as devices
from cfia.training import feature_cache
from cfia.training.device import Device
from cfia.training.feature_cache import Room
from cfia.training.free_memory import Free
from cfia.upstream import checkpoint, origin

META = torch.device("meta")
aten = torch.ops.aten
# Their results depend on values: `x.item()`, `float(x)`, `if x`, `x[x > 0]`.
READS = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default)
# In inference mode `x.to(device)` is one operator.
COPIES = (
    aten._to_copy.default,
    aten.copy_.default,
    aten.to.dtype_layout,
    aten.to.device,
)


class Pretended(Device):
    """The processor as a device: what is sent there is copied, and lost on the host.

    What comes back is there when a point behind it is finished, and no number before.
    """

    apart = True

    def __init__(self, device: torch.device):
        super().__init__(device)
        self.unfinished: list[object] = []
        self.coming: list[tuple[Tensor, Tensor]] = []

    def copy(self, x: Tensor) -> Tensor:
        copied = x.clone()
        x.fill_(-1 if x.dtype == torch.long else torch.nan)
        return copied

    def send(self, x: Tensor) -> Tensor:
        return self.copy(x.clone())

    def back(self, x: Tensor) -> Tensor:
        room = torch.full_like(x, torch.nan)
        self.coming.append((room, x))
        return room

    def point(self) -> Any:
        self.unfinished.append(object())
        return self.unfinished[-1]

    def finish(self, point: Any) -> None:
        if point is not None:
            self.unfinished.remove(point)
        while self.coming:
            room, x = self.coming.pop()
            room.copy_(x)


@contextlib.contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch, free: int = 10**9) -> Iterator[None]:
    """Let trainings take the processor for a GPU with so much free memory, in the block."""

    def on(device: torch.device, jobs: int) -> Room:
        return Room(device, Free(free, "on the GPU"), jobs)

    with monkeypatch.context() as context:
        context.setattr(devices, "of", Pretended)
        context.setattr(feature_cache.Room, "on", on)
        yield


@contextlib.contextmanager
def pretended_encoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let encoders that are to run on a GPU take the processor for one, in the block."""

    def place(model: Any, device: str) -> Any:
        assert device == "cuda"
        return model

    with monkeypatch.context() as context:
        context.setattr(devices, "of", Pretended)
        context.setattr(checkpoint, "place", place)
        context.setattr(origin, "_gpu", lambda: "a pretended GPU")
        yield


class WaitsError(AssertionError):
    """A step that waits for its device."""


class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators on the device, and refuses those that let the CPU wait for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        kinds = {x.device.type for x in (*args, found) if isinstance(x, Tensor)}
        if "meta" in kinds:
            self.counts[str(func)] += not func.is_view
            between = func in COPIES and len(kinds) > 1
            if func in READS or (between and not _non_blocking(args, kwargs)):
                raise WaitsError(f"{func} waits for the device")
        return found


def _non_blocking(args: Any, kwargs: Any) -> bool:
    return bool(kwargs.get("non_blocking") or args[2:] == (True,) or args[3:4] == (True,))


class _OneCall(torch.autograd.Function):
    """The states of a GRU by one operator, and its gradients by none, as cuDNN has them by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, *weights)
        return x.new_empty(len(x), size)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, *weights = ctx.saved_tensors
        return (x.detach(), None, *(weight.detach() for weight in weights))


def _gru(gru: nn.GRU, packed: PackedSequence) -> tuple[PackedSequence, None]:
    states = _OneCall.apply(packed.data, 2 * gru.hidden_size, *gru.parameters())  # type: ignore[no-untyped-call]
    return PackedSequence(states, packed.batch_sizes), None


@contextlib.contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Watch what is computed on "meta" in the block; autocast does not know it."""
    with monkeypatch.context() as context, Watched() as mode:
        context.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        context.setattr(nn.GRU, "forward", _gru)
        context.setattr(Tensor, "new_tensor", None)  # it copies, and no mode sees that
        yield mode
