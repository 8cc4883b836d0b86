"""Read and write Kaldi archives of float matrices: ark files, and scp lines that point to them."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

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
    with damage(utterance, archive, offset, "make it again"), open(archive, "rb") as handle:
        handle.seek(offset)
        mark, kind = handle.read(2), handle.read(3)
        if mark != b"\0B" or kind not in (*_MATRICES, *_VECTORS):
            raise ValueError
        handle.seek(offset)
        values = matrix_or_vector(handle)
    return np.atleast_2d(np.asarray(values, dtype=np.float32))


def matrix_or_vector(handle: BinaryIO) -> NDArray[np.float32]:
    """Decode an entry, behind the checks of its callers."""
    # Needed where there are archives, and only there.
    from kaldiio.matio import read_matrix_or_vector

    values: NDArray[np.float32] = read_matrix_or_vector(handle)
    return values


# How each kind has its rows and columns behind its token, and its bytes per value and per column.
# A byte stands before each size; before those of a compressed matrix, least value and range.
_MATRICES = {
    b"FM ": ("<xixi", 4, 0),
    b"DM ": ("<xixi", 8, 0),
    b"CM ": ("<8xii", 1, 8),
    b"CM2": ("<x8xii", 2, 0),
    b"CM3": ("<x8xii", 1, 0),
}
_VECTORS = (b"FV ", b"DV ")

HEADER = 22  # bytes of the longest header


@dataclass(frozen=True)
class Header:
    """What the header of a binary matrix says.

    Attributes:
        start: bytes of the header itself.
        size: bytes of the whole entry.
    """

    rows: int
    columns: int
    is_float32: bool
    start: int
    size: int

    @classmethod
    def of(cls, data: bytes) -> Header:
        """Read the first `HEADER` bytes of an entry; ValueError if it is not a matrix.

        kaldiio's general reader would unpickle an entry that says it is a pickle, so the header is
        looked at first, and only the matrix reader is called.
        """
        if data[:2] != b"\0B" or data[2:5] not in _MATRICES:
            raise ValueError
        sizes, width, per_column = _MATRICES[data[2:5]]
        start = 5 + struct.calcsize(sizes)
        rows, columns = struct.unpack(sizes, data[5:start])
        if rows < 0 or columns < 0:
            raise ValueError
        size = start + per_column * columns + width * rows * columns
        return cls(rows, columns, data[2:5] == b"FM ", start, size)


@contextlib.contextmanager
def damage(
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
