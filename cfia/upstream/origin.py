"""The origin of features: a digest of all that decides their bits, by which they are found again.

Two utterances of one origin have the same features in any dump: encoder and weights, what it ran
on and with which libraries, and what it read are the same. Where an encoder's features depend on
the batch, in their last bits, all that was in the batch is part of the origin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cfia.files import digest, sha256
from cfia.kaldi import audio
from cfia.kaldi.data_dir import DataDir
from cfia.upstream.base import Upstream
from cfia.upstream.dump_plan import Settings

# Whatever computes between the file and the archive.
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "soxr", "soundfile",
            "kaldi-native-fbank", "kaldiio")  # fmt: skip
# The code besides this directory that samples and features go through.
MODULES = ("kaldi/audio.py", "kaldi/archive.py")
# What libraries of arithmetic let the environment decide, but for the number of threads.
VARIABLES = ("ATEN_", "CUBLAS_", "DNNL_", "MKL_", "NVIDIA_", "ONEDNN_", "TORCH_")
# Of a description, what another place, layer or width of the same model changes.
ELSEWHERE = ("model", "revision", "layer", "layers", "dim", "identity", "exposure")


class Origins:
    """The origins of the utterances of one job.

    Args:
        upstream: the encoder, built.
        settings: of the plan.
        device: where a network runs: "cpu" or "cuda".
    """

    def __init__(self, upstream: Upstream, settings: Settings, device: str) -> None:
        files, described = settings.checkpoint(), upstream.description.values()
        self._independent = upstream.independent
        self._encoder = digest(
            {
                "description": {k: v for k, v in described.items() if k not in ELSEWHERE},
                "model": files.digest() if files else None,
                "threads": settings.num_threads,
                "computed": _computed(device if files else "cpu"),  # else there is no network
            }
        )

    def of(self, inputs: Mapping[str, str | None]) -> dict[str, str]:
        """Give the origins of a batch's utterances; none of those whose input nobody knows.

        Args:
            inputs: utterance -> `read`, in the order of the batch.
        """
        if self._independent:
            return {u: digest([self._encoder, own]) for u, own in inputs.items() if own}
        if not all(inputs.values()):
            return {}
        batch = digest([self._encoder, list(inputs.values())])
        return {utterance: digest([batch, i]) for i, utterance in enumerate(inputs)}


def read(data: DataDir, modality: str, utterances: Sequence[str]) -> dict[str, str | None]:
    """Digest what the features of utterances are made from.

    That is a transcript; or the path, size and time of an audio file, and the part of it. What a
    pipe of wav.scp reads nobody knows, nor is a file or transcript known that is not there: None.
    """
    if modality == "text":
        found = {utterance: data.text.get(utterance) for utterance in utterances}
        return {utterance: text and digest(text) for utterance, text in found.items()}
    return {utterance: _audio(*data.audio(utterance)) for utterance in utterances}


def _audio(spec: str, start: float | None, end: float | None) -> str | None:
    if audio.is_pipe(spec):
        return None
    try:
        status = Path(spec).stat()
    except OSError:
        return None
    return digest([str(Path(spec).resolve()), status.st_size, status.st_mtime_ns, start, end])


def _computed(device: str) -> dict[str, Any]:
    """Describe what features are computed with, down to what may change their last bits."""
    here = Path(__file__).parent
    code = [*sorted(here.glob("*.py")), *(here.parent / name for name in MODULES)]
    return {
        "code": [sha256(path) for path in code],
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version,
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(VARIABLES) and not name.endswith("_NUM_THREADS")
        },
        "processor": _processor(),
        "device": _gpu() if device == "cuda" else device,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> list[str]:
    """List what decides which kernels a library takes: the processor's model and abilities."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return list(os.uname())
    names = ("model name", "cpu family", "model", "stepping", "cache size", "flags", "Features")
    return [line for line in first.splitlines() if line.partition(":")[0].strip() in names]


def _gpu() -> str:
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
