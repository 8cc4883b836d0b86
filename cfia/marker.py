"""Stage markers: what made an output directory, so that it is skipped, resumed or refused.

A directory that a stage makes holds one `.done.json`:

    {"state": "done", "options": {flag: value}, "inputs": {name: digest}}

`options` are the flags that can change the bytes of the output (so not nj, ngpu, verbose), under
the flags' own names; `inputs` are digests. A stage that can be resumed in the middle (dump,
training) writes its marker with the state "running" first. A single file that is made in a
directory with a marker of its own (posteriors, beside a training) has a marker of another name.
"""

from __future__ import annotations

import enum
import shutil
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import read_json, sha256, write_json

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
    difference = _first_difference(found, options, inputs)
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
    write_json(directory / name, {"state": "done", "options": options, "inputs": inputs})


def output_digest(directory: Path, made_by: str) -> str:
    """The digest that stands for a finished directory when it is another stage's input.

    Raises:
        UserError: the directory is not finished; `made_by` says which stage makes it.
    """
    path = directory / NAME
    if not path.exists() or read_json(path)["state"] != "done":
        raise UserError(f"{directory} is not there or not finished; run {made_by} first")
    return sha256(path)
