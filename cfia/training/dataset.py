"""The features and labels of the utterances of a fold, in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cfia.config import Config, read_yaml
from cfia.errors import UserError
from cfia.kaldi.archive import load_features
from cfia.kaldi.table import read_table
from cfia.model.encoder import STD_FLOOR, Sequences

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Utterances of one part of a fold.

    Attributes:
        utts: utterance ids.
        targets: (N,), class indices.
        features: for each modality, one float32 (T, D) tensor per utterance, as the network
            takes it (neighbouring audio frames averaged, cut to `max_frames`).
    """

    utts: list[str]
    targets: Tensor
    features: dict[str, list[Tensor]]

    def __len__(self) -> int:
        return len(self.utts)

    def batch(self, indices: Sequence[int], device: torch.device) -> dict[str, Sequences]:
        """The features of some utterances, padded with zeros."""
        return {
            name: Sequences(
                torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], True).to(device),
                torch.tensor([len(rows[i]) for i in indices]),
            )
            for name, rows in self.features.items()
        }


def average_frames(matrix: np.ndarray, k: int) -> np.ndarray:
    """(T, D) to (ceil(T/k), D): means of k neighbouring frames, of fewer at the end."""
    if k == 1:
        return matrix
    starts = np.arange(0, len(matrix), k)
    counts = np.diff(np.append(starts, len(matrix)))[:, None]
    means: np.ndarray = np.add.reduceat(matrix, starts, axis=0) / counts
    return means.astype(matrix.dtype)


def averaging(dump: Path, frame_rate: float) -> int:
    """How many neighbouring frames of a dump make one at about `frame_rate` Hz (0: one)."""
    shift = read_yaml(dump / "frontend.yaml").get("frame_shift")
    return max(1, round(1 / (shift * frame_rate))) if frame_rate and shift else 1


def skipped(dumps: Mapping[str, Path]) -> dict[str, str]:
    """Utterances that `--skip_bad true` left without features in any dump, and why."""
    found: dict[str, str] = {}
    for directory in dumps.values():
        if (directory / "skipped").exists():
            found.update(read_table(directory / "skipped"))
    return found


def load(
    utts: Sequence[str],
    utt2emo: Mapping[str, str],
    classes: Sequence[str],
    dumps: Mapping[str, Path],
    config: Config,
) -> Dataset:
    """Read the features of some utterances, without those that a dump had to skip.

    Args:
        dumps: the dump directory of each modality used, of "audio" and "text".

    Raises:
        UserError: an utterance without a label or without features, or features with NaN.
    """
    left_out = skipped(dumps)
    utts = [utt for utt in utts if utt not in left_out]
    index = {name: i for i, name in enumerate(classes)}
    for utt in utts:
        if utt not in utt2emo:
            raise UserError(f"{utt} of the fold lists is not in utt2emo; run stages 1 and 2 again")
    features = {}
    for name, directory in dumps.items():
        matrices = load_features(directory / "feats.scp", list(utts))
        k = averaging(directory, config.model.frame_rate) if name == "audio" else 1
        features[name] = [
            torch.from_numpy(average_frames(matrices[utt], k)[: config.model.max_frames].copy())
            for utt in utts
        ]
        for utt, matrix in zip(utts, features[name], strict=True):
            if not torch.isfinite(matrix).all():
                raise UserError(f"{utt}: its features in {directory} hold NaN; dump them again")
    return Dataset(list(utts), torch.tensor([index[utt2emo[utt]] for utt in utts]), features)


def global_statistics(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per dimension over all frames, (D,) each, summed in float64."""
    count = sum(len(row) for row in rows)
    mean = torch.stack([row.double().sum(dim=0) for row in rows]).sum(dim=0) / count
    variance = torch.stack([(row.double() - mean).square().sum(dim=0) for row in rows]).sum(dim=0)
    return mean.float(), (variance / count + STD_FLOOR**2).sqrt().float()
