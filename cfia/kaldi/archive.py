"""Read and write Kaldi archives of float matrices: ark files, and scp lines that point to them."""

from __future__ import annotations

import contextlib
import io
import mmap
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.kaldi.table import read_table

# Kaldi's numbers of --compression-method that may be asked for; 0 is float32. 2 keeps a byte and
# 3 two bytes per number. 5, a byte with one range for the whole matrix, loses too much on
# embeddings of 768 dimensions.
COMPRESSION_METHODS = (0, 2, 3)


def entry(
    utterance: str, matrix: NDArray[np.float32], compression_method: int = 0
) -> tuple[bytes, int]:
    """Encode one entry of a binary archive.

    Returns:
        The entry's bytes, and the offset of the matrix in them, which an scp line points to.
    """
    import kaldiio

    buffer = io.BytesIO()
    kaldiio.save_ark(buffer, {utterance: matrix}, compression_method=compression_method or None)
    return buffer.getvalue(), len(f"{utterance} ".encode())


def entries(feats_scp: Path, utterances: Iterable[str]) -> dict[str, str]:
    """Read the lines of a feats.scp about some utterances, as `Archives` takes them.

    An archive that lies beside its feats.scp is taken from there, wherever both were when it was
    written: a directory may be moved or copied.

    Raises:
        UserError: feats.scp is missing or malformed, or lacks an utterance.
    """
    scp = read_table(feats_scp)
    selected = list(utterances)
    missing = [utterance for utterance in selected if utterance not in scp]
    if missing:
        more = f" and {len(missing) - 1} more utterances" if len(missing) > 1 else ""
        raise UserError(
            f"{feats_scp} lacks {missing[0]}{more}; run the stage that dumps the features again"
        )
    here = feats_scp.parent.resolve()

    @cache
    def found(archive: str) -> str:
        beside = here / Path(archive).name
        return str(beside) if beside.is_file() else archive

    rows = {utterance: scp[utterance].rpartition(":") for utterance in selected}
    return {u: f"{found(archive)}{colon}{at}" for u, (archive, colon, at) in rows.items()}


class Archives:
    """Matrices in archives that are opened once, to be read one at a time in any order.

    Args:
        scp: utterance -> `<archive>:<offset>`. Pipes and ranges are not read.
        mapped: map the archives into memory. Matrices of float32 are then read without a copy,
            from pages that all processes of the machine share.

    Raises:
        UserError: an entry is not of that form.
    """

    def __init__(self, scp: Mapping[str, str], *, mapped: bool = False) -> None:
        self._places = {utterance: parse(utterance, value) for utterance, value in scp.items()}
        self._mapped = mapped
        self._open: dict[str, BinaryIO | mmap.mmap] = {}
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()  # a handle has one position, whoever reads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def in_order(self, utterances: Iterable[str]) -> list[str]:
        """Sort utterances as the archives hold them, which is the fastest order to read them in."""
        return sorted(utterances, key=self._places.__getitem__)

    def shape(self, utterance: str) -> tuple[int, int]:
        """Read the frames and dimensions of a matrix from its header.

        Raises:
            UserError: as `read`.
        """
        archive, offset = self._places[utterance]
        with self._lock, _damage(utterance, archive, offset):
            return _shape(self._at(archive, offset))[1]

    def read(self, utterance: str) -> NDArray[np.float32]:
        """Read the matrix (frames, dim) of an utterance; it cannot be written to.

        Raises:
            UserError: its archive is missing or cut short, or what is there is not a matrix.
        """
        archive, offset = self._places[utterance]
        with self._lock, _damage(utterance, archive, offset):
            handle = self._at(archive, offset)
            kind, (rows, columns) = _shape(handle)
            if kind == b"FM " and isinstance(handle, mmap.mmap):
                values = np.frombuffer(handle, "<f4", rows * columns, offset + _FLOAT_HEADER)
                return values.reshape(rows, columns)
            handle.seek(offset)
            matrix = _matrix_or_vector(handle)
        return np.asarray(matrix, dtype=np.float32)

    def _at(self, archive: str, offset: int) -> BinaryIO | mmap.mmap:
        """Get the archive, open at `offset`."""
        if archive not in self._open:
            self._open[archive] = self._opened(archive)
        self._open[archive].seek(offset)
        return self._open[archive]

    def _opened(self, archive: str) -> BinaryIO | mmap.mmap:
        file = open(archive, "rb")  # noqa: SIM115 (the stack closes it)
        self._stack.push(file)
        if not self._mapped:
            return file
        return self._stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read_entry(utterance: str, value: str) -> NDArray[np.float32]:
    """Read one entry of an archive that others have written.

    Args:
        value: as of a line of an scp file, `<archive>:<offset>`.

    Returns:
        The matrix (frames, dim); of a vector, (1, dim).

    Raises:
        UserError: the value is not of that form; the archive is missing or cut short, or what is
            there is neither.
    """
    archive, offset = parse(utterance, value)
    with _damage(utterance, archive, offset, "make it again"), open(archive, "rb") as handle:
        handle.seek(offset)
        mark, kind = handle.read(2), handle.read(3)
        if mark != b"\0B" or kind not in (*_MATRICES, *_VECTORS):
            raise ValueError
        handle.seek(offset)
        values = _matrix_or_vector(handle)
    return np.atleast_2d(np.asarray(values, dtype=np.float32))


def _matrix_or_vector(handle: BinaryIO | mmap.mmap) -> NDArray[np.float32]:
    from kaldiio.matio import (
        read_matrix_or_vector,
    )  # needed where there are archives, and only there

    values: NDArray[np.float32] = read_matrix_or_vector(handle)
    return values


_MATRICES = (b"FM ", b"DM ", b"CM ", b"CM2", b"CM3")
_VECTORS = (b"FV ", b"DV ")

# "\0B", "FM ", and two sizes of four bytes, each behind a byte that says so.
_FLOAT_HEADER = 15


def _shape(handle: BinaryIO | mmap.mmap) -> tuple[bytes, tuple[int, int]]:
    """Read the kind of a binary matrix, its rows and columns; ValueError if it is not one.

    kaldiio's general reader would unpickle an entry that says it is a pickle, so the header is
    looked at first, and only the matrix reader is called.
    """
    mark, kind = handle.read(2), handle.read(3)
    if mark != b"\0B" or kind not in _MATRICES:
        raise ValueError
    if kind in (b"FM ", b"DM "):
        rows, columns = struct.unpack("<xixi", handle.read(10))
    else:
        # Least value and range, then the sizes; the token ends in a blank.
        skip = 8 if kind == b"CM " else 9
        rows, columns = struct.unpack(f"<{skip}xii", handle.read(skip + 8))
    if rows < 0 or columns < 0:
        raise ValueError
    return kind, (rows, columns)


@contextlib.contextmanager
def _damage(
    utterance: str,
    archive: str,
    offset: int,
    way_out: str = "run the stage that dumps the features again with --force true",
) -> Iterator[None]:
    """Turn the exceptions of a missing or damaged archive into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the archive {archive} cannot be read ({error.strerror}); if it was moved or "
            f"deleted, {way_out}"
        ) from None
    except (ValueError, AssertionError, struct.error):
        raise UserError(
            f"{archive} holds no whole matrix of {utterance} at byte {offset}; {way_out}"
        ) from None


def parse(utterance: str, value: str) -> tuple[str, int]:
    """Split the value of a line of an scp file into archive and offset.

    Raises:
        UserError: it is another form that Kaldi reads: a pipe, a range, a file of one matrix.
    """
    archive, colon, offset = value.rpartition(":")
    if not colon or not offset.isdecimal():
        raise UserError(
            f"the scp entry of {utterance} is {value!r}, not <archive>:<offset>; dump the "
            "features with stages 3 and 4, or convert them with Kaldi's copy-feats"
        )
    return archive, int(offset)
