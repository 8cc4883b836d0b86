"""Kaldi archives of float matrices: ark files, and the scp lines that point into them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import kaldiio
import numpy as np
from kaldiio.matio import read_matrix_or_vector
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
    """One entry of a binary archive.

    Returns:
        The entry's bytes, and how far into them the matrix begins: what an scp line points at.
    """
    buffer = io.BytesIO()
    kaldiio.save_ark(buffer, {utterance: matrix}, compression_method=compression_method or None)
    return buffer.getvalue(), len(f"{utterance} ".encode())


def load_features(feats_scp: Path, utterances: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Read the matrices of some utterances through a feats.scp.

    Raises:
        UserError: feats.scp is missing or malformed, lacks an utterance, or as `read_matrices`.
    """
    scp = read_table(feats_scp)
    wanted = list(utterances)
    missing = [utterance for utterance in wanted if utterance not in scp]
    if missing:
        more = f" and {len(missing) - 1} more utterances" if len(missing) > 1 else ""
        raise UserError(
            f"{feats_scp} lacks {missing[0]}{more}; run the stage that dumps the features again"
        )
    return read_matrices({utterance: scp[utterance] for utterance in wanted})


def read_matrices(scp: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """Read matrices, opening each archive once and reading it from front to back.

    Args:
        scp: utterance -> `<archive>:<offset>`. Pipes and ranges are not read.

    Returns:
        utterance -> float32 (frames, dim), in the order of `scp`.

    Raises:
        UserError: an entry is not of that form, its archive is missing or cut short, or what is
            there is not a matrix.
    """
    by_archive: dict[str, list[tuple[int, str]]] = {}
    for utterance, value in scp.items():
        archive, offset = _parse(utterance, value)
        by_archive.setdefault(archive, []).append((offset, utterance))
    matrices: dict[str, NDArray[np.float32]] = {}
    for archive, entries in by_archive.items():
        try:
            with open(archive, "rb") as handle:
                for offset, utterance in sorted(entries):
                    matrices[utterance] = _read(handle, offset, utterance, archive)
        except OSError as error:
            raise UserError(
                f"the archive {archive} cannot be read ({error.strerror}); if it was moved or "
                "deleted, run the stage that dumps the features again with --force true"
            ) from None
    return {utterance: matrices[utterance] for utterance in scp}


def _parse(utterance: str, value: str) -> tuple[str, int]:
    archive, colon, offset = value.rpartition(":")
    if not colon or not offset.isdecimal():
        raise UserError(
            f"the scp entry of {utterance} is {value!r}, not <archive>:<offset>; dump the "
            "features with our stage, or convert them with Kaldi's copy-feats"
        )
    return archive, int(offset)


def _read(handle: BinaryIO, offset: int, utterance: str, archive: str) -> NDArray[np.float32]:
    handle.seek(offset)
    # kaldiio's general reader would unpickle an entry that says it is a pickle, so the binary
    # header is looked at first and only the matrix reader is called.
    header = handle.read(2)
    handle.seek(offset)
    try:
        matrix = read_matrix_or_vector(handle) if header == b"\0B" else None
    except (ValueError, AssertionError, struct.error):
        matrix = None
    if matrix is None or matrix.ndim != 2:
        raise UserError(
            f"{archive} holds no whole matrix of {utterance} at byte {offset}; run the stage that "
            "dumps the features again with --force true"
        )
    # A copy: what kaldiio returns is read-only, which torch does not take.
    return np.array(matrix, dtype=np.float32)
