"""A terminal for tests of utils/run.py: what its lines look like to a person."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.shell.jobs import RUN

PIECES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|.", re.DOTALL)


class Terminal:
    """A pseudo-terminal that understands no more than the sequences that run.py may send."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        self.sent = b""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """Give the window another width."""
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

    def read(self, seconds: float = 0) -> None:
        """Take what has been sent, waiting for it up to some seconds."""
        while select.select([self._ours], [], [], seconds)[0]:
            self.sent += os.read(self._ours, 4096)
            seconds = 0

    def lines(self, begin: int = 0) -> list[str]:
        """The lines on the screen, by what was sent from a byte on."""
        rows, y, x = [""], 0, 0
        for piece in PIECES.findall(self.sent[begin:].decode()):
            if piece == "\r":
                x = 0
            elif piece == "\n":
                y += 1
                rows += [""] * (y == len(rows))
            elif piece == "\x1b[A":
                y -= 1
            elif piece in ("\x1b[K", "\x1b[J"):
                rows[y] = rows[y][:x]
                if piece == "\x1b[J":
                    del rows[y + 1 :]
            else:
                assert piece.isprintable(), f"{piece!r} reaches the terminal"
                rows[y] = rows[y][:x].ljust(x) + piece + rows[y][x + 1 :]
                x += 1
        return rows

    def wait_for(self, truth: Callable[[list[str]], bool], begin: int = 0) -> list[str]:
        """Wait until the screen is as wished; its lines."""
        until = time.monotonic() + 30
        while not truth(self.lines(begin)):
            assert time.monotonic() < until, self.lines(begin)
            self.read(0.1)
        return self.lines(begin)

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@contextlib.contextmanager
def on_terminal(
    cwd: Path, *arguments: str, columns: int = 80
) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """Start run.py with its messages on a terminal."""
    terminal = Terminal(columns)
    command = [sys.executable, str(RUN), *arguments]
    process = subprocess.Popen(command, cwd=cwd, stderr=terminal.theirs)
    try:
        yield terminal, process
    finally:
        process.terminate()
        process.wait()
        terminal.close()
