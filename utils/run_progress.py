"""Show the progress of a job of run.py: the tasks done and left, and the last line of one's log."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from datetime import timedelta

EVERY = 300.0  # seconds from line to line where there is no terminal
LOOKED_AT = 8192  # bytes of a log's end
# Colours, moves of the cursor, titles of the window; the remains of others are blanked.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


class Progress:
    """Two lines that are written over on a terminal; elsewhere one line every EVERY seconds.

    Args:
        total: tasks of the job.
        say: writes a message.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say = total, say
        self._began = time.monotonic()
        self._next = self._began + EVERY
        self._on_screen = False

    def show(self, waiting: int, running: int, failed: int, oldest: tuple[int, str, int]) -> None:
        """Show the counts, and the last line of one task: its number, log, and the head's bytes."""
        number, log, head = oldest
        terminal = in_foreground()
        if not terminal and time.monotonic() < self._next:
            return
        state, line = self._state(waiting, running, failed), last_line(log, head)
        if line:
            state += f"; task {number}:" if self._total > 1 else ":"
        # A terminal that is gone, or a full disk, is no reason to end the job.
        with contextlib.suppress(OSError):
            if terminal:
                self._write_over(state, line)
            else:
                self._next = time.monotonic() + EVERY
                self._say(f"{state} {line}".rstrip())

    def clear(self) -> None:
        """Take the lines off the terminal."""
        with contextlib.suppress(OSError):
            if self._on_screen and in_foreground():
                _write("\r\033[J")

    def _state(self, waiting: int, running: int, failed: int) -> str:
        done = self._total - waiting - running
        seconds = int(time.monotonic() - self._began)
        text = f"{done}/{self._total} done, {running} running" if self._total > 1 else "running"
        if failed:
            text += f", {failed} failed"
        if done:
            return f"{text}, about {timedelta(seconds=seconds * (self._total - done) // done)} left"
        return f"{text}, {timedelta(seconds=seconds)} so far"

    def _write_over(self, state: str, line: str) -> None:
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
        # The cursor goes back to where the first line begins: that is where it begins whatever
        # becomes of the lines when the window is made narrower.
        below = f"\n{cut(line, width)}\033[J\033[A" if line else "\033[J"
        _write(f"\r{_head(state, width)}\033[K{below}\r")
        self._on_screen = True


def in_foreground() -> bool:
    """Whether stderr is a terminal to write over: in the background, a job would disturb others."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:  # a terminal from which nobody controls us
        return True


def last_line(log: str, head: int) -> str:
    """Read the last line of a log behind its head that is not blank; "" if there is none yet.

    Of a progress bar, which writes over its own line, it is the last state.
    """
    try:
        with open(log, "rb") as handle:
            handle.seek(max(head, handle.seek(0, os.SEEK_END) - LOOKED_AT))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    pieces = (_printable(piece).strip() for piece in reversed(re.split("[\r\n]", text)))
    return next(filter(None, pieces), "")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in ESCAPES.sub("", text))


def cut(line: str, width: int) -> str:
    """Cut a line to at most `width` columns: keep its beginning and most of its end."""
    for text in (line, " ".join(line.split())):
        if _head(text, width) == text:
            return text
    begin = _head(text, width // 6)
    rest = width - 1 - sum(map(_columns, begin))
    return f"{begin}…{_head(text[::-1], rest)[::-1]}" if width > 0 else ""


def _head(text: str, width: int) -> str:
    """Take the beginning of a text, at most `width` columns."""
    for end, char in enumerate(text):
        width -= _columns(char)
        if width < 0:
            return text[:end]
    return text


def _columns(char: str) -> int:
    """Count the columns of a character; one too many for those that join with others."""
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _write(text: str) -> None:
    encoding = sys.stderr.encoding
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
    sys.stderr.flush()
