"""CMU PocketSphinx, whose package has a model of American English."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np

from cfia.asr.recogniser import Kind, Recogniser, Samples, missing
from cfia.files import content_digest, digest
from cfia.naming import PACKAGED
from cfia.upstream.checkpoint import Checkpoint

LOUDEST = 32767  # of 16 bits


class Files(Checkpoint):
    """The model in the package: acoustic model, pronunciations and language model."""

    def digest(self) -> str:
        """Digest all that can change a text: the model, and the version of the decoder."""
        files = sorted(path for path in self.directory.rglob("*") if path.is_file())
        return digest([content_digest(files, self.directory), importlib.metadata.version(PACKAGED)])


class PocketSphinx(Recogniser):
    """The decoder, with the settings of its package."""

    shortest = 800  # where its feature extraction has a frame or two, it fails

    def __init__(self, files: Files) -> None:
        from pocketsphinx import Decoder

        model = files.directory
        self._decoder = Decoder(
            hmm=f"{model / 'en-us'}",
            dict=f"{model / 'cmudict-en-us.dict'}",
            lm=f"{model / 'en-us.lm.bin'}",
            loglevel="FATAL",
        )

    def transcribe(self, samples: Samples) -> str:
        """Decode a waveform as one utterance."""
        decoder = self._decoder
        # Its estimate of the noise would go on from the last recording.
        decoder.reinit_feat()
        integers = np.round(np.clip(samples, -1, 1) * LOUDEST).astype("<i2")
        decoder.start_utt()
        decoder.process_raw(integers.tobytes(), full_utt=True)  # normalised by its own mean
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""


def find() -> Files:
    """Find the model inside the installed package, without importing it.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGED)
    if spec is None or spec.origin is None:
        raise missing(PACKAGED, f"--asr_model {PACKAGED}")
    return Files(PACKAGED, Path(spec.origin).parent / "model" / "en-us", None)


KIND = Kind(check=lambda _: None, build=lambda files, *_: PocketSphinx(files), files=Files)
