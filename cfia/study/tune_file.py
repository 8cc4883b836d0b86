"""Read conf/tune.yaml, and resolve what --tune tries of it for a system (the file explains it)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfia.config import Config, check, check_keys, in_words
from cfia.errors import UserError
from cfia.files import read_yaml

OWN = "own"
_TIMES = re.compile(r"x([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)")
_ENDS = {"cyclic": "lr_max", "cosine": "lr_min"}  # of a schedule: what a multiple of lr takes along


def trials(path: Path, n: int, config: Config) -> tuple[Mapping[str, Any], ...]:
    """List the settings of a system that --tune tries, each once, with their values resolved.

    Args:
        path: the tune.yaml.
        n: of --tune, 0 for none.
        config: the system's own; of a probe, whose C is chosen anyway, nothing is tried.

    Raises:
        UserError: the file is missing, or has fewer combinations, an unknown key, or a value that
            is not legal, for the system or for any.
    """
    if not n:
        return ()
    values = _read(path)
    total = math.prod(map(len, values.values()))
    if n > total:
        has = f"{total} combination{'s' * (total > 1)}"
        raise UserError(f"--tune is {n}, but {path} has {has}; give {total} at most")
    if not config.seeded:
        return ()
    tried: list[Config] = []
    found: list[Mapping[str, Any]] = []
    for combination in itertools.islice(itertools.product(*values.values()), n):
        settings = _resolved(dict(zip(values, combination, strict=True)), config, path)
        new = config.changed(settings, str(path))
        if new not in tried:
            tried.append(new)
            found.append(settings)
    return tuple(found)


def _read(path: Path) -> dict[str, list[Any]]:
    values = read_yaml(path)
    check_keys(values, str(path))
    if "network" in values:
        raise UserError(
            f"{path} has the key network, which makes another system; name it in --systems"
        )
    for key, listed in values.items():
        if not isinstance(listed, list) or not listed:
            raise UserError(
                f"{path}: {key} is {listed!r}; expected a list of values to try, such as "
                f"[{OWN}, x3, x0.3]"
            )
        for value in listed:
            if value != OWN and _times(value) is None:
                check({key: value}, str(path))
    return values


def _times(value: Any) -> float | None:
    """Read a multiple of a system's own value, such as x0.3; None for a value."""
    match = _TIMES.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _resolved(wanted: Mapping[str, Any], config: Config, path: Path) -> dict[str, Any]:
    """Give the values of a combination for a system, but those of keys that it does not have."""
    own, values = config.flat(), dict[str, Any]()
    factors = {key: _times(value) for key, value in wanted.items() if key in own}
    for key, factor in factors.items():
        if factor is not None and not isinstance(own[key], int | float):
            raise UserError(f"{path}: {key} is {wanted[key]}, but only a number has multiples")
        values[key] = own[key] if wanted[key] == OWN else wanted[key]
        if factor is not None:
            values[key] = _multiple(own[key], factor)
    end = _ENDS.get(values.get("schedule", own["schedule"]))
    if end and end not in values and (factor := factors.get("lr")) is not None:
        values[end] = _multiple(own[end], factor)
    source = f"{path}, with {in_words(wanted)}"
    new = config.changed(values, source).flat()
    return {key: new[key] for key in values}


def _multiple(value: float, factor: float) -> float:
    return float(f"{value * factor:.12g}")  # 0.0003, not 0.00030000000000000003
