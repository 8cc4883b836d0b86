"""Several processes over a list, in its order, with little of it in memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from cfia.errors import UserError

_AHEAD = 4  # tasks of each process that are begun, or done and waited for

T = TypeVar("T")
R = TypeVar("R")


def in_processes(
    work: Callable[[T], R], tasks: Iterable[T], number: int
) -> Generator[R, None, None]:
    """Yield `work(task)` for each task, in their order.

    The processes are forks of this one: what `work` knows is not copied, and no library is
    imported again. When the generator is closed, by an error or an interrupt too, they end at once.

    Args:
        work: tasks and results pass through pipes, `work` itself does not.

    Raises:
        UserError: a process was killed.
    """
    pending: deque[Future[R]] = deque()
    with pool_of(work, number) as begin:
        for task in tasks:
            if len(pending) >= _AHEAD * number:
                yield pending.popleft().result()
            pending.append(begin(task))
        while pending:
            yield pending.popleft().result()


@contextlib.contextmanager
def pool_of(work: Callable[[T], R], number: int) -> Iterator[Callable[[T], Future[R]]]:
    """Start processes for the block, which gives them tasks by the function that it gets.

    They part at once, so they know nothing of what this process opens or loads in the block. With
    the block they end; where an error or an interrupt ends it, at once.

    Args:
        work, number: as of `in_processes`, as are the errors.
    """
    others = set(multiprocessing.active_children())
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(number, mp_context=fork, initializer=_begin, initargs=(work,))
    try:
        pool.submit(os.getpid)  # a pool of forks starts them all with its first task
        yield lambda task: pool.submit(_work, task)
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a process was killed, perhaps for want of memory; give fewer (--nj)"
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_task_of: Callable[[Any], Any]  # of a process of the pool


def _begin(work: Callable[[Any], Any]) -> None:
    global _task_of
    _task_of = work
    # Who interrupts the program interrupts all of its processes: each ends what it has started, and
    # begins no other task.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(task: Any) -> Any:
    try:
        return _task_of(task)
    except SystemExit:  # which the pool would send as the task's result
        os._exit(1)


def _end(*_: object) -> None:
    raise SystemExit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
