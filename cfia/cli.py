"""Run programs, and turn errors into exit codes: 1 for what a message explains, 2 for usage."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence

from cfia.errors import UserError

# Errors of the machine that a user can correct; any other OSError is a fault of cfia.
ENVIRONMENT = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


def parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    """Make an argument parser whose help ends in an example; it exits with 2 on a usage error."""
    return argparse.ArgumentParser(
        prog=f"cfia {prog}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def boolean(text: str) -> bool:
    """Read `true` or `false`, as in the shell's flags, and nothing else."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")
    return text == "true"


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> None:
    """Run a program: log to stderr, turn a `UserError` into one line and exit code 1."""
    logging.basicConfig(
        level=os.environ.get("CFIA_LOG", "INFO"), format="%(message)s", stream=sys.stderr
    )
    try:
        try:
            main(argv)
        finally:  # after --help, too: at the interpreter's own end a fault here is a traceback
            if sys.stdout is not None:
                sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and nothing more is wanted.
        _drop_output()
        sys.exit(141)
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            raise
        file = f"{error.filename}: " if error.filename else ""
        print(f"error: {file}{error.strerror}; correct that and run it again", file=sys.stderr)
        _drop_output()
        sys.exit(1)


def _drop_output() -> None:
    """Throw away what stdout could not take, or the interpreter tries it once more at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
