"""Locks on directories, so that programs that run at the same time do not break each other's work.

Who makes, replaces or removes a directory holds it alone; who reads it for long holds it beside
other readers. The lock of dump/fbank is the flock of the file dump/.fbank.lock: the kernel frees it
with the process, however that ends. The file is there while somebody has it, with a line on each
for messages alone; one that a killed process has left holds nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfia.errors import UserError

HELD = "CFIA_HELD"  # set by ser.sh: what `cfia hold` holds for the programs that it calls
PATIENCE = 0.5  # seconds: others may hold a directory for the moment in which they look at it
_POLL = 0.1  # seconds
_LARGEST = 1 << 16  # bytes of lines; those of killed readers stay as long as there are others

_log = logging.getLogger(__name__)


@dataclass
class _Held:
    """A lock of this process; the handle is None where it has none that it could give up.

    `line` has the position of what the file says of it, and its bytes.
    """

    handle: int | None
    alone: bool
    line: tuple[int, int] = (0, 0)


_held: dict[Path, _Held] = {}  # by the files of the locks


def file_of(directory: Path) -> Path:
    """Name the file whose flock is the lock of a directory; a link has its target's."""
    target = directory.resolve()
    return target.with_name(f".{target.name}.lock")


def description(directory: Path) -> str:
    """Describe a lock of this process as `HELD` does, for programs that go on under it."""
    file = file_of(directory)
    return f"{'alone' if _held[file].alone else 'shared'} {file}"


@contextlib.contextmanager
def making(directory: Path, *, force: bool = False) -> Iterator[None]:
    """Hold a directory that the block makes, unless it finds it made.

    Waits for a program that makes it. Where others read it, the block begins beside them, and
    `alone` stops it before it changes anything.

    Args:
        force: it is made whatever is there, so that waiting for another to make it is of no use.

    Raises:
        UserError: with `force`, somebody makes or reads it; it says who.
    """
    kinds = (fcntl.LOCK_EX,) if force else (fcntl.LOCK_EX, fcntl.LOCK_SH)
    with _hold(directory, kinds, wait=not force):
        yield


@contextlib.contextmanager
def alone(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a directory that the block changes or removes.

    Args:
        wait: wait for a program that makes it.

    Raises:
        UserError: somebody reads it, or makes it and `wait` is false; it says who.
    """
    file = file_of(directory)
    held = _held.get(file) or _of_shell(file)
    if held is None or held.alone:
        with _hold(directory, (fcntl.LOCK_EX,), wait=wait):
            yield
        return
    # One try: it gives up the lock that there was, and with it what was found out under it.
    if held.handle is None or not take(held.handle, fcntl.LOCK_EX, file):
        raise _refusal(directory, file, reads=True)
    held.alone = True
    _note(held)
    yield


@contextlib.contextmanager
def beside_readers(directory: Path) -> Iterator[None]:
    """Hold a directory that the block reads; waits for a program that makes it."""
    with _hold(directory, (fcntl.LOCK_SH,), wait=True):
        yield


@contextlib.contextmanager
def _hold(directory: Path, kinds: Sequence[int], *, wait: bool) -> Iterator[None]:
    file = file_of(directory)
    if file in _held:
        yield
        return
    held = _held[file] = _of_shell(file) or _acquire(directory, file, kinds, wait=wait)
    try:
        yield
    finally:
        del _held[file]
        if held.handle is not None:
            _release(held, held.handle, file)


def _acquire(directory: Path, file: Path, kinds: Sequence[int], *, wait: bool) -> _Held:
    """Take the first kind of lock that can be had. Ctrl-C ends the wait."""
    said, since = False, time.monotonic()
    while (handle := _open(file)) is not None:
        for kind in kinds:
            if take(handle, kind, file) and _is(handle, file):
                held = _Held(handle, kind == fcntl.LOCK_EX)
                _note(held)
                return held
        made, gone = not take(handle, fcntl.LOCK_SH, file), not _is(handle, file)
        os.close(handle)
        if gone:  # its last holder has removed it
            since = time.monotonic()
        elif time.monotonic() > since + PATIENCE:
            refusal = _refusal(directory, file, reads=not made)
            if not (made and wait):
                raise refusal
            if not said:
                _log.info("%s; waiting for its end", str(refusal).partition(";")[0])
                said = True
        time.sleep(_POLL)
    return _Held(None, alone=True)


def take(handle: int, kind: int, path: Path) -> bool:
    """Lock an open file, fcntl.LOCK_EX or LOCK_SH, if no other has it; return whether it is ours.

    Some network file systems have no locks: a warning says so, and nobody is held up.
    """
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        _warn(path.parent, str(error.strerror))
    return True


@functools.cache
def _warn(place: Path, why: str) -> None:
    _log.warning(
        "files in %s cannot be locked (%s); let no two runs make the same thing", place, why
    )


def _release(held: _Held, handle: int, file: Path) -> None:
    """Give up a lock; the last who has it removes its file."""
    with contextlib.suppress(OSError), open(file, "rb+", buffering=0) as lines:
        lines.seek(held.line[0])  # not by the handle, which appends
        lines.write(b" " * held.line[1])
    with contextlib.suppress(OSError):  # somebody else's directory, or no locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is(handle, file):
            file.unlink()
    os.close(handle)


def _of_shell(file: Path) -> _Held | None:
    """Give what ser.sh has of the lock with this file; None: nothing."""
    kind, _, path = os.environ.get(HELD, "").partition(" ")
    return _Held(None, kind == "alone") if path == str(file) else None


def _is(handle: int, file: Path) -> bool:
    """Whether a handle is of the file that has this name now."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except OSError:
        return False


def _open(file: Path) -> int | None:
    """Open the file of a lock; None where there is none and none can be made.

    So it is where somebody else's directory is read. Who may not make the file may not make the
    directory either, and is told so when it comes to that.
    """
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    with contextlib.suppress(OSError):
        return os.open(file, os.O_RDONLY)
    return None


def _note(held: _Held) -> None:
    """Write who holds a lock into its file."""
    assert held.handle is not None
    program, process = _program()
    row = {
        "program": program, "process": process, "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"), "reads": not held.alone,
    }  # fmt: skip
    with contextlib.suppress(OSError):  # it may be another user's
        if held.alone:
            os.ftruncate(held.handle, 0)
        if os.fstat(held.handle).st_size < _LARGEST:
            line = json.dumps(row).encode() + b"\n"
            os.write(held.handle, line)
            held.line = (os.lseek(held.handle, 0, os.SEEK_CUR) - len(line), len(line) - 1)


def _program() -> tuple[str, int]:
    """Name this program as its user knows it, and its process: of `cfia hold` run.sh is meant."""
    path, run_sh = Path(sys.argv[0]), os.environ.get("CFIA_SUPERVISOR")
    if path.parts[-3:] == ("cfia", "bin", "hold.py") and run_sh:
        return "run.sh", int(run_sh)
    name = f"cfia {path.stem}" if path.parts[-3:-1] == ("cfia", "bin") else path.name
    return name, os.getpid()


def _refusal(directory: Path, file: Path, *, reads: bool) -> UserError:
    """Word who keeps a directory from being changed, by the lines of its lock's file."""
    rows = []
    with contextlib.suppress(OSError):
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                row = json.loads(line)
                if row["reads"] == reads and _is_another(row):
                    rows.append(
                        "{program}, process {process} on {host} since {since}".format(**row)
                    )
    who = rows[-1] if rows else "another process"
    who += f" (and {len(rows) - 1} more)" if reads and rows[1:] else ""
    what = "is in use by" if reads else "is being made by"
    return UserError(
        f"{directory} {what} {who}; wait for its end, or stop it, then run the stage again"
    )


def _is_another(row: dict[str, object]) -> bool:
    """Whether a line is of another process, which lives as far as this machine can tell."""
    ours = {str(os.getpid()), os.environ.get("CFIA_SUPERVISOR")}
    if row["host"] != socket.gethostname():
        return True
    return str(row["process"]) not in ours and Path(f"/proc/{row['process']}").exists()
