"""Whole matrices of a feats.scp or of scp lines, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cfia.kaldi.archive import Archives, entries


def load_features(feats_scp: Path, utterances: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    return read_matrices(entries(feats_scp, utterances))


def read_matrices(scp: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    with Archives(scp) as archives:
        matrices = {u: np.array(archives.read(u)) for u in archives.in_order(scp)}
    return {utterance: matrices[utterance] for utterance in scp}
