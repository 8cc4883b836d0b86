"""Features that are drawn, for tests of what comes behind their files."""

from __future__ import annotations

import numpy as np
import torch

from cfia.training.features import FeatureSet, Matrix


class Drawn(FeatureSet):
    """Random matrices of one frame, of two, and so on."""

    kept = "in memory"

    def __init__(self, n: int, dim: int):
        rng = np.random.default_rng(dim)
        self._matrices = [rng.normal(size=(i + 1, dim)).astype(np.float32) for i in range(n)]
        self.lengths, self.dim = torch.arange(1, n + 1), dim

    def __getitem__(self, index: int) -> Matrix:
        return self._matrices[index]
