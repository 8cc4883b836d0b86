"""Read the batches of an epoch ahead, in a thread, while the step before them computes."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from cfia.model.encoder import Sequences
from cfia.training.dataset import Dataset

AHEAD = 2  # batches that are ready, or being read, while one is computed

Features = dict[str, Sequences]


@contextlib.contextmanager
def feeding(
    data: Dataset, plan: Sequence[list[int]], device: torch.device
) -> Iterator[Iterator[Features]]:
    """Read batches ahead, in order; with its block ends the reading, too, whatever ends it.

    Args:
        plan: the utterances of each batch, by their index.

    Yields:
        The batches on the device. What the thread raises is raised where its batch is asked for.
    """
    # The memory of a batch is taken here: what a thread takes, glibc keeps apart in small heaps,
    # and gives back to the system whenever it is freed.
    with ThreadPoolExecutor(1, thread_name_prefix="feeding") as thread:
        waiting: deque[Future[Features]] = deque()

        def batches() -> Iterator[Features]:
            for indices in plan:
                waiting.append(thread.submit(data.fill, data.empty(indices), indices))
                if len(waiting) > AHEAD:
                    yield _on(device, waiting.popleft().result())
            while waiting:
                yield _on(device, waiting.popleft().result())

        try:
            yield batches()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def _on(device: torch.device, features: Features) -> Features:
    return {name: Sequences(x.data.to(device), x.lengths) for name, x in features.items()}
