"""Progress with the time that is left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

# Seconds between two lines of progress in a log.
REPORT_EVERY = 30.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


def progress(
    items: Iterable[T], total: int, title: str, unit: str, done: int = 0, *, last: bool = True
) -> Iterator[T]:
    """Show progress over the items that are left: a bar on a terminal, lines in a log.

    Args:
        total: of all items, those included that were `done` before.
        last: whether a log has a line about the last item in any case.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=title, initial=done, total=total, unit=unit)
        return
    began = reported = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= REPORT_EVERY or (last and done + count == total):
            reported = now
            left = (now - began) / count * (total - done - count)
            _log.info("%s: %s %d of %d, %d s left", title, unit, done + count, total, left)
