"""The encoder of OpenAI's Whisper models, through transformers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.errors import UserError
from cfia.upstream import checkpoint
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.choice import Choice
from cfia.upstream.items import in_parts

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16000
FRAME = 320  # samples per output frame: 50 a second
WINDOW = 30 * SAMPLE_RATE  # samples that the encoder takes, no more and no fewer
# Windows that a GPU encodes at once: 24,000 frames, of which the widest array of the large model
# takes 0.5 GB.
WINDOWS = 16


class Whisper(Upstream):
    """Whisper's encoder; the decoder is dropped after loading.

    Each utterance is padded to 30 s, and the output is cut to ceil(50 * seconds) frames. Longer
    audio goes through in consecutive pieces of 30 s, joined in time.
    """

    def __init__(
        self, files: checkpoint.Checkpoint, encoder: Any, mel: Any, layer: int | str
    ) -> None:
        from cfia.training import device as devices

        blocks, width, shift = len(encoder.layers), encoder.config.d_model, FRAME / SAMPLE_RATE
        self.description = files.frontend(
            "audio", "whisper", layer, blocks, width, shift, SAMPLE_RATE
        )
        self._layer = layer
        self._device = devices.of(encoder.device)
        self.independent = not self._device.apart
        self._mel = mel
        self._encoder = encoder
        # Blocks above that layer need not run. The one just above stays, because the last
        # of hidden_states, and no other, is taken after the final layer norm.
        if isinstance(layer, int):
            del self._encoder.layers[layer + 1 :]

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map waveforms at 16 kHz to matrices (ceil(50 * seconds), dim); see `Upstream.extract`."""
        pieces = [[s[i : i + WINDOW] for i in range(0, len(s), WINDOW)] for s in batch]
        windows = [piece for parts in pieces for piece in parts]
        # On a CPU one at a time: its 1500 frames keep it busy, and two at once were no faster. So
        # features do not depend on how utterances are batched there, to the last bit.
        size = WINDOWS if self._device.apart else 1
        states = iter(in_parts(self._device, self._encode, windows, size))
        return [np.concatenate([next(states) for _ in parts]) for parts in pieces]

    def _encode(self, windows: list[Features]) -> list[Tensor]:
        """Map pieces of at most 30 s to (frames, dim) each."""
        import torch

        inputs = self._mel(
            windows, sampling_rate=SAMPLE_RATE, padding="max_length", return_tensors="pt",
            device=str(self._device.device),
        )  # fmt: skip
        with torch.inference_mode():
            # (windows, mel bins, 3000) -> (windows, 1500, dim)
            output = self._encoder(
                self._device.send(inputs.input_features), output_hidden_states=True
            )
        states = checkpoint.pick(output.hidden_states, self._layer)
        return [states[i, : -(-len(piece) // FRAME)] for i, piece in enumerate(windows)]


def build(choice: Choice, files: checkpoint.Checkpoint, num_threads: int, device: str) -> Upstream:
    """Load the encoder of a Whisper model; see `cfia.upstream.registry.build`.

    Raises:
        UserError: it is not a whole Whisper model; no such layer or device.
    """
    import torch
    from transformers import WhisperModel

    torch.set_num_threads(num_threads)
    layer = check(choice, files)
    encoder = checkpoint.load(WhisperModel, files, unused="decoder").encoder
    return Whisper(files, checkpoint.place(encoder, device), _mel(files), layer)


check = functools.partial(checkpoint.audio_layer, key="encoder_layers", default=4)
LOADER = Loader(checkpoint.find, check, build)


def _mel(files: checkpoint.Checkpoint) -> Any:
    from transformers import WhisperFeatureExtractor

    mel = checkpoint.load_part(WhisperFeatureExtractor, files)
    if (mel.sampling_rate, mel.n_samples) != (SAMPLE_RATE, WINDOW):
        raise UserError(
            f"{files.model}: preprocessor_config.json asks for windows of {mel.n_samples} samples "
            f"at {mel.sampling_rate} Hz, where Whisper has {WINDOW} at {SAMPLE_RATE}; "
            "correct it"
        )
    return mel
