"""What a device is to who feeds it: memory to read into, a way there and back, and who waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cfia.model.transfer import to_device


class Device:
    """The processor: batches are computed where they were read, and nobody waits for anything.

    A thread reads, and the main thread takes steps. What `point` and `aside_point` give stands for
    all that the device was given before, by the steps and by the thread. Frozen encoders, of which
    each batch is a step, have no thread: they `send` and `fetch`.

    Attributes:
        apart: whether it computes beside the processor, in memory of its own.
    """

    apart = False

    def __init__(self, device: torch.device):
        self.device = device

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Take memory of the host that `copy` copies from."""
        return torch.empty(shape, dtype=dtype)

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """Let the device work beside its steps in the block, which is the thread's."""
        return contextlib.nullcontext()

    def copy(self, x: Tensor) -> Tensor:
        """Begin to copy from the host; `x` may be let go of, but not written to."""
        return x.to(self.device, non_blocking=True)

    def send(self, x: Tensor) -> Tensor:
        """Begin to copy from any memory of the host; `x` may be let go of."""
        return to_device(x, self.device)

    def back(self, x: Tensor) -> Tensor:
        """Begin to copy to the host; the copy may be read when a later `point` is finished."""
        return x

    def fetch(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy to the host, and wait once for all."""
        found = [self.back(x) for x in tensors]
        self.finish(self.point())
        return found

    def aside_point(self) -> torch.cuda.Event | None:
        """Mark the end of what the thread has begun."""
        return None

    def receive(self, point: torch.cuda.Event | None, tensors: Iterable[Tensor]) -> None:
        """Let the steps that follow begin when these tensors are there, without waiting here."""

    def point(self) -> torch.cuda.Event | None:
        """Mark the end of the steps so far."""
        return None

    def finish(self, point: torch.cuda.Event | None) -> None:
        """Wait until the device has come to a point."""


class GPU(Device):
    """A GPU, which copies from pinned memory by a stream of its own while it computes.

    Pinned memory that was let go of is given out again when its copy is made, and memory of the
    device when the steps are done that use it: torch's allocators see to both, to the latter by
    `record_stream`.
    """

    apart = True

    def __init__(self, device: torch.device):
        super().__init__(device)
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._aside.wait_stream(torch.cuda.current_stream(device))  # what is kept there is there

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Take pinned memory."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """Use the stream for copies in the block."""
        return torch.cuda.stream(self._aside)

    def back(self, x: Tensor) -> Tensor:
        """Begin to copy to pinned memory."""
        return self.empty(*x.shape, dtype=x.dtype).copy_(x, non_blocking=True)

    def aside_point(self) -> torch.cuda.Event | None:
        """Record an event behind the copies."""
        event: torch.cuda.Event = self._aside.record_event()
        return event

    def receive(self, point: torch.cuda.Event | None, tensors: Iterable[Tensor]) -> None:
        """Let the stream of the steps wait for the copies."""
        steps = torch.cuda.current_stream(self.device)
        if point is not None:
            steps.wait_event(point)
        for tensor in tensors:
            tensor.record_stream(steps)

    def point(self) -> torch.cuda.Event | None:
        """Record an event behind the steps; who waits for it leaves the processor to others."""
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def finish(self, point: torch.cuda.Event | None) -> None:
        """Wait for the event."""
        if point is not None:
            point.synchronize()


PROCESSOR = Device(torch.device("cpu"))


def of(device: torch.device) -> Device:
    """Say what a device is to the feeding."""
    return GPU(device) if device.type == "cuda" else Device(device)
