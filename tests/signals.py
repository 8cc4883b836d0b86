"""Signals for the processes that tests start."""

from __future__ import annotations

import signal


def heed_signals() -> None:
    """Heed what ends a program by hand, as `preexec_fn`.

    Under nohup, and in the background of a script, the tests ignore SIGHUP and SIGINT, and what
    they start would too.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
