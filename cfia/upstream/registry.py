"""Names of upstreams: which there are, what they are called in a path, how they are built."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cfia import naming
from cfia.errors import UserError
from cfia.upstream.choice import Choice

if TYPE_CHECKING:  # base imports numpy, which `--help` should not wait for
    from cfia.upstream.base import Upstream


@dataclass(frozen=True)
class Family:
    """A name of `--audio_upstream` or `--text_upstream`.

    `module` has `build(choice, num_threads, device)` and `model_digest(choice)`; it is imported
    only when it is used. `models` has the hub id, by hub, that stands for an encoder for which no
    model is named; some have none.
    """

    modality: str
    module: str
    models: Mapping[str, str] = field(default_factory=dict)
    layers: bool = True  # whether one of them can be asked for


MODALITIES = ("audio", "text")


def _both(model: str) -> dict[str, str]:
    return dict.fromkeys(naming.HUBS, model)


FAMILIES = {
    "fbank": Family("audio", "cfia.upstream.fbank", layers=False),
    "whisper": Family("audio", "cfia.upstream.whisper"),
    "emotion2vec": Family(
        "audio",
        "cfia.upstream.emotion2vec",
        {"hf": "emotion2vec/emotion2vec_base", "ms": "iic/emotion2vec_base"},
        layers=False,
    ),
    "wav2vec2": Family("audio", "cfia.upstream.speech", _both("facebook/wav2vec2-base")),
    "hubert": Family("audio", "cfia.upstream.speech", _both("facebook/hubert-base-ls960")),
    "wavlm": Family("audio", "cfia.upstream.speech", _both("microsoft/wavlm-large")),
    "bert": Family("text", "cfia.upstream.text", _both("bert-base-uncased")),
    "minilm": Family("text", "cfia.upstream.text"),
}


def names(modality: str) -> list[str]:
    """The upstreams of a modality."""
    return [name for name, family in FAMILIES.items() if family.modality == modality]


def default_model(choice: Choice) -> str:
    """The hub id of a choice that names no model; `KeyError` for an encoder that has none."""
    return FAMILIES[choice.name].models[choice.hub]


def build(choice: Choice, num_threads: int = 1, device: str = "cpu") -> Upstream:
    """Load a frozen encoder.

    Args:
        choice: its `name` is one of `names(choice.modality)`.
        num_threads: CPU threads that this process may use.
        device: where a network runs: "cpu", or "cuda" for the GPU that the process may use.

    Raises:
        UserError: no such upstream, or its model cannot be found or loaded whole.
    """
    module = importlib.import_module(_module(choice))
    upstream: Upstream = module.build(choice, num_threads, device)
    return upstream


def model_digest(choice: Choice) -> str | None:
    """The digest of a model's files (None: it has none), without loading the model.

    Raises:
        UserError: no such upstream or model.
    """
    module = importlib.import_module(_module(choice))
    digest: str | None = module.model_digest(choice)
    return digest


def upstream_name(choice: Choice) -> str:
    """What a dump is called: the name, or the last part of the model's id; `_l<layer>` if given."""
    layer = "" if choice.layer is None else str(choice.layer)
    return naming.upstream_name(choice.name, choice.model or "", layer)


def _module(choice: Choice) -> str:
    modality, name = choice.modality, choice.name
    family = FAMILIES.get(name)
    if family is None or family.modality != modality:
        legal = ", ".join(names(modality))
        raise UserError(f"there is no {modality} upstream {name!r}; choose from {legal}")
    return family.module
