"""Frozen features of some utterances for training: on a device, in memory, mapped, or on disk.

Where they are kept changes no value: every way gives the same matrices.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfia.errors import UserError
from cfia.kaldi.archive import entries
from cfia.kaldi.archives import Archives
from cfia.training.device import PROCESSOR, Device

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

    def empty(self, indices: Sequence[int], device: Device = PROCESSOR) -> Tensor:
        """Make room for a batch of some utterances: (B, longest T, D), of any values."""
        return device.empty(len(indices), self.longest(indices), self.dim)

    def longest(self, indices: Sequence[int]) -> int:
        """Give the largest T of some utterances."""
        return int(self.lengths[list(indices)].max())

    def fill(self, batch: Tensor, indices: Sequence[int]) -> None:
        """Write matrices into a batch (B, longest T, D), and 0 beyond each length."""
        lengths = self.lengths[list(indices)].tolist()
        for row, index, length in zip(batch.numpy(), indices, lengths, strict=True):
            self.read_into(row[:length], index)
            row[length:] = 0

    def gather(self, sent: Tensor) -> Tensor:
        """Make of what `fill` has written, on the device, the batch (B, longest T, D)."""
        return sent


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
        self._finite = np.zeros(len(utts), dtype=np.bool_)  # those that were looked at, once

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
        if not self._finite[index] and not np.isfinite(matrix).all():
            raise UserError(
                f"{self._utts[index]}: its features in {self._source.parent} hold NaN or infinity; "
                f"{_WAY_OUT}"
            )
        self._finite[index] = True
        return matrix

    def in_order(self) -> Iterator[int]:
        """Give the indices in the order of the archives, to read all matrices of them."""
        index = {utt: i for i, utt in enumerate(self._utts)}
        order = [index[utt] for utt in self._archives.in_order(self._utts)]
        for i, this in enumerate(order):
            if i % _TOGETHER == 0:
                self.expect(order[i + _TOGETHER : i + 2 * _TOGETHER])
            yield this


class InMemory(FeatureSet):
    """One array with the frames of all utterances, one behind the other; reads all of a source."""

    kept = "in memory"

    def __init__(self, source: OnDisk):
        self.lengths, self.dim = source.lengths, source.dim
        self._starts = [0, *source.lengths.cumsum(dim=0).tolist()]
        self._frames = np.empty((self._starts[-1], self.dim), dtype=np.float32)
        for index in source.in_order():
            source.read_into(self[index], index)

    def __getitem__(self, index: int) -> Matrix:
        return self._frames[self._starts[index] : self._starts[index + 1]]


class OnDevice(FeatureSet):
    """The same array in the memory of a device, and behind it a frame of zeros.

    What is sent of a batch are the places of its frames there, (B, longest T).
    """

    kept = "on the GPU"

    def __init__(self, source: OnDisk, device: torch.device):
        self.lengths, self.dim = source.lengths, source.dim
        ends = source.lengths.cumsum(dim=0)
        self._starts, self._zero = ends - source.lengths, int(source.lengths.sum())
        self._frames = torch.zeros(self._zero + 1, self.dim, device=device)
        longest = int(source.lengths.max()) if len(source) else 0
        host = torch.empty(longest, self.dim)
        for index in source.in_order():
            frames = self._frames_of(index)
            source.read_into(host[: len(frames)].numpy(), index)
            frames.copy_(host[: len(frames)])

    def _frames_of(self, index: int) -> Tensor:
        return self._frames.narrow(0, int(self._starts[index]), int(self.lengths[index]))

    def __getitem__(self, index: int) -> Matrix:
        matrix: Matrix = self._frames_of(index).cpu().numpy()
        return matrix

    def empty(self, indices: Sequence[int], device: Device = PROCESSOR) -> Tensor:
        """Make room for the places of a batch of some utterances, (B, longest T)."""
        return device.empty(len(indices), self.longest(indices), dtype=torch.long)

    def fill(self, batch: Tensor, indices: Sequence[int]) -> None:
        """Write the place of each frame, and that of the zeros beyond each length."""
        step = torch.arange(batch.shape[1])
        starts, lengths = (each[list(indices), None] for each in (self._starts, self.lengths))
        batch.copy_(torch.where(step < lengths, starts + step, self._zero))

    def gather(self, sent: Tensor) -> Tensor:
        """Take the frames, (B, longest T, D)."""
        return self._frames.index_select(0, sent.flatten()).view(*sent.shape, self.dim)
