"""Several processes over a list."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cfia.errors import UserError
from cfia.inference.inputs import Recording, with_pictures
from cfia.processes import in_processes
from tests.signals import heed_signals
from tests.support.processes import alive, eventually, left_of_group


def test_results_come_in_the_order_of_their_tasks() -> None:
    def work(number: int) -> tuple[int, int]:
        time.sleep(0.002 * (number % 3))
        return number, os.getpid()

    results = list(in_processes(work, range(60), 2))
    assert [number for number, _ in results] == list(range(60))
    assert len({process for _, process in results} - {os.getpid()}) == 2


def test_no_more_is_begun_than_is_soon_wanted() -> None:
    begun = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield number

    with contextlib.closing(in_processes(str, tasks(), 2)) as results:
        assert next(results) == "0"
        assert len(begun) < 20
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_named() -> None:
    def work(number: int) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match="a process was killed, perhaps for want of memory"):
        list(in_processes(work, range(9), 2))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_ends_all_processes_at_once(sent: signal.Signals) -> None:
    program = """
import os, time
from cfia.processes import in_processes
def work(task):
    os.write(1, b"%d\\n" % os.getpid())  # at once, where two may write
    time.sleep(60)
list(in_processes(work, range(2), 2))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=heed_signals,
    ) as process:
        assert process.stdout is not None
        children = [int(process.stdout.readline()) for _ in range(2)]
        process.send_signal(sent)
        process.wait(timeout=20)
    eventually("a process is left", lambda: not any(map(alive, children)))


def test_what_a_process_has_started_ends_with_it_and_nothing_else_is_started() -> None:
    program = """
import subprocess
from cfia.processes import in_processes
def work(task):
    print(task, flush=True)
    subprocess.run(["sleep", "60"])
list(in_processes(work, range(8), 2))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=heed_signals,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
    assert left_of_group(process.pid) == []


def test_no_picture_is_drawn_over_another() -> None:
    keys = ["a", "a-2", "a", "b/c", "a", "", "b_c"]
    named = with_pictures([Recording(key, key) for key in keys], Path("to"))
    names = [str(recording.picture) for recording in named]
    assert names[:4] == ["to/a", "to/a-2", "to/a-3", "to/b_c"]
    assert len(set(names)) == len(names)
