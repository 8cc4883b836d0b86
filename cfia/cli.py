"""Run programs, and turn errors into exit codes: 1 for what a message explains, 2 for usage."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.installation import ROOT, what_to_install

# What to do about an error of the machine, by its number.
_SPACE, _ACCESS = "free some space", "correct the permissions"
_MEMORY = "close other programs, give fewer jobs (--nj), or raise the limit (ulimit -v)"
_WAYS_OUT = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: "raise the limit on processes (ulimit -u), or close other programs",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: _ACCESS,
    errno.EISDIR: "move the directory away or name another file",
    errno.ENOTDIR: "name another path",
    errno.ENOENT: "make it, or name another path",
    errno.EIO: "look after the disk",
}


def parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    """Make an argument parser whose help ends in an example; it exits with 2 on a usage error."""
    return argparse.ArgumentParser(
        prog=f"cfia {prog}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_ngpu(p: argparse.ArgumentParser, with_one: str) -> None:
    """Give a program the option --ngpu, and the help what it does with one GPU."""
    help_text = f"1: {with_one} (default: 0)"
    p.add_argument("--ngpu", type=int, choices=(0, 1), default=0, help=help_text)


def boolean(text: str) -> bool:
    """Read `true` or `false`, as in the shell's flags, and nothing else."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")
    return text == "true"


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, not {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """Read a number of more than 0, such as seconds."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected more than 0, not {text!r}")
    return value


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> None:
    """Run a program: log to stderr, turn what `explain` explains into one line and exit code 1."""
    logging.basicConfig(level=_log_level(), format="%(message)s", stream=sys.stderr)
    _collect_less_garbage()
    try:
        try:
            main(argv)
        finally:  # after --help, too: at the interpreter's own end a fault here is a traceback
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, and nothing more is wanted.
        _drop_output()
        sys.exit(141)
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        logging.getLogger(__name__).debug("", exc_info=not isinstance(error, UserError))
        print(f"error: {sentence}", file=sys.stderr)
        _drop_output()
        sys.exit(1)


def _collect_less_garbage() -> None:
    """Save what the search for garbage takes of torch's start and end: a second of three.

    Its modules are some hundred thousand objects, none of them garbage, which Python looks
    through again and again while they are loaded, and twice at its own end.
    """
    gc.set_threshold(10_000)  # objects made since the last search; by default 700
    atexit.register(gc.freeze)  # the end frees what it frees, but searches no more


def _log_level() -> str:
    """Read CFIA_LOG, the level of messages; unset or empty it is INFO."""
    given, levels = os.environ.get("CFIA_LOG") or "INFO", logging.getLevelNamesMapping()
    if given.upper() not in levels:
        legal = ", ".join(sorted(levels, key=lambda name: levels[name]))
        print(f"error: CFIA_LOG is {given!r}; legal values are {legal}", file=sys.stderr)
        sys.exit(2)
    return given.upper()


def _drop_output() -> None:
    """Throw away what stdout could not take, or the interpreter tries it once more at its end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: Exception) -> str | None:
    """Say in one sentence what an exception is about and what to do; None for a fault of cfia.

    That is so for what a user can mend: a `UserError`, an error of the file system, memory that is
    not there, and packages of another Python.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or _is_lack_of_memory(error):
        return f"there is not enough memory; {_MEMORY}, and run it again"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"the name {error.object!r} is not UTF-8; rename it"
    package = _foreign_package(error)
    if package:
        return (
            f"{package} is on PYTHONPATH and does not work with this Python, "
            f"{sys.version.split()[0]} ({_first_line(error)}); unset PYTHONPATH and run it again"
        )
    if isinstance(error, OSError) and error.errno is not None:
        what = [str(name) for name in (error.filename2 or error.filename,) if name is not None]
        way_out = _WAYS_OUT.get(error.errno, "correct that")
        return f"{': '.join([*what, str(error.strerror)])}; {way_out}, and run it again"
    if isinstance(error, ImportError):
        return f"a Python package cannot be loaded ({_first_line(error)}); {what_to_install(error)}"
    return None


def _is_lack_of_memory(error: Exception) -> bool:
    """Tell errors of torch, which has a class of its own for a GPU's memory and none for another.

    See c10/core/impl/alloc_cpu.cpp.
    """
    name = type(error).__name__
    words = (
        "can't allocate memory",
        "not enough memory",
        "Storage size calculation overflowed",
        "can't start new thread",  # Python's own, for want of room for its stack
    )
    lacks = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    # Python's own, of an extension that had no room even for its exception.
    lacks |= isinstance(error, SystemError) and "exception" in str(error)
    return name == "OutOfMemoryError" or lacks


def _foreign_package(error: Exception) -> str:
    """Find the file of a directory on PYTHONPATH whose import failed; "" if there is none."""
    places = [Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    others = [p for p in places if not ROOT.is_relative_to(p) and not p.is_relative_to(sys.prefix)]
    found: BaseException | None = error
    while found is not None:
        frames = traceback.extract_tb(found.__traceback__)
        files = [frame.filename for frame in frames if frame.name == "<module>"]
        files += [getattr(found, name, None) or "" for name in ("path", "filename")]
        for file in files:
            if isinstance(file, str) and any(Path(file).is_relative_to(place) for place in others):
                return file
        found = found.__cause__ or found.__context__
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__
