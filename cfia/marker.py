"""Stage markers: what made an output directory, so that it is skipped, resumed or refused.

A directory that a stage makes holds one `.done.json`:

    {"state": "done", "directory": path, "options": {flag: value}, "inputs": {name: digest},
     "files": {name: {"bytes": size, "sha256": digest}}, "sha256": digest of all this}

`options` are the flags that can change the bytes of the output (so not nj, ngpu, verbose), under
the flags' own names; `inputs` are digests; `files` are all files of a finished directory but its
logs, so that one that was deleted, cut or edited since is noticed by whoever reads it next.
`directory` is where a data directory was made, whose wav.scp names files: after a move they are
found again (`finder`).

A stage that can be resumed in the middle (dump, training) writes its marker with the state
"running" first. A single file that is made in a directory with a marker of its own (posteriors,
beside a training) has a marker of another name.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cfia import directories, lock
from cfia.errors import UserError
from cfia.files import as_json, atomic_write, digest, sha256, write_if_changed

NAME = directories.MARKER
ARCHIVE = ".ark"  # large files, whose digests are compared where the caller asks for it

Files = dict[str, dict[str, Any]]


class State(enum.Enum):
    """The state of a directory."""

    FRESH = "nothing there, or to be made again"
    RESUME = "begun with the same options and inputs, not finished"
    DONE = "finished with the same options and inputs"


@dataclass(frozen=True)
class Marker:
    """The contents of a marker, without its own digest; `state` is "running" or "done"."""

    state: str
    directory: str
    options: dict[str, Any]
    inputs: dict[str, str]
    files: Files = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the stage has finished."""
        return self.state == "done"


def check(
    directory: Path,
    options: dict[str, Any],
    inputs: dict[str, str],
    *,
    force: bool = False,
    name: str = NAME,
    made_by: str = "",
    suggest_tag: bool = False,
    archives: bool = False,
) -> State:
    """Compare a directory, and its marker, with what is asked for now. Removes nothing.

    Args:
        force: it is to be made again, whatever is there: the answer is FRESH.
        name: of the marker.
        made_by: the stage that makes it, for messages; "" if that is the one that runs now.
        suggest_tag: --tag is a way out, since it changes the directory's name.
        archives: compare the digests of archives too, not their sizes alone.

    Raises:
        UserError: the directory was made with other options or inputs, or is not as it was made,
            and `force` is false; it names the first difference and the ways out. Or it holds
            files and no marker.
    """
    if not (directory / name).exists():
        if name == NAME:
            refuse_unknown(directory)
        return State.FRESH
    if force:
        return State.FRESH
    recorded = read(directory, name, made_by)
    assert recorded is not None
    output = directory if name == NAME else directory / next(iter(recorded.files))
    difference = first_difference(recorded.options, recorded.inputs, options, inputs)
    if difference is not None:
        raise made_differently(output, difference, made_by, suggest_tag=suggest_tag)
    changed = changed_file(directory, recorded, archives=archives)
    if changed is not None:
        raise UserError(f"{output} is not as it was made ({changed}); {_way_out(made_by)}")
    return State.DONE if recorded.done else State.RESUME


def refuse_unknown(directory: Path) -> None:
    """Refuse a directory with files of unknown origin, which must not be resumed or mixed in.

    Raises:
        UserError: it holds more than logs, and no marker.
    """
    if (directory / NAME).exists():
        return
    found = _output_files(directory) if directory.exists() else []
    if found:
        raise UserError(
            f"{directory} holds {found[0]} but no marker ({NAME}) that says what made it; move it "
            "away or delete it"
        )


def read(directory: Path, name: str = NAME, made_by: str = "") -> Marker | None:
    """Read a directory's marker; None where there is none. `made_by` as for `check`.

    Raises:
        UserError: it is not as a stage wrote it.
    """
    path = directory / name
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        marker = Marker(**{k: v for k, v in json.loads(text).items() if k != "sha256"})
        if text == _text(marker):
            return marker
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise UserError(
        f"{path} was cut or edited, or is of an earlier version of cfia; {_way_out(made_by)}"
    )


def _text(marker: Marker) -> str:
    """Render a marker; equal markers have equal texts."""
    values = asdict(marker)
    return as_json({**values, "sha256": digest(values)})


def made_differently(
    output: Path, difference: str, made_by: str = "", *, suggest_tag: bool = False
) -> UserError:
    """Word the refusal of an output that was made differently; arguments as for `check`."""
    both = ", --tag NAME keeps both" if suggest_tag else ""
    return UserError(f"{output} was made differently ({difference}); {_way_out(made_by)}{both}")


def _way_out(made_by: str) -> str:
    return f"{made_by} with --force true makes it and what follows again".removeprefix(" with ")


def first_difference(
    old_options: Mapping[str, Any],
    old_inputs: Mapping[str, str],
    options: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> str | None:
    """Name the first difference between what made an output and what would make it now."""
    for name in sorted({*old_options, *options}):
        old, new = old_options.get(name), options.get(name)
        if old != new:
            return f"--{name} was {_show(old)}, now {_show(new)}"
    for name in sorted({*old_inputs, *inputs}):
        if old_inputs.get(name) != inputs.get(name):
            return f"its input {name} has changed"
    return None


def changed_file(directory: Path, recorded: Marker, *, archives: bool = False) -> str | None:
    """Name the first file of a directory that is not as it was made; None if all are.

    The sizes of all files are compared, then the digests of those that are no archives; of archives
    where `archives` asks for it.
    """
    _catch_up(directory, recorded)
    for name, made in recorded.files.items():
        path = directory / name
        if not path.is_file():
            return f"its file {name} is gone"
        size = path.stat().st_size
        if size != made["bytes"]:
            return f"its file {name} has {size} bytes where {made['bytes']} were written"
    names = [name for name in recorded.files if archives or not name.endswith(ARCHIVE)]
    for name, now in zip(names, _digests(directory, names), strict=True):
        if now != recorded.files[name]["sha256"]:
            return f"its file {name} was changed after it was made"
    return None


def rewrite(directory: Path, contents: Mapping[str, str]) -> None:
    """Replace some files of a finished directory by their new contents, and mark them so.

    A kill leaves the old or the new: where the marker is ahead of the files, the next reader
    finds the new ones beside them, under a name of their own.
    """
    recorded = read(directory)
    assert recorded is not None
    names = [_next(name) for name in contents]
    with lock.alone(directory):
        for name, content in zip(names, contents.values(), strict=True):
            write_if_changed(directory / name, content)
        new = dict(zip(contents, _measure(directory, names).values(), strict=True))
        rewritten = replace(recorded, files=recorded.files | new)
        _write(directory, rewritten, NAME)
        _catch_up(directory, rewritten)


def _next(name: str) -> str:
    return f".{name}.next"


def _catch_up(directory: Path, recorded: Marker) -> None:
    """Finish what a killed `rewrite` has left; before the marker was written, undo it."""
    for path in directory.glob(_next("*")):
        name = path.name.removeprefix(".").removesuffix(".next")
        if recorded.files.get(name, {}).get("sha256") == sha256(path):
            path.replace(directory / name)
        else:
            path.unlink()


def _measure(directory: Path, names: Collection[str]) -> Files:
    sizes = [(directory / name).stat().st_size for name in names]
    return {
        name: {"bytes": size, "sha256": value}
        for name, size, value in zip(names, sizes, _digests(directory, names), strict=True)
    }


def _digests(directory: Path, names: Collection[str]) -> list[str]:
    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        return list(pool.map(lambda name: _digest(directory / name), names))


def _digest(path: Path) -> str:
    if path.suffix != ARCHIVE:
        return sha256(path)
    status = path.stat()
    return _archive_digest(path.resolve(), status.st_ino, status.st_size, status.st_ctime_ns)


@cache
def _archive_digest(path: Path, inode: int, size: int, changed: int) -> str:
    """Digest an archive once in a process, unless it changes."""
    return sha256(path)


def _output_files(directory: Path) -> list[str]:
    """List the files of a directory but its logs and hidden ones."""
    paths = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    kept = [
        path
        for path in paths
        if path.suffix != ".log"
        and path.parts[0] not in ("log", "tensorboard")
        and not any(part.startswith(".") for part in path.parts)
    ]
    return sorted(map(str, kept))


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value in (None, "") else str(value)


def start(directory: Path, options: dict[str, Any], inputs: dict[str, str]) -> None:
    """Mark a resumable stage's directory as begun. The first thing that the stage does there."""
    directory.mkdir(parents=True, exist_ok=True)
    with lock.alone(directory):
        for left in directory.glob(f".{NAME}.tmp.*"):  # of a process that was killed here
            left.unlink(missing_ok=True)
        _write(directory, Marker("running", "", options, inputs), NAME)


def finish(
    directory: Path,
    options: dict[str, Any],
    inputs: dict[str, str],
    *,
    name: str = NAME,
    files: Collection[str] | None = None,
    located: Path | None = None,
) -> None:
    """Mark a directory as finished. The last thing a stage does.

    Args:
        files: those that were made (None: all that are there, but logs).
        located: where the directory will be, if its tables name files of places nearby.
    """
    made = _measure(directory, _output_files(directory) if files is None else sorted(files))
    where = str(located.resolve()) if located else ""
    _write(directory, Marker("done", where, options, inputs, made), name)


def _write(directory: Path, marker: Marker, name: str) -> None:
    with atomic_write(directory / name) as handle:
        handle.write(_text(marker))


def output_digest(directory: Path, made_by: str, *, archives: bool = False) -> str:
    """Give the digest of a finished directory, for the marker of a stage that reads it.

    Args:
        made_by: the stage that makes it, for messages.
        archives: as for `check`.

    Raises:
        UserError: the directory is not finished, or not as it was made.
    """
    recorded = read(directory, made_by=made_by)
    if recorded is None or not recorded.done:
        raise UserError(f"{directory} is not there or not finished; run {made_by} first")
    verify(directory, made_by, archives=archives)
    # Not of the files: the number of jobs decides how many archives there are.
    return digest([recorded.options, recorded.inputs])


def verify(directory: Path, made_by: str, *, archives: bool = False) -> None:
    """Check that the files of a directory are as its stage made them.

    A directory without a marker is a user's own, of which nobody knows how it should be.

    Args:
        made_by: the stage that makes it, for messages.
        archives: as for `check`.

    Raises:
        UserError: a file is gone, or was cut or edited.
    """
    recorded = read(directory, made_by=made_by)
    changed = recorded and changed_file(directory, recorded, archives=archives)
    if changed:
        raise UserError(f"{directory}: {changed}; run {made_by} with --force true")


def finder(directory: Path) -> Callable[[str], str]:
    """Give a function that finds files again that a table of a directory names, after a move.

    What lay near the directory when its marker was written lies there still. A path that exists,
    or that lay elsewhere, stays as it is.
    """
    recorded = read(directory)
    old = list(Path(recorded.directory).parts) if recorded and recorded.directory else []
    new = list(directory.resolve().parts)
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    before, after = Path(*old), Path(*new)

    def find(path: str) -> str:
        if not old or Path(path).exists() or not Path(path).is_relative_to(before):
            return path
        found = after / Path(path).relative_to(before)
        return str(found) if found.exists() else path

    return find
