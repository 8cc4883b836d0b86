"""What is written beside an encoder: in order, nothing behind an error, little at a time."""

from __future__ import annotations

import threading
import time

import pytest

from cfia.errors import UserError
from cfia.upstream.writing import WAITING, beside


def is_writing() -> bool:
    return any(thread.name.startswith("write") for thread in threading.enumerate())


def test_all_is_written_in_order_before_the_block_ends() -> None:
    written: list[int] = []
    with beside(written.append) as write:
        for number in range(100):
            write(number)
    assert written == list(range(100))
    assert not is_writing()


def test_no_more_waits_than_may() -> None:
    may, written, given = threading.Semaphore(0), [], []

    def write(number: int) -> None:
        may.acquire()
        written.append(number)

    def work() -> None:
        with beside(write) as give:
            for number in range(6):
                give(number)
                given.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    for count in range(6):
        may.release()
        while len(written) <= count:
            time.sleep(0.001)
        assert len(given) <= count + 2 + WAITING
    thread.join(10)
    assert written == given == list(range(6))


def test_nothing_is_written_behind_an_error_and_it_is_raised() -> None:
    written: list[int] = []

    def write(number: int) -> None:
        if number == 2:
            raise UserError("the disk is full")
        written.append(number)

    with pytest.raises(UserError, match="the disk is full"), beside(write) as give:
        for number in range(50):
            give(number)
    assert written == [0, 1]
    with pytest.raises(UserError, match="the disk is full"), beside(write) as give:
        give(2)
    assert not is_writing()


@pytest.mark.parametrize(("error", "left"), [(UserError, [0, 1]), (KeyboardInterrupt, [0])])
def test_what_was_given_before_an_error_is_written_but_nobody_waits_at_an_interrupt(
    error: type[BaseException], left: list[int]
) -> None:
    begun, may = threading.Event(), threading.Event()
    written: list[int] = []

    def write(number: int) -> None:
        begun.set()
        assert may.wait(10)
        written.append(number)

    with pytest.raises(error), beside(write) as give:
        give(0)
        give(1)
        assert begun.wait(10)
        threading.Timer(0.2, may.set).start()
        raise error
    assert written == left
    assert not is_writing()
