"""Read the frozen features of some utterances for training: in memory, mapped, or from disk.

Where they are kept changes no value: every way gives the same matrices.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfia.errors import UserError
from cfia.kaldi.archive import entries
from cfia.kaldi.archives import Archives

_TOGETHER = 32  # matrices that the system fetches together, while others are read
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
        counts = np.full((self.length(len(matrix)), 1), k, dtype=np.float32)
        counts[-1] -= -len(matrix) % k
        return _sums(matrix, k) / counts


def _sums(matrix: Matrix, k: int) -> Matrix:
    """Add up every k frames, in the order of `np.add.reduceat`, to the last bit.

    Up to eight frames that is the first one, and the sum of the others from left to right. To add
    frames of all groups at once takes a tenth of its time.
    """
    if k > 8:
        return np.add.reduceat(matrix, np.arange(0, len(matrix), k), axis=0)
    others = np.full_like(matrix[::k], -0.0)  # added to another -0.0, it leaves that
    for i in range(1, k):
        frames = matrix[i::k]
        others[: len(frames)] += frames
    return matrix[::k] + others


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

    def read_into(self, matrix: Matrix, index: int) -> None:
        """Write a matrix into an array of its shape."""
        matrix[:] = self[index]

    def size(self) -> int:
        """Count the bytes of all matrices."""
        return 4 * self.dim * int(self.lengths.sum())

    def empty(self, indices: Sequence[int]) -> Tensor:
        """Make room for a batch of some utterances: (B, longest T, D), of any values."""
        return torch.empty(len(indices), int(self.lengths[list(indices)].max()), self.dim)

    def fill(self, batch: Tensor, indices: Sequence[int]) -> None:
        """Write matrices into a batch (B, longest T, D), and 0 beyond each length."""
        lengths = self.lengths[list(indices)].tolist()
        for row, index, length in zip(batch.numpy(), indices, lengths, strict=True):
            self.read_into(row[:length], index)
            row[length:] = 0


class OnDisk(FeatureSet):
    """Matrices that are read from their archives each time they are asked for.

    Raises:
        UserError: feats.scp is missing or malformed, lacks an utterance, or as `Archives.read`;
            utterances differ in their width; features that are not finite.
    """

    def __init__(self, feats_scp: Path, utts: Sequence[str], shaping: Shaping):
        self.kept = "read from the archives"
        self._utts, self._shaping, self._source = list(utts), shaping, feats_scp
        self._archives = Archives(entries(feats_scp, utts), scattered=True)
        shapes = [self._archives.shape(utt) for utt in utts]
        self.dim = shapes[0][1] if shapes else 0
        for utt, (_, dim) in zip(utts, shapes, strict=True):
            if dim != self.dim:
                raise UserError(
                    f"{feats_scp}: frames of {utt} have {dim} dimensions and those of {utts[0]} "
                    f"{self.dim}; {_WAY_OUT}"
                )
        self.lengths = torch.tensor([shaping.length(frames) for frames, _ in shapes])

    def map(self) -> None:
        """Map the archives from now on."""
        self.kept, self._archives.mapped = "mapped from the archives", True

    def size_on_disk(self) -> int:
        """Count the bytes of what is read of the archives."""
        return sum(self._archives.bytes_of(utt, self._shaping.kept) for utt in self._utts)

    def __getitem__(self, index: int) -> Matrix:
        matrix = self._archives.read(self._utts[index], self._shaping.kept)
        return self._checked(self._shaping(matrix), index)

    def read_into(self, matrix: Matrix, index: int) -> None:
        """Write a matrix into an array of its shape, from the disk without a copy between."""
        if self._shaping.average > 1:
            super().read_into(matrix, index)
        else:
            self._archives.read_into(matrix, self._utts[index])
            self._checked(matrix, index)

    def fill(self, batch: Tensor, indices: Sequence[int]) -> None:
        """Write matrices into a batch, having let the system fetch them all at once."""
        self.expect(indices)
        super().fill(batch, indices)

    def expect(self, indices: Sequence[int]) -> None:
        """Let the system fetch these matrices, without waiting for them."""
        for index in indices:
            self._archives.expect(self._utts[index], self._shaping.kept)

    def _checked(self, matrix: Matrix, index: int) -> Matrix:
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
        order = source.in_order()
        for i, index in enumerate(order):
            if i % _TOGETHER == 0:
                source.expect(order[i + _TOGETHER : i + 2 * _TOGETHER])
            source.read_into(self[index], index)

    def __getitem__(self, index: int) -> Matrix:
        return self._frames[self._starts[index] : self._starts[index + 1]]
