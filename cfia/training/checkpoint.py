"""Checkpoints: written whole, with the same bytes for the same content; read without code."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

import torch

from cfia.errors import UserError
from cfia.files import atomic_write
from cfia.shapes import ShapeError, fit

Weights = dict[str, torch.Tensor]


class Network(TypedDict):
    """The contents of best.pt: the selected epoch, its weights, and the network's outputs."""

    epoch: int
    model: Weights
    classes: list[str]


class State(TypedDict):
    """The contents of checkpoint.pt: all that a training goes on from.

    Attributes:
        training: what tells it from all others.
        history: the rows of history.csv.
        totals, random: in the middle of an epoch, of its batches, and of random generators.
    """

    training: str
    history: list[dict[str, float]]
    model: Weights
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    totals: NotRequired[dict[str, Any]]
    random: NotRequired[dict[str, Any]]


Content = TypeVar("Content")


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` whole or not at all.

    Through a buffer, since `torch.save` writes the name of its file into the file.
    """
    buffer = io.BytesIO()
    torch.save(_canonical(content), buffer)
    with atomic_write(path, "wb") as handle:
        handle.write(buffer.getbuffer())


def _canonical(value: Any) -> Any:
    """Copy a value so that equal strings are one object and no container is shared.

    Pickle writes an object that it has met before as a reference. Whether two equal strings are
    one object depends on where they came from (a resumed training's are from a file), and without
    this the bytes of a checkpoint would too.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    return value


def remove_unfinished(directory: Path) -> None:
    """Remove what a killed job was writing of a training's files."""
    for temporary in directory.glob(".*.tmp.*"):
        temporary.unlink()


def load(path: Path, kind: type[Content], device: torch.device | str = "cpu") -> Content:
    """Read a checkpoint: tensors and plain values, never code.

    Args:
        kind: what it must hold.

    Raises:
        UserError: the file is missing, is no checkpoint of this kind, or is damaged.
    """
    damaged = UserError(
        f"{path} is damaged, or no checkpoint of cfia; run stage 5 (training) with --force true"
    )
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # its checksums, which torch does not look at
                raise damaged
        content: Content = fit(kind, torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run stage 5 (training) first") from None
    except ShapeError as error:
        raise UserError(
            f"{path} is not as cfia writes it ({error}); run stage 5 (training) with --force true"
        ) from None
    # zipfile raises NotImplementedError where a header names a method or a version of the future.
    except (
        RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, NotImplementedError,
        zipfile.BadZipFile, zlib.error, struct.error,
    ):  # fmt: skip
        raise damaged from None
    return content
