"""Stage markers: what made an output directory, so that it is skipped, resumed or refused.

A directory that a stage makes holds one `.done.json`:

    {"state": "done", "options": {flag: value}, "inputs": {name: digest}, "files": [name, ...]}

`options` are the flags that can change the bytes of the output (so not nj, ngpu, verbose), under
the flags' own names; `inputs` are digests; `files` are what a finished directory holds, logs
apart, so that one from which a file was deleted is not taken for finished.

A stage that can be resumed in the middle (dump, training) writes its marker with the state
"running" first. A single file that is made in a directory with a marker of its own (posteriors,
beside a training) has a marker of another name.
"""

from __future__ import annotations

import enum
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import digest, read_json, write_json

NAME = ".done.json"


class State(enum.Enum):
    """What `check` found."""

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
    tag: bool = False,
) -> State:
    """Compare a directory's marker with what is asked for now.

    With `force`, a directory made differently is removed (with another `name`, its marker alone)
    and the answer is FRESH. `tag`: the directory's name would have --tag in it.

    Raises:
        UserError: the directory was made with other options or inputs and `force` is false;
            it names the first difference and the ways out.
    """
    path = directory / name
    if not path.exists():
        return State.FRESH
    found = read_json(path)
    difference = first_difference(found["options"], found["inputs"], options, inputs)
    difference = difference or _first_missing(directory, found)
    if difference is None:
        return State.DONE if found["state"] == "done" else State.RESUME
    if not force:
        what = directory if name == NAME else f"{directory / Path(name).stem.lstrip('.')}"
        raise made_differently(what, difference, tag=tag)
    if name == NAME:
        shutil.rmtree(directory)
    else:
        path.unlink()
    return State.FRESH


def made_differently(what: object, difference: str, *, tag: bool = False) -> UserError:
    """The error for something that was made differently; `tag` if --tag changes its name."""
    ways_out = "--force true makes it and what follows again"
    both = ", --tag NAME keeps both" if tag else ""
    return UserError(f"{what} was made differently ({difference}); {ways_out}{both}")


def recorded_inputs(directory: Path) -> dict[str, str]:
    """The digests of what a directory was made from; none where there is no marker."""
    path = directory / NAME
    inputs: dict[str, str] = read_json(path)["inputs"] if path.exists() else {}
    return inputs


def first_difference(
    old_options: Mapping[str, Any],
    old_inputs: Mapping[str, str],
    options: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> str | None:
    """The first difference between what made something and what would make it now, in words."""
    for name in sorted({*old_options, *options}):
        old, new = old_options.get(name), options.get(name)
        if old != new:
            return f"--{name} was {_show(old)}, now {_show(new)}"
    for name in sorted({*old_inputs, *inputs}):
        if old_inputs.get(name) != inputs.get(name):
            return f"its input {name} has changed"
    return None


def _first_missing(directory: Path, found: dict[str, Any]) -> str | None:
    for name in found.get("files", []):
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
    """The digest that stands for a finished directory when it is another stage's input.

    Raises:
        UserError: the directory is not finished; `made_by` says which stage makes it.
    """
    path = directory / NAME
    found = read_json(path) if path.exists() else {"state": "missing"}
    if found["state"] != "done":
        raise UserError(f"{directory} is not there or not finished; run {made_by} first")
    missing = _first_missing(directory, found)
    if missing:
        raise UserError(f"{directory}: {missing}; run {made_by} with --force true")
    # Not of the files: the number of jobs decides how many archives there are.
    return digest([found["options"], found["inputs"]])
