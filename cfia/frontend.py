"""Read and write frontend.yaml, the description of the encoder that made a dump."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import as_yaml, read_yaml, write_yaml
from cfia.shapes import ShapeError, fit

NAME = "frontend.yaml"


@dataclass(frozen=True)
class Frontend:
    """The keys of frontend.yaml, in its order; those with a default came later."""

    kind: str  # "audio" or "text"
    name: str
    model: str | None  # hub id or directory as the user gave it; None without weights
    revision: str | None  # commit on the hub; None for a directory
    layer: int | str | None  # index into transformers' hidden_states, or "all"; None without layers
    dim: int  # width of a frame; with all layers, of their states side by side
    frame_shift: float | None  # seconds; None for text
    sample_rate: int | None  # Hz; None for text
    weights: str | None  # SHA-256 of the weights (`checkpoint.Checkpoint.weights_digest`)
    layers: int = 1  # how many layers stand side by side in a frame, each of dim / layers
    identity: str | None = None  # what the weights are, in words; None without weights
    exposure: str | None = None  # what the encoder saw of the corpus; None where nobody looked

    @classmethod
    def read(cls, dump: Path) -> Frontend:
        """Read a dump directory's frontend.yaml.

        Raises:
            UserError: it is not there, lacks a key, or has a value of another kind.
        """
        path = dump / NAME
        if not path.exists():
            raise UserError(f"no such file {path}; run the stage of these features again")
        again = "run the stage of these features again with --force true"
        try:
            read: Frontend = fit(cls, read_yaml(path, again))
        except ShapeError as error:
            raise UserError(f"{path}: {error}; {again}") from None
        return read

    def write(self, dump: Path) -> None:
        """Write it into a dump directory, whole or not at all."""
        write_yaml(dump / NAME, self.values())

    def text(self) -> str:
        """Render it as `write` does."""
        return as_yaml(self.values())

    def values(self) -> dict[str, Any]:
        """Give the keys and values, without what is not known of the weights."""
        unknown = [key for key in ("identity", "exposure") if getattr(self, key) is None]
        return {key: value for key, value in asdict(self).items() if key not in unknown}
