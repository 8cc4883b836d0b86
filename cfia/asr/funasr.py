"""Recognisers of FunASR, such as Paraformer and SenseVoice."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfia.asr.recogniser import Kind, Recogniser, Samples, missing
from cfia.errors import UserError
from cfia.files import content_digest, digest
from cfia.upstream.checkpoint import Checkpoint, not_tensors, weights_sha256
from cfia.upstream.hub import first_line

CONFIG, WEIGHTS = "config.yaml", "model.pt"
# What a directory of FunASR has besides: settings, the features' normalisation, and tokens.
SMALL = (CONFIG, "*.json", "*.mvn", "*.txt", "*.model", "seg_dict", "jieba_usr_dict")
# SenseVoice writes language, emotion and sounds before the text, as <|en|><|HAPPY|><|Speech|>:
# the answer of another recogniser of emotions, which is not what was said.
_MARK = re.compile(r"<\|[^|]*\|>")
_MISSING = re.compile("miss key in ckpt: ([^ ,]+)")


class Files(Checkpoint):
    """A model's directory as FunASR reads it."""

    def weights(self) -> list[Path]:
        """Find the file of weights.

        Raises:
            UserError: there is none.
        """
        path = self.directory / WEIGHTS
        if not path.is_file():
            raise UserError(
                f"{self.place} has {CONFIG} and no weights ({WEIGHTS}); copy them there"
            )
        return [path]

    def digest(self) -> str:
        """Digest all that can change a text: weights, settings and tokens."""
        small = {path for pattern in SMALL for path in self.directory.glob(pattern)}
        return digest([content_digest(sorted(small), self.directory), self.weights_digest()])

    def weights_digest(self) -> str:
        """Digest the file of weights."""
        return weights_sha256(self.weights()[0])


class FunASR(Recogniser):
    """A model of FunASR, run by its AutoModel."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def transcribe(self, samples: Samples) -> str:
        """Recognise a waveform."""
        import torch

        torch.manual_seed(0)  # of the noise that its features are dithered with
        with _quiet():
            found = self._model.generate(input=samples.copy(), batch_size=1, disable_pbar=True)
        text: str = found[0].get("text", "") if found else ""
        return _MARK.sub(" ", text)


def build(files: Files, num_threads: int, device: str) -> Recogniser:
    """Load a model from its directory, weights only; nothing is downloaded.

    Raises:
        UserError: FunASR is missing, or cannot load it.
    """
    _check_installed(files)
    import torch

    torch.set_num_threads(num_threads)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # FunASR leaves it to torch's default
    try:
        with _quiet() as said:
            from funasr import AutoModel

            model = AutoModel(
                model=str(files.directory), hub="hf", device=device, ncpu=num_threads,
                trust_remote_code=False, ignore_init_mismatch=False, disable_update=True,
                disable_pbar=True, disable_log=True,
            )  # fmt: skip
    except pickle.UnpicklingError:
        raise not_tensors(files) from None
    except Exception as error:  # it has no class of its own for its errors
        raise UserError(
            f"{files.model} cannot be loaded by FunASR ({first_line(error)}); check that it is a "
            "recogniser of FunASR and that its files are whole"
        ) from None
    if missing_key := _MISSING.search(said.getvalue()):  # which it prints, and goes on
        raise UserError(
            f"the weights of {files.model} lack {missing_key[1]}, so they do not fit its {CONFIG}; "
            "copy or download the model again"
        )
    return FunASR(model)


def _check_installed(files: Files) -> None:
    if importlib.util.find_spec("funasr") is None:
        raise missing("funasr", files.model)


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep FunASR's notices out of the logs, and give what it prints; its errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            yield printed
    finally:
        logging.disable(before)


KIND = Kind(_check_installed, build, Files)
