"""The choice of a frozen encoder. Imports nothing heavy, so that `--help` comes at once."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "all"


@dataclass(frozen=True)
class Choice:
    """An encoder as the user names it.

    Attributes:
        modality: "audio" or "text".
        name: a name of `--audio_upstream` or `--text_upstream`.
        model: hub id or local directory; None is the family's default.
        layer: index into transformers' `hidden_states` (0 is the input of the first block), `ALL`
            of them, or None for the last.
        hub: where a hub id is looked up, "hf" (Hugging Face) or "ms" (ModelScope).
    """

    modality: str
    name: str
    model: str | None = None
    layer: int | str | None = None
    hub: str = "hf"
