"""The encoder of OpenAI's Whisper models, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cfia.errors import UserError
from cfia.upstream import checkpoint
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.choice import Choice

SAMPLE_RATE = 16000
FRAME = 320  # samples per output frame: 50 a second
WINDOW = 30 * SAMPLE_RATE  # samples that the encoder takes, no more and no fewer

# Pieces that go through the encoder at once. On a CPU two are as fast as one and more are slower
# (tiny.en, one thread: 0.49 s a piece for one or two, 0.58 for eight): a piece is already 1500
# frames. One makes the features independent of how utterances are batched, to the last bit.
PIECES = 1


class Whisper(Upstream):
    """Whisper's encoder; the decoder is dropped after loading.

    Each utterance is padded to 30 s, and the output is cut to ceil(50 * seconds) frames. Longer
    audio goes through in consecutive pieces of 30 s, joined in time.
    """

    def __init__(
        self, files: checkpoint.Checkpoint, encoder: Any, mel: Any, layer: int | str
    ) -> None:
        blocks, width, shift = len(encoder.layers), encoder.config.d_model, FRAME / SAMPLE_RATE
        self.description = files.frontend(
            "audio", "whisper", layer, blocks, width, shift, SAMPLE_RATE
        )
        self._layer = layer
        self._mel = mel
        self._encoder = encoder
        # Blocks above that layer need not run. The one just above stays, because the last
        # of hidden_states, and no other, is taken after the final layer norm.
        if isinstance(layer, int):
            del self._encoder.layers[layer + 1 :]

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map waveforms at 16 kHz to matrices (ceil(50 * seconds), dim); see `Upstream.extract`."""
        pieces = [
            samples[start : start + WINDOW]
            for samples in batch
            for start in range(0, len(samples), WINDOW)
        ]
        encoded: list[Features] = []
        for first in range(0, len(pieces), PIECES):
            encoded += self._encode(pieces[first : first + PIECES])
        states = iter(encoded)
        return [
            np.concatenate([next(states) for _ in range(0, len(samples), WINDOW)])
            for samples in batch
        ]

    def _encode(self, pieces: list[Features]) -> list[Features]:
        import torch

        inputs = self._mel(
            pieces, sampling_rate=SAMPLE_RATE, padding="max_length", return_tensors="pt"
        )
        with torch.inference_mode():
            # (pieces, mel bins, 3000) -> (pieces, 1500, dim)
            output = self._encoder(
                inputs.input_features.to(self._encoder.device), output_hidden_states=True
            )
        states = checkpoint.pick(output.hidden_states, self._layer).cpu().numpy()
        return [states[i, : -(-len(piece) // FRAME)].copy() for i, piece in enumerate(pieces)]


def build(choice: Choice, files: checkpoint.Checkpoint, num_threads: int, device: str) -> Upstream:
    """Load the encoder of a Whisper model; see `cfia.upstream.registry.build`.

    Raises:
        UserError: it is not a whole Whisper model; no such layer or device.
    """
    import torch
    from transformers import WhisperModel

    torch.set_num_threads(num_threads)
    layer = _layer(choice, files)
    encoder = checkpoint.load(WhisperModel, files, unused="decoder").encoder
    return Whisper(files, checkpoint.place(encoder, device), _mel(files), layer)


def _layer(choice: Choice, files: checkpoint.Checkpoint) -> int | str:
    return checkpoint.audio_layer(choice, files, "encoder_layers", 4)


LOADER = Loader(checkpoint.find, _layer, build)


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
