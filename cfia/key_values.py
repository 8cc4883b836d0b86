"""The values of a configuration's keys: which are legal, and what YAML or a word stands for."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple

from cfia.errors import UserError

MOST = 10**9  # of whole numbers: larger ones overflow somewhere in torch, or never end


class Range(NamedTuple):
    """The numbers that are legal for a key: in words, and as a test."""

    words: str
    holds: Callable[[float], bool]


FROM_1 = Range("1 and more", lambda value: value >= 1)
ABOVE_0 = Range("above 0", lambda value: value > 0)
FROM_0 = Range("0 and more", lambda value: value >= 0)
BELOW_1 = Range("0 to below 1", lambda value: 0 <= value < 1)
ODD = Range("odd: 1, 3, 5, ...", lambda value: value >= 1 and value % 2 == 1)


def checked(key: str, value: Any, hint: Any, source: str, words: Collection[str] = ()) -> Any:
    """Convert a value to the type of its key, or refuse it.

    Args:
        hint: a `Literal`, an `Annotated` number with its `Range`, a list of these, or `str`.
        words: of `str`, what is legal.

    Raises:
        UserError: it names `source` and lists what is legal.
    """
    if hint is str or typing.get_origin(hint) is Literal:
        legal = typing.get_args(hint) or tuple(words)
        # YAML reads a bare `none` as a string, but `null` and `~` as None.
        if value not in legal:
            raise UserError(f"{source}: {key} is {value!r}; legal values are {', '.join(legal)}")
        return value
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise UserError(
                f"{source}: {key} is {value!r}; expected a list such as [5e-4, 3e-4, 1e-4]"
            )
        kind, legal = typing.get_args(typing.get_args(hint)[0])
        return [_number(key, item, kind, legal, source) for item in value]
    kind, legal = typing.get_args(hint)
    return _number(key, value, kind, legal, source)


def _number(
    key: str, value: Any, kind: type[int] | type[float], legal: Range, source: str
) -> int | float:
    number = _as_float(value)
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        expected = "a whole number" if kind is int else "a number"
        raise UserError(f"{source}: {key} is {value!r}; expected {expected}, {legal.words}")
    if not legal.holds(number):
        raise UserError(f"{source}: {key} is {kind(number)}; legal values are {legal.words}")
    if kind is int and number > MOST:
        raise UserError(f"{source}: {key} is {value!r}; the largest legal value is {MOST}")
    return kind(number)


def _as_float(value: Any) -> float:
    """Give a number as a float, and NaN for what is none."""
    # YAML 1.1 takes 1e-4, without a dot, for a string: a trap that every recipe falls into.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
