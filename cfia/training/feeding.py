"""Read the batches of an epoch ahead, in a thread, while the step before them computes."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from cfia.model.encoder import Sequences
from cfia.training import device as devices
from cfia.training.dataset import Dataset
from cfia.training.device import Device

AHEAD = 1  # batches that are read while one is computed; at 512 frames of 768 numbers 50 MB each
UNFINISHED = 2  # steps that a GPU may be behind; each holds a batch there

Features = dict[str, Sequences]
# What was sent of each modality, and when it is there.
Sent = tuple[dict[str, Tensor], torch.cuda.Event | None]


@contextlib.contextmanager
def feeding(
    data: Dataset, plan: Sequence[list[int]], device: torch.device
) -> Iterator[Iterator[Features]]:
    """Read batches ahead, in order; with its block ends the reading, too, whatever ends it.

    To a GPU they are copied by the thread, while the steps before them are computed there.

    Args:
        plan: the utterances of each batch, by their index.

    Yields:
        The batches on the device. What the thread raises is raised where its batch is asked for.
    """
    kind = devices.of(device)
    with ThreadPoolExecutor(1, thread_name_prefix="feeding") as thread:
        try:
            yield _batches(data, plan, kind, thread)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def _batches(
    data: Dataset, plan: Sequence[list[int]], device: Device, thread: ThreadPoolExecutor
) -> Iterator[Features]:
    waiting: deque[Future[Sent]] = deque()
    steps: deque[torch.cuda.Event | None] = deque([None] * UNFINISHED)
    for place in range(len(plan) + AHEAD):
        if place < len(plan):
            # The memory of a batch is taken here: what a thread takes, glibc keeps apart in small
            # heaps, and gives back to the system whenever it is freed.
            room = data.empty(plan[place], device)
            waiting.append(thread.submit(_read, data, room, plan[place], device))
            del room
        if place < AHEAD:
            continue
        tensors, there = waiting.popleft().result()
        device.receive(there, tensors.values())
        batch = data.sequences(tensors, plan[place - AHEAD])
        del tensors
        yield batch
        del batch
        # Without a bound the steps would be given to a GPU long before it computes them.
        steps.append(device.point())
        device.finish(steps.popleft())


def _read(data: Dataset, room: dict[str, Tensor], indices: list[int], device: Device) -> Sent:
    data.fill(room, indices)
    with device.aside():
        return data.send(room, device), device.aside_point()
