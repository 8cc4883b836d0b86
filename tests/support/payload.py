"""A payload for files of pickles, which nothing of ours may run."""

from __future__ import annotations

from collections.abc import Callable


class Payload:
    """Unpickled by pickle itself, it calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call
