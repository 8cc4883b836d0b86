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
    difference = _first_difference(found, options, inputs) or _first_missing(directory, found)
    if difference is None:
        return State.DONE if found["state"] == "done" else State.RESUME
    if not force:
        what = directory if name == NAME else f"{directory / Path(name).stem.lstrip('.')}"
        raise UserError(
            f"{what} was made differently ({difference}); --force true makes it and what "
            f"follows again{', --tag NAME keeps both' if tag else ''}"
        )
    if name == NAME:
        shutil.rmtree(directory)
    else:
        path.unlink()
    return State.FRESH


def difference(directory: Path, options: dict[str, Any], inputs: dict[str, str]) -> str | None:
    """The first difference between what made a directory and what there is now, in words."""
    found = read_json(directory / NAME)
    return _first_difference(found, options, inputs) or _first_missing(directory, found)


def recorded_inputs(directory: Path) -> dict[str, str]:
    """The digests of what a directory was made from; none where there is no marker."""
    path = directory / NAME
    inputs: dict[str, str] = read_json(path)["inputs"] if path.exists() else {}
    return inputs


def _first_difference(
    found: dict[str, Any], options: dict[str, Any], inputs: dict[str, str]
) -> str | None:
    for name in sorted({*found["options"], *options}):
        old, new = found["options"].get(name), options.get(name)
        if old != new:
            return f"--{name} was {_show(old)}, now {_show(new)}"
    for name in sorted({*found["inputs"], *inputs}):
        if found["inputs"].get(name) != inputs.get(name):
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
