"""A packed model in use: `from cfia import load; load("DIR")("a.wav", text="...")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.inference import pack_file
from cfia.inference.pack_file import PackedEncoder, PackFile
from cfia.model.encoder import Sequences
from cfia.training.dataset import averaging
from cfia.training.features import Matrix, Shaping
from cfia.upstream import registry
from cfia.upstream.base import Upstream


@dataclass(frozen=True)
class Prediction:
    """The answer for one recording.

    Attributes:
        label: the class of the highest posterior.
        posteriors: class -> probability, in the order of the network's outputs.
    """

    label: str
    posteriors: dict[str, float]


class Model:
    """A pack, loaded: encoders and networks.

    Attributes:
        pack: what its config.json says.
        encoders: the frozen encoders, by modality.
        networks: one, or those of all folds, whose posteriors are averaged.
        shaping: by modality, what the networks do to features first.
    """

    def __init__(
        self,
        pack: PackFile,
        encoders: Mapping[str, Upstream],
        networks: Sequence[torch.nn.Module],
        device: torch.device,
    ):
        self.pack, self.encoders, self._device = pack, encoders, device
        self.networks = [network.to(device) for network in networks]
        config = pack.config
        self.shaping = {
            modality: Shaping(
                averaging(packed.frontend.frame_shift, config.frame_rate), config.max_frames
            )
            for modality, packed in pack.encoders.items()
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the posteriors."""
        return self.pack.classes

    def posteriors(self, features: Mapping[str, Sequence[Matrix]]) -> NDArray[np.float64]:
        """Compute posteriors (N, classes) of one batch, the mean over the networks.

        Args:
            features: by modality, N matrices (frames, dim) as its encoder gives them.
        """
        batch = self.batch(features)
        each = [self.of_network(k, batch) for k in range(len(self.networks))]
        mean: NDArray[np.float64] = np.mean(each, axis=0)
        return mean

    def batch(self, features: Mapping[str, Sequence[Matrix]]) -> dict[str, Sequences]:
        """Average and cut frames as in training, and pad them with zeros."""
        batch = {}
        for name, shaping in self.shaping.items():
            shaped = [torch.from_numpy(shaping(matrix)) for matrix in features[name]]
            padded = torch.nn.utils.rnn.pad_sequence(shaped, batch_first=True)
            lengths = torch.tensor([len(matrix) for matrix in shaped])
            batch[name] = Sequences(padded.to(self._device), lengths)
        return batch

    @torch.no_grad()
    def of_network(self, k: int, batch: dict[str, Sequences]) -> NDArray[np.float64]:
        """Compute posteriors (N, classes) of one network, as stage 6 does."""
        logits = self.networks[k](batch).logits.double().cpu()
        posteriors: NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
        return posteriors

    def prediction(self, posteriors: NDArray[np.float64]) -> Prediction:
        """Name the classes of one row (classes,)."""
        by_class = dict(zip(self.classes, map(float, posteriors), strict=True))
        return Prediction(self.classes[int(posteriors.argmax())], by_class)


def load(
    model: str | Path,
    *,
    revision: str | None = None,
    device: str = "cpu",
    num_threads: int | None = None,
    audio_model: str | None = None,
    text_model: str | None = None,
) -> Model:
    """Load a packed model and its encoders.

    Args:
        model: the directory of a pack, or its id on the Hugging Face hub.
        revision: the commit there; None is the newest.
        device: "cpu" or "cuda".
        num_threads: of this process (default: as the networks were trained, usually 1).
        audio_model, text_model: where an encoder's files are, a directory or an id, if not where
            they were when the model was trained.

    Raises:
        UserError: the pack is not whole, or of a later version; an encoder is missing, or is not
            the one of the training; there is no such device.
    """
    directory = pack_file.find(str(model), revision)
    pack = pack_file.read(directory)
    threads = num_threads or pack.num_threads
    torch.set_num_threads(threads)
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"the device {device} was asked for, but torch sees no GPU here; use cpu")
    given = {"audio": audio_model, "text": text_model}
    networks = pack.networks(directory)
    encoders = {
        modality: _encoder(packed, given[modality], threads, device)
        for modality, packed in pack.encoders.items()
    }
    return Model(pack, encoders, networks, torch.device(device))


def _encoder(packed: PackedEncoder, given: str | None, threads: int, device: str) -> Upstream:
    """Load an encoder, if it has the weights of the one that the networks were trained with."""
    choice = packed.choice if given is None else replace(packed.choice, model=given)
    named = choice.model or choice.name
    try:
        files = registry.find(choice, packed.frontend.revision if given is None else None)
        upstream = registry.build(choice, threads, device, files)
    except UserError as error:
        raise UserError(
            f"the {choice.modality} encoder {named} of this model cannot be loaded: {error}; name "
            f"its place with --{choice.modality}_model"
        ) from None
    if upstream.description.weights != packed.frontend.weights:
        raise UserError(
            f"{named} has other weights than the {choice.modality} encoder that this model was "
            f"trained with (SHA-256 {packed.frontend.weights}); name its place with "
            f"--{choice.modality}_model"
        )
    return upstream
