"""A packed model in use: `from cfia import load; load("DIR")("a.wav", text="...")`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray

from cfia.errors import UserError, fault
from cfia.inference import encoders, pack_file
from cfia.inference.inputs import recording_of
from cfia.inference.pack_file import PackFile
from cfia.inference.recordings import Ear, judge, prediction
from cfia.inference.windows import Windows, windows
from cfia.model.encoder import Sequences
from cfia.training.dataset import averaging
from cfia.training.features import Matrix, Shaping
from cfia.upstream.base import Upstream

TEXT_UNUSED = "the model takes no text, so the text is not used"
_HEARD_AT_ONCE = 30.0  # seconds that a recogniser is given where there is no encoder of audio

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """The answer for a stretch of a recording, from `start` to `end` seconds.

    Attributes:
        label, posteriors, text: as of `Prediction`.
    """

    start: float
    end: float
    label: str
    posteriors: dict[str, float]
    text: str | None = None


@dataclass(frozen=True)
class Prediction:
    """The answer for one recording.

    Attributes:
        label: the class of the highest posterior.
        posteriors: class -> probability, in the order of the network's outputs; of a recording
            that was read in windows their mean.
        seconds: the recording's length; None where no audio was read.
        text: what the text encoder was given; None without one, and where windows were read.
        windows: in their order; none where the recording was read at once.
        channels: of the audio, which were averaged; None where no audio was read.
        remarks: what is odd about the recording, in clauses.
    """

    label: str
    posteriors: dict[str, float]
    seconds: float | None = None
    text: str | None = None
    windows: tuple[Window, ...] = ()
    channels: int | None = None
    remarks: tuple[str, ...] = ()


class Model:
    """A pack, loaded: encoders and networks.

    Attributes:
        pack: what its config.json says.
        encoders: the frozen encoders, by modality.
        networks: one, or those of all folds, whose posteriors are averaged.
        shaping: by modality, what the networks do to features first.
        ear: recognises what is said where no text is given; None: nothing does.
    """

    def __init__(
        self,
        pack: PackFile,
        encoders: Mapping[str, Upstream],
        networks: Sequence[torch.nn.Module],
        device: torch.device,
        ear: Ear | None = None,
    ):
        self.pack, self.encoders, self._device, self.ear = pack, encoders, device, ear
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

    def named(self, posteriors: NDArray[np.float64]) -> tuple[str, dict[str, float]]:
        """Name the classes of one row (classes,): the label, and the posterior of each class."""
        by_class = dict(zip(self.classes, map(float, posteriors), strict=True))
        return self.classes[int(posteriors.argmax())], by_class

    @property
    def limit(self) -> float:
        """Seconds of audio that the networks take at once."""
        encoder = self.encoders.get("audio")
        if encoder is None:
            return _HEARD_AT_ONCE
        shift, rate = encoder.description.frame_shift, encoder.sample_rate
        assert shift is not None
        assert rate is not None
        return self.shaping["audio"].kept * shift + (encoder.shortest - 1) / rate

    def cut(self, window: float | None = None, hop: float | None = None) -> Windows:
        """Decide how recordings are cut into windows; see `__call__`.

        Raises:
            UserError: the windows are shorter than a frame or longer than `limit`, or leave
                something out.
        """
        encoder = self.encoders.get("audio")
        frame = encoder.shortest / (encoder.sample_rate or 1) if encoder else 0.0
        if window is not None and window < frame:
            raise UserError(
                f"a window of {window:g} s is shorter than the {frame:g} s of a frame; give a "
                "longer --window"
            )
        return windows(self.limit, window, hop)

    def __call__(
        self,
        audio: str | Path | npt.ArrayLike | None = None,
        text: str | None = None,
        *,
        rate: int | None = None,
        window: float | None = None,
        hop: float | None = None,
    ) -> Prediction:
        """Judge one recording.

        Args:
            audio: a file, or samples (samples,) or (samples, channels): numbers from -1 to 1, or
                integers, which are divided by their largest. None for a model of text alone.
            text: the transcript, for a model that takes text; None: the recogniser of `load` is
                asked, if there is one.
            rate: the sampling rate of samples, in Hz.
            window, hop: seconds of windows to be judged one by one, and from one to the next
                (default: only what is longer than the networks take is read in windows, of 8 s
                every 4 s).

        Raises:
            UserError: the audio cannot be read, or is shorter than a frame; a text is missing, or
                is that of a recording of several windows; samples without a rate, or of a shape
                that is none of audio.
        """
        recording = recording_of(audio, text if "text" in self.encoders else None, rate)
        (heard,) = judge(self, [recording], self.cut(window, hop))
        if heard.fault is not None:
            raise UserError(f"{fault(heard.fault)}; give another recording or text") from None
        answer = prediction(self, heard)
        remarks = [*answer.remarks]
        if text is not None and "text" not in self.encoders:
            remarks.append(TEXT_UNUSED)
        for remark in remarks:
            log.warning("%s: %s", recording.name, remark)
        return answer


def load(
    model: str | Path,
    *,
    revision: str | None = None,
    device: str = "cpu",
    num_threads: int | None = None,
    audio_model: str | None = None,
    text_model: str | None = None,
    asr_model: str | None = None,
) -> Model:
    """Load a packed model and its encoders.

    Args:
        model: the directory of a pack, or its id on the Hugging Face hub.
        revision: the commit there; None is the newest.
        device: "cpu" or "cuda".
        num_threads: of this process (default: as the networks were trained, usually 1).
        audio_model, text_model: where an encoder's files are, a directory or an id, if not where
            they were when the model was trained.
        asr_model: a recogniser, which writes the text where none is given: "pocketsphinx", or the
            directory or id of a model. A model that takes no text has no use for it.

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
    networks = pack.networks(directory)
    given = {"audio": audio_model, "text": text_model}
    places = encoders.remembered(directory) | {m: p for m, p in given.items() if p is not None}
    loaded = {
        modality: encoders.load(packed, places.get(modality), threads, device)
        for modality, packed in pack.encoders.items()
    }
    ear = None
    if asr_model is not None and "text" in pack.modalities:
        from cfia import asr

        ear = asr.load(asr_model, num_threads=threads, device=device).recognise
    return Model(pack, loaded, networks, torch.device(device), ear)
