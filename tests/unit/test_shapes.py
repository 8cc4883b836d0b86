"""The shapes of what files hold: what fits is taken, and what does not is named by its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from cfia.shapes import ShapeError, fit


@dataclass(frozen=True)
class Inner:
    place: Path
    counts: Mapping[str, int]
    rate: float | None = None


class Outer(TypedDict):
    inner: Inner
    kind: Literal["audio", "text"]
    names: tuple[str, ...]
    done: bool
    note: NotRequired[str]


@dataclass(frozen=True)
class Defaults:
    size: int = 3
    rows: list[int] = field(default_factory=list)


WHOLE: dict[str, Any] = {
    "inner": {"place": "a/b", "counts": {"x": 1}, "rate": 1},
    "kind": "text",
    "names": ["a", "b"],
    "done": True,
}


def test_what_fits_gets_its_type_and_other_keys_are_left() -> None:
    read = fit(Outer, {**WHOLE, "more": 3})
    assert read["inner"] == Inner(Path("a/b"), {"x": 1}, 1)
    assert type(read["inner"].rate) is int  # a checkpoint's numbers keep their bytes
    assert read["names"] == ("a", "b")
    assert read["more"] == 3
    assert fit(Defaults, {"unknown": 1}) == Defaults()
    assert fit(Inner, read["inner"]) is read["inner"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": None}, "inner is None, not a mapping"),
        ({"inner": {"place": "a"}}, "inner lacks counts"),
        ({"inner": {"place": 3, "counts": {}}}, "inner.place is 3, not a path"),
        ({"inner": {"place": "a", "counts": {"x": True}}}, "inner.counts.x is True, not a whole"),
        ({"inner": {"place": "a", "counts": {1: 1}}}, "the key 1 of inner.counts is 1, not text"),
        ({"inner": {"place": "a", "counts": []}}, "inner.counts is [], not a mapping"),
        (
            {"inner": {"place": "a", "counts": {}, "rate": "fast"}},
            "inner.rate is 'fast', not a number",
        ),
        ({"kind": "video"}, "kind is 'video', not audio or text"),
        ({"names": "ab"}, "names is 'ab', not a list"),
        ({"names": ["a", 1]}, "names[1] is 1, not text"),
        ({"done": 1}, "done is 1, not true or false"),
        ({"note": None}, "note is None, not text"),
        ({"names": {"a": "b" * 99}}, "names is {'a': '" + "b" * 30 + "..., not a list"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as error:
        fit(Outer, {**WHOLE, **change})
    assert message in str(error.value)


@pytest.mark.parametrize("value", [[], 3, None, "text"])
def test_a_file_of_another_kind_is_no_mapping(value: object) -> None:
    for hint in (Outer, Inner, dict[str, int]):
        with pytest.raises(ShapeError, match=r"^it is .*, not a mapping$"):
            fit(hint, value)
    with pytest.raises(ShapeError, match=r"^it lacks inner$"):
        fit(Outer, {})
