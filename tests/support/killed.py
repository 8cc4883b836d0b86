"""A training that dies at a checkpoint, as under SIGKILL, but in the tests' own process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cfia.training import checkpoint


class Killed(BaseException):
    """What no program of ours catches."""


@contextlib.contextmanager
def killed_at_checkpoint(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Die in the block, when checkpoint.pt has been written so many times."""
    save, left = checkpoint.save, number

    def save_and_die(path: Path, content: dict[str, Any]) -> None:
        nonlocal left
        save(path, content)
        left -= path.name == "checkpoint.pt"
        if left == 0:
            raise Killed

    with monkeypatch.context() as context:
        context.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            yield
