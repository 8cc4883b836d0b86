"""Whole matrices of archives for tests; the programs read them one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cfia.kaldi.archive import entries
from cfia.kaldi.archives import Archives


def load_features(feats_scp: Path, utterances: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Read the matrices of some utterances through a feats.scp."""
    return read_matrices(entries(feats_scp, utterances))


def read_matrices(scp: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """Read matrices (frames, dim) in the order of `scp`, which is as of `Archives`."""
    with Archives(scp) as archives:
        return {utterance: archives.read(utterance) for utterance in scp}
