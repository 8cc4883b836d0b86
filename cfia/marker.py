"""Stage markers: what made an output directory, so that it is skipped, resumed or refused.

A directory that a stage makes holds one `.done.json`:

    {"state": "done", "options": {flag: value}, "inputs": {name: digest}, "files": [name, ...]}

`options` are the flags that can change the bytes of the output (so not nj, ngpu, verbose), under
the flags' own names; `inputs` are digests; `files` are all files of a finished directory but its
logs, so that a directory from which one was deleted is not taken for finished.

A stage that can be resumed in the middle (dump, training) writes its marker with the state
"running" first. A single file that is made in a directory with a marker of its own (posteriors,
beside a training) has a marker of another name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import digest, read_json, remove_directory, write_json

NAME = ".done.json"
MISSING = "missing"


class State(enum.Enum):
    """The state of a directory."""

    FRESH = "nothing there"
    RESUME = "begun with the same options and inputs, not finished"
    DONE = "finished with the same options and inputs"


def check(
    directory: Path,
    options: dict[str, Any],
    inputs: dict[str, str],
    *,
    force: bool = False,
    name: str = NAME,
    suggest_tag: bool = False,
) -> State:
    """Compare a directory's marker with what is asked for now.

    With `force`, a directory made differently is removed (with another `name`, its marker alone)
    and the answer is FRESH. `suggest_tag`: --tag is a way out, since it changes the directory's
    name.

    Raises:
        UserError: the directory was made with other options or inputs and `force` is false;
            it names the first difference and the ways out.
    """
    recorded = read(directory, name)
    if recorded["state"] == MISSING:
        return State.FRESH
    difference = first_difference(recorded["options"], recorded["inputs"], options, inputs)
    difference = difference or _first_missing(directory, recorded)
    if difference is None:
        return State.DONE if recorded["state"] == "done" else State.RESUME
    if not force:
        output = directory if name == NAME else directory / Path(name).stem.lstrip(".")
        raise made_differently(output, difference, suggest_tag=suggest_tag)
    if name == NAME:
        remove_directory(directory)
    else:
        (directory / name).unlink()
    return State.FRESH


def read(directory: Path, name: str = NAME) -> dict[str, Any]:
    """Read a directory's marker; where there is none, its state is `MISSING`."""
    path = directory / name
    missing = {"state": MISSING, "options": {}, "inputs": {}}
    marker: dict[str, Any] = read_json(path) if path.exists() else missing
    return marker


def made_differently(output: Path, difference: str, *, suggest_tag: bool = False) -> UserError:
    """Word the refusal of an output that was made differently; `suggest_tag` as for `check`."""
    ways_out = "--force true makes it and what follows again"
    both = ", --tag NAME keeps both" if suggest_tag else ""
    return UserError(f"{output} was made differently ({difference}); {ways_out}{both}")


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


def _first_missing(directory: Path, recorded: dict[str, Any]) -> str | None:
    for name in recorded.get("files", []):
        if not (directory / name).exists():
            return f"its file {name} is gone"
    return None


def _files(directory: Path) -> list[str]:
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
    """Mark a resumable stage's directory as begun."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / NAME, {"state": "running", "options": options, "inputs": inputs})


def finish(
    directory: Path, options: dict[str, Any], inputs: dict[str, str], *, name: str = NAME
) -> None:
    """Mark a directory as finished. The last thing a stage does."""
    value = {"state": "done", "options": options, "inputs": inputs}
    files = {"files": _files(directory)} if name == NAME else {}
    write_json(directory / name, {**value, **files})


def output_digest(directory: Path, made_by: str) -> str:
    """Give the digest of a finished directory, for the marker of a stage that reads it.

    Raises:
        UserError: the directory is not finished; `made_by` says which stage makes it.
    """
    recorded = read(directory)
    if recorded["state"] != "done":
        raise UserError(f"{directory} is not there or not finished; run {made_by} first")
    missing = _first_missing(directory, recorded)
    if missing:
        raise UserError(f"{directory}: {missing}; run {made_by} with --force true")
    # Not of the files: the number of jobs decides how many archives there are.
    return digest([recorded["options"], recorded["inputs"]])
