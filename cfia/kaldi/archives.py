"""Read matrices out of Kaldi archives that are opened once: copied, or mapped into memory."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cfia.kaldi.archive import HEADER, Header, damage, matrix_or_vector, parse


class Archives:
    """Matrices in archives that are opened once, to be read in any order and by several threads.

    Args:
        scp: utterance -> `<archive>:<offset>`. Pipes and ranges are not read.
        scattered: they are read in a random order, so the system does not read on by itself.

    Attributes:
        mapped: whether the archives are mapped into memory. Matrices of float32 are then read
            without a copy; others are decoded each time.

    Raises:
        UserError: an entry is not of that form.
    """

    def __init__(self, scp: Mapping[str, str], *, scattered: bool = False) -> None:
        self._places = {utterance: parse(utterance, value) for utterance, value in scp.items()}
        self._scattered = scattered
        self.mapped = False
        self._headers: dict[str, Header] = {}
        self._open: dict[str, _Archive] = {}
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()  # no archive is opened twice

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def in_order(self, utterances: Iterable[str]) -> list[str]:
        """Sort utterances as the archives hold them, which is the fastest order to read them in."""
        return sorted(utterances, key=self._places.__getitem__)

    def header(self, utterance: str) -> Header:
        """Read the header of a matrix, once.

        Raises:
            UserError: as `read`.
        """
        if utterance not in self._headers:
            name, offset = self._places[utterance]
            with damage(utterance, name, offset):
                archive = self._archive(name)
                header = Header.of(archive.read(offset, HEADER))
                archive.check(offset + header.size)
            self._headers[utterance] = header
        return self._headers[utterance]

    def shape(self, utterance: str) -> tuple[int, int]:
        """Give the frames and dimensions of a matrix, from its header.

        Raises:
            UserError: as `read`.
        """
        header = self.header(utterance)
        return header.rows, header.columns

    def read(self, utterance: str, rows: int | None = None) -> NDArray[np.float32]:
        """Read the matrix (frames, dim) of an utterance, or its first rows; not to be written to.

        Raises:
            UserError: its archive is missing or cut short, or what is there is not a matrix.
        """
        header, (name, offset) = self.header(utterance), self._places[utterance]
        rows = header.rows if rows is None else min(rows, header.rows)
        with damage(utterance, name, offset):
            archive = self._archive(name)
            if not header.is_float32:
                encoded = io.BytesIO(archive.read(offset, header.size))
                matrix = np.asarray(matrix_or_vector(encoded), dtype=np.float32)[:rows]
            elif self.mapped:
                archive.check(offset + header.size)
                n = rows * header.columns
                matrix = np.frombuffer(archive.map, "<f4", n, offset + header.start)
                matrix = matrix.reshape(rows, header.columns)
            else:
                matrix = np.empty((rows, header.columns), dtype="<f4")
                archive.read_into(matrix, offset + header.start)
        matrix.flags.writeable = False
        return matrix

    def read_into(self, matrix: NDArray[np.float32], utterance: str) -> None:
        """Read the first rows of the matrix of an utterance into an array (rows, dim).

        Raises:
            UserError: as `read`.
        """
        header, (name, offset) = self.header(utterance), self._places[utterance]
        if self.mapped or not header.is_float32:
            matrix[:] = self.read(utterance, len(matrix))
            return
        with damage(utterance, name, offset):
            self._archive(name).read_into(matrix, offset + header.start)

    def expect(self, utterance: str, rows: int) -> None:
        """Let the system fetch the first rows of a matrix, without waiting for them.

        Raises:
            UserError: as `read`.
        """
        name, offset = self._places[utterance]
        with damage(utterance, name, offset):
            size = self.bytes_of(utterance, rows)
            self._archive(name).advise(os.POSIX_FADV_WILLNEED, offset, size)

    def bytes_of(self, utterance: str, rows: int) -> int:
        """Count the bytes that are read for the first rows of a matrix.

        Raises:
            UserError: as `read`.
        """
        header = self.header(utterance)
        if not header.is_float32:
            return header.size
        return header.start + 4 * header.columns * min(rows, header.rows)

    def _archive(self, name: str) -> _Archive:
        with self._lock:
            if name not in self._open:
                self._open[name] = self._stack.enter_context(_Archive(name))
                if self._scattered:
                    self._open[name].advise(os.POSIX_FADV_RANDOM)
            return self._open[name]


class _Archive:
    """An open archive. Bytes that it does not have are a ValueError."""

    def __init__(self, name: str) -> None:
        self._file = open(name, "rb", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self, end: int) -> None:
        """Make sure that it still has so many bytes: to touch a mapped page behind them kills."""
        if os.fstat(self._file.fileno()).st_size < end:
            raise ValueError

    def advise(self, advice: int, offset: int = 0, size: int = 0) -> None:
        """Tell the system how a range is read (all of it for size 0)."""
        os.posix_fadvise(self._file.fileno(), offset, size, advice)

    def read(self, offset: int, size: int) -> bytes:
        """Read at most so many bytes."""
        return os.pread(self._file.fileno(), size, offset)

    def read_into(self, matrix: NDArray[np.float32], offset: int) -> None:
        """Fill an array, contiguous and little-endian."""
        left = matrix.reshape(-1).view(np.uint8).data
        while left:
            n = os.preadv(self._file.fileno(), [left], offset)
            if not n:
                raise ValueError
            left, offset = left[n:], offset + n

    @cached_property
    def map(self) -> mmap.mmap:
        """Map all of it."""
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
