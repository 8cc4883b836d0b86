"""Show the progress of a job, with the time that is left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

REPORT_EVERY = 30.0  # seconds between two lines in a log

T = TypeVar("T")

_log = logging.getLogger(__name__)


def progress(items: Iterable[T], done: int, total: int, title: str, unit: str) -> Iterator[T]:
    """Show progress over the items that are left: a bar on a terminal, lines in a log.

    Args:
        done, total: how many were done before, and how many there are with them.
        title: what is worked on.
        unit: what an item is called.
    """
    if done:
        _log.info("%s: going on behind %s %d of %d", title, unit, done, total)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=title, initial=done, total=total, unit=unit)
        return
    began = reported = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= REPORT_EVERY or done + count == total:
            reported = now
            left = (now - began) / count * (total - done - count)
            _log.info("%s: %s %d of %d, %d s left", title, unit, done + count, total, left)
