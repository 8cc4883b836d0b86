"""plan.json: what jobs do that were planned, of a dump or of a recogniser's text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cfia.errors import UserError
from cfia.files import read_json
from cfia.shapes import ShapeError, fit

NAME = "plan.json"

Plan = TypeVar("Plan")


def read_plan(
    kind: type[Plan],
    directory: Path,
    program: str,
    whole: Callable[[Plan], bool] = lambda _: True,
) -> Plan:
    """Read the plan of a directory.

    Args:
        kind: the dataclass that it is of.
        program: the verb that plans.
        whole: whether what has the shape of a plan is one.

    Raises:
        UserError: there is none, or it is not as it was written.
    """
    path = directory / NAME
    if not path.exists():
        raise UserError(f"no such file {path}; run `cfia {program}` first")
    try:
        plan: Plan = fit(kind, read_json(path))
        if whole(plan):
            return plan
    except (UserError, ShapeError):
        pass
    raise UserError(f"{path} was cut or edited; run the stage again with --force true")
