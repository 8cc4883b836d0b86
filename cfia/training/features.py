"""Read the frozen features of some utterances for training: in memory, mapped, or from disk.

Where they are kept changes no value: every way gives the same matrices.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfia.errors import UserError
from cfia.kaldi.archive import Archives, entries

# `auto` holds features in memory if they take at most this fraction of the memory that is free now,
# divided by the number of processors, since a training may run on each of them.
MEMORY_FRACTION = 0.25
_WAY_OUT = "make them again (stage 3 or 4, or `cfia import_features`, with --force true)"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Shaping:
    """The shaping of a matrix for the network: neighbouring frames are averaged, then it is cut.

    Attributes:
        average: how many neighbouring frames make one; 1 leaves them as they are.
        longest: the most frames that are kept.
    """

    average: int
    longest: int

    @property
    def kept(self) -> int:
        """The frames of a matrix that are used, the first ones."""
        return self.average * self.longest

    def length(self, frames: int) -> int:
        """Count the frames that are left of so many."""
        return min(-(-frames // self.average), self.longest)

    def __call__(self, matrix: Matrix) -> Matrix:
        """Shape (T, D) to (length(T), D); the mean of an incomplete group is over its frames."""
        k = self.average
        matrix = matrix[: self.kept]
        if k == 1:
            return matrix
        starts = np.arange(0, len(matrix), k)
        counts = np.diff(np.append(starts, len(matrix)))[:, None]
        means = np.add.reduceat(matrix, starts, axis=0) / counts
        return means.astype(np.float32)


class FeatureSet(abc.ABC):
    """Matrices (T, D) of some utterances, by their index.

    Attributes:
        lengths: (N,), T of each.
        dim: D.
        kept: where they are kept, for the log.
    """

    lengths: Tensor
    dim: int
    kept: str

    def __len__(self) -> int:
        return len(self.lengths)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Matrix:
        """Give a matrix, which must not be written to."""

    def padded(self, indices: Sequence[int]) -> Tensor:
        """Make a batch of some utterances: (B, longest T, D), 0 beyond each length."""
        size = int(self.lengths[list(indices)].max())
        batch = np.empty((len(indices), size, self.dim), dtype=np.float32)
        for row, index in zip(batch, indices, strict=True):
            length = int(self.lengths[index])
            row[:length] = self[index]
            row[length:] = 0
        return torch.from_numpy(batch)


class OnDisk(FeatureSet):
    """Matrices that are read from their archives, mapped or not, each time they are asked for.

    Raises:
        UserError: feats.scp is missing or malformed, lacks an utterance, or as `Archives.read`;
            utterances differ in their width; features that are not finite.
    """

    def __init__(self, feats_scp: Path, utts: Sequence[str], shaping: Shaping, *, mapped: bool):
        self.kept = "mapped from the archives" if mapped else "read from the archives"
        self._utts, self._shaping, self._source = list(utts), shaping, feats_scp
        self._archives = Archives(entries(feats_scp, utts), mapped=mapped)
        shapes = [self._archives.shape(utt) for utt in utts]
        self.dim = shapes[0][1] if shapes else 0
        for utt, (_, dim) in zip(utts, shapes, strict=True):
            if dim != self.dim:
                raise UserError(
                    f"{feats_scp}: frames of {utt} have {dim} dimensions and those of {utts[0]} "
                    f"{self.dim}; {_WAY_OUT}"
                )
        self.lengths = torch.tensor([shaping.length(frames) for frames, _ in shapes])

    def __getitem__(self, index: int) -> Matrix:
        matrix = self._shaping(self._archives.read(self._utts[index]))
        if not np.isfinite(matrix).all():
            raise UserError(
                f"{self._utts[index]}: its features in {self._source.parent} hold NaN or infinity; "
                f"{_WAY_OUT}"
            )
        return matrix

    def in_order(self) -> list[int]:
        """List the indices in the order of the archives."""
        index = {utt: i for i, utt in enumerate(self._utts)}
        return [index[utt] for utt in self._archives.in_order(self._utts)]


class InMemory(FeatureSet):
    """One array with the frames of all utterances, one behind the other; reads all of a source."""

    kept = "in memory"

    def __init__(self, source: OnDisk):
        self.lengths, self.dim = source.lengths, source.dim
        self._starts = [0, *source.lengths.cumsum(dim=0).tolist()]
        self._frames = np.empty((self._starts[-1], self.dim), dtype=np.float32)
        for index in source.in_order():
            self[index][:] = source[index]

    def __getitem__(self, index: int) -> Matrix:
        return self._frames[self._starts[index] : self._starts[index + 1]]


def open_features(
    feats_scp: Path, utts: Sequence[str], shaping: Shaping, cache: str, free: float | None = None
) -> FeatureSet:
    """Open the features of some utterances, kept as `cache` says.

    Args:
        cache: "ram": one array in memory; "mmap": mapped archives, in pages that all trainings on
            the machine share; "none": read whenever they are wanted; "auto": "ram" where that is
            at most `MEMORY_FRACTION` of the free memory per processor, else "mmap".
        free: bytes of free memory per processor (default: those of this machine, now).

    Raises:
        UserError: as `OnDisk`.
    """
    source = OnDisk(feats_scp, utts, shaping, mapped=cache != "none")
    if cache == "auto":
        size = 4 * source.dim * int(source.lengths.sum())
        cache = (
            "ram" if size <= MEMORY_FRACTION * (free_memory() if free is None else free) else "mmap"
        )
    return InMemory(source) if cache == "ram" else source


def free_memory() -> float:
    """Give the bytes of free memory per processor; half of all memory where it is not known."""
    processors = os.cpu_count() or 1
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(kib) / processors
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 / processors
