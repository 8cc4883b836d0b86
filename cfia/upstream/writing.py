"""Archive what was encoded in a thread, while a GPU encodes what follows."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WAITING = 1  # batches that wait for the one that is written; all of them are in memory

T = TypeVar("T")


@contextlib.contextmanager
def beside(write: Callable[[T], None]) -> Iterator[Callable[[T], None]]:
    """Call `write` in a thread of its own, in the order of what the block gives it.

    Who gives more than can wait waits for the first. An error of `write` is raised there, or where
    the block ends, and nothing is written behind it. What was given before another error of the
    block is written; before an interrupt, what is begun.
    """
    begun: deque[Future[None]] = deque()

    def turn(item: T, before: Future[None] | None) -> None:
        if before is not None:
            before.result()  # an error of it is this one's, too
        write(item)

    def give(item: T) -> None:
        if len(begun) > WAITING:
            begun.popleft().result()
        begun.append(pool.submit(turn, item, begun[-1] if begun else None))

    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        try:
            yield give
        except Exception:
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        for future in begun:
            future.result()
