"""The features and labels of the utterances of a fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cfia.config import Config
from cfia.errors import UserError
from cfia.frontend import Frontend
from cfia.model.encoder import STD_FLOOR, Sequences
from cfia.training.device import PROCESSOR, Device
from cfia.training.feature_cache import Room, keep
from cfia.training.features import FeatureSet, Matrix, OnDisk, Shaping
from cfia.training.inputs import skipped


@dataclass(frozen=True)
class Dataset:
    """Utterances of one part of a fold.

    Attributes:
        utts: utterance ids.
        targets: (N,), class indices.
        features: the features of each modality as the network takes them (neighbouring audio
            frames averaged, cut to `max_frames`).
    """

    utts: list[str]
    targets: Tensor
    features: dict[str, FeatureSet]

    def __len__(self) -> int:
        return len(self.utts)

    def dims(self) -> dict[str, int]:
        """Give the width of a frame of each modality."""
        return {name: features.dim for name, features in self.features.items()}

    def lengths(self, name: str) -> Tensor:
        """Give the frames of each utterance in one modality, (N,)."""
        return self.features[name].lengths

    def guiding_lengths(self) -> Tensor:
        """Give the frames of the audio, or where there is none of the text, (N,)."""
        return self.lengths(next(iter(self.features)))

    def empty(self, indices: Sequence[int], device: Device) -> dict[str, Tensor]:
        """Make room on the host for what is sent of some utterances to a device."""
        return {name: each.empty(indices, device) for name, each in self.features.items()}

    def fill(self, room: Mapping[str, Tensor], indices: Sequence[int]) -> None:
        """Read what is sent of these utterances.

        Raises:
            UserError: as `OnDisk`.
        """
        for name, features in self.features.items():
            features.fill(room[name], indices)

    def send(self, room: Mapping[str, Tensor], device: Device) -> dict[str, Tensor]:
        """Give the features (B, longest T, D) on a device, 0 beyond each length."""
        return {name: each.gather(device.copy(room[name])) for name, each in self.features.items()}

    def sequences(
        self, tensors: Mapping[str, Tensor], indices: Sequence[int]
    ) -> dict[str, Sequences]:
        """Give what was sent its lengths."""
        return {
            name: Sequences(tensors[name], features.lengths[list(indices)])
            for name, features in self.features.items()
        }

    def batch(self, indices: Sequence[int]) -> dict[str, Sequences]:
        """Read a batch; `cfia.training.feeding` reads many ahead."""
        room = self.empty(indices, PROCESSOR)
        self.fill(room, indices)
        return self.sequences(self.send(room, PROCESSOR), indices)


def averaging(frame_shift: float | None, frame_rate: float) -> int:
    """Count the neighbouring frames for one at about `frame_rate` Hz (0: one).

    Args:
        frame_shift: seconds from one frame to the next; None of text, or where nobody knows.
    """
    return max(1, round(1 / (frame_shift * frame_rate))) if frame_rate and frame_shift else 1


def load(
    utts: Sequence[str],
    utt2emo: Mapping[str, str],
    classes: Sequence[str],
    dumps: Mapping[str, Path],
    config: Config,
    cache: str = "auto",
) -> Dataset:
    """Open the features of some utterances, without those that a dump had to skip.

    Args:
        dumps: the dump directory of each modality used, of "audio" and "text".
        cache: where the features are kept; see `feature_cache.keep`.

    Raises:
        UserError: an utterance without a label, or as `OnDisk`.
    """
    left_out = skipped(dumps)
    utts = [utt for utt in utts if utt not in left_out]
    index = {name: i for i, name in enumerate(classes)}
    for utt in utts:
        if utt not in utt2emo:
            raise UserError(f"{utt} of the fold lists is not in utt2emo; run stages 1 and 2 again")
    features: dict[str, FeatureSet] = {}
    for name, directory in dumps.items():
        k = averaging(Frontend.read(directory).frame_shift, config.model.frame_rate)
        shaping = Shaping(k, config.model.max_frames)
        features[name] = OnDisk(directory / "feats.scp", utts, shaping)
    targets = torch.tensor([index[utt2emo[utt]] for utt in utts])
    return keep_together({"": Dataset(list(utts), targets, features)}, cache)[""]


def keep_together(
    parts: Mapping[str, Dataset], cache: str, room: Room | None = None
) -> dict[str, Dataset]:
    """Keep the features of several parts, which are still on disk alone, as `keep` does."""
    sets = [s for part in parts.values() for s in part.features.values() if isinstance(s, OnDisk)]
    kept = iter(keep(sets, cache, room=room))
    return {
        name: replace(part, features={modality: next(kept) for modality in part.features})
        for name, part in parts.items()
    }


def global_statistics(features: FeatureSet) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation per dimension over all frames, (D,) each, in float64."""
    total, square = torch.zeros(2, features.dim, dtype=torch.float64)
    for i in range(len(features)):
        total += _double(features[i]).sum(dim=0)
    mean = total / int(features.lengths.sum())
    for i in range(len(features)):
        square += (_double(features[i]) - mean).square().sum(dim=0)
    variance = square / int(features.lengths.sum())
    return mean.float(), (variance + STD_FLOOR**2).sqrt().float()


def _double(matrix: Matrix) -> Tensor:
    return torch.from_numpy(matrix.astype("float64"))
