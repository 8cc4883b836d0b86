"""Check that a value of YAML, JSON or a checkpoint has the shape that a type describes.

A file may be another one than its name says, or of a person's own hand: a list where there should
be a mapping, a word for a number. All readers ask this one function.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, Required

_WORDS = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path",
    list: "a list", tuple: "a list", dict: "a mapping", Mapping: "a mapping", type(None): "null",
}  # fmt: skip


class ShapeError(ValueError):
    """A value has another shape; the message says where: `parts.train.data is 3, not a path`."""


@functools.cache
def type_hints(hint: Any, *, extras: bool = False) -> Mapping[str, Any]:
    """Give the hints of a dataclass or a TypedDict by key, which Python works out anew each time.

    Args:
        extras: whether `Annotated`, `Required` and `NotRequired` stay.
    """
    return typing.get_type_hints(hint, include_extras=extras)


def fit(hint: Any, value: Any, where: str = "it") -> Any:
    """Give a value the type that a hint names.

    Args:
        hint: a class; a dataclass or a TypedDict, whose other keys are ignored; `list[...]`,
            `tuple[..., ...]`, `dict[str, ...]`, `Mapping[str, ...]`, a `Literal`, a union of
            these, or `Any`.
        value: as YAML, JSON or torch give it; a path is text there, a tuple a list.
        where: what messages call the value.

    Raises:
        ShapeError: the value does not fit; it names the first place where it does not.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (_is_made(hint) and isinstance(value, hint)):
        return value
    if origin in (typing.Union, types.UnionType):
        return _fit_one_of(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise _wrong(where, value, " or ".join(map(str, args)))
        return value
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return _fit_keys(hint, value, where)
    kind = origin or hint
    if not _is(kind, value):
        raise _wrong(where, value, _WORDS.get(kind, f"a {kind.__name__}"))
    if args and _is_plain(args, value):
        return kind(value) if kind is tuple else value
    if kind in (list, tuple) and args:
        return kind(fit(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind in (dict, Mapping) and args:
        return {
            fit(args[0], key, f"the key {key!r} of {where}"): fit(args[1], v, _inside(where, key))
            for key, v in value.items()
        }
    return kind(value) if kind in (Path, tuple) else value


def _is_plain(hints: tuple[Any, ...], value: Any) -> bool:
    """Whether all in a list or mapping are texts or numbers as they should be, at one look."""
    inside = [value, value.values()] if isinstance(value, Mapping) else [value]
    plain = (str, int, float)
    return all(
        hint in plain and set(map(type, items)) <= {hint}
        for hint, items in zip(hints, inside, strict=False)
    )


def _is_made(hint: Any) -> bool:
    """Whether a hint is of values that no file gives, and that need no look inside."""
    return dataclasses.is_dataclass(hint) or hint is Path


def _is(kind: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    like: Any = {Path: str, tuple: (list, tuple), float: (int, float)}.get(kind, kind)
    return isinstance(value, like)


def _fit_one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        try:
            return fit(hint, value, where)
        except ShapeError as error:
            errors.append(error)
    # What is wrong inside says more than that the value is of another kind.
    raise next((e for e in errors if not str(e).startswith(f"{where} is ")), errors[0])


def _fit_keys(hint: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, "a mapping")
    hints, typed_dict = type_hints(hint), typing.is_typeddict(hint)
    for key in _needed(hint):
        if key not in value:
            raise ShapeError(f"{where} lacks {key}")
    found = [key for key in hints if key in value]
    fitted = {key: fit(hints[key], value[key], _inside(where, key)) for key in found}
    return {**value, **fitted} if typed_dict else hint(**fitted)


def _needed(hint: Any) -> list[str]:
    """List the keys that must be there, of a dataclass or a TypedDict."""
    if typing.is_typeddict(hint):
        hints = type_hints(hint, extras=True).items()
        other = NotRequired if hint.__total__ else Required
        return [k for k, h in hints if hint.__total__ != (typing.get_origin(h) is other)]
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(hint)
        if field.default is missing and field.default_factory is missing
    ]


def check_keys(hint: Any, value: Any, where: str = "it") -> None:
    """Require that mappings have no key that their TypedDict lacks, where a person wrote them.

    Args:
        hint: as for `fit`, whose values these are; what is in a `dict[...]` is not looked at.

    Raises:
        ShapeError: there is such a key; it names the legal ones.
    """
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for arg in args:
            check_keys(arg, value, where)
    elif typing.get_origin(hint) is list and isinstance(value, list):
        for i, item in enumerate(value):
            check_keys(args[0], item, f"{where}[{i}]")
    elif typing.is_typeddict(hint) and isinstance(value, Mapping):
        hints = type_hints(hint)
        for key in value:
            if key not in hints:
                raise ShapeError(f"{where} has the key {key}; it may have {', '.join(hints)}")
            check_keys(hints[key], value[key], _inside(where, key))


def _inside(where: str, key: Any) -> str:
    return f"{where}.{key}".removeprefix("it.")


def _wrong(where: str, value: Any, expected: str) -> ShapeError:
    shown = " ".join(repr(value).split())
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return ShapeError(f"{where} is {shown}, not {expected}")
