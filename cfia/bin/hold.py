"""Hold a directory for run.sh, whose programs make it one after the other, against other runs.

Prints one line once it holds it, which the variable CFIA_HELD then has for these programs, and ends
with its standard input. Waits for another run that makes the directory.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cfia import lock
from cfia.cli import boolean, parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Hold it; see `cfia.lock.making`."""
    p = parser("hold", __doc__, "sleep 60 | cfia hold dump/fbank")
    p.add_argument("directory", type=Path, help="what is to be made")
    p.add_argument(
        "--force", type=boolean, default=False, help="do not wait: it is made again anyway"
    )
    args = p.parse_args(argv)
    with lock.making(args.directory, force=args.force):
        # A Ctrl-C is for all of the run; what it makes is held until the last of it has ended.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print(lock.description(args.directory), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    run(main)
