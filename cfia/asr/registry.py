"""Find a recogniser by its name, id or directory, and load it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.asr.recogniser import Kind, Recogniser
from cfia.naming import PACKAGED, recogniser_name
from cfia.upstream import checkpoint
from cfia.upstream.checkpoint import Checkpoint, first_whole, refuse_pointers
from cfia.upstream.hub import Source, sources

# The modules whose KIND runs a recogniser.
POCKETSPHINX, TRANSFORMERS, FUNASR = (
    f"cfia.asr.{name}" for name in (PACKAGED, "transformers", "funasr")
)


@dataclass(frozen=True)
class Found:
    """The files of a recogniser's model, and the module that runs it."""

    module: str
    files: Checkpoint

    @property
    def name(self) -> str:
        """What it is called in names of directories."""
        return recogniser_name(self.files.model)

    def record(self) -> dict[str, Any]:
        """Give the fields for plan.json; `from_record` reads them."""
        return {"module": self.module, **self.files.record()}

    def build(self, num_threads: int = 1, device: str = "cpu") -> Recogniser:
        """Load it; see `load`."""
        return _kind(self.module).build(self.files, num_threads, device)


def load(model: str, hub: str = "hf", num_threads: int = 1, device: str = "cpu") -> Recogniser:
    """Load a recogniser.

    Args:
        model: `pocketsphinx`, or the id on the hub or the directory of a model of transformers
            (Whisper, CTC) or FunASR.
        hub: where an id is looked up: "hf" (Hugging Face) or "ms" (ModelScope).
        num_threads: CPU threads that this process may use.
        device: where a network runs: "cpu", or "cuda".

    Raises:
        UserError: there is no such model, it is no recogniser, it cannot be loaded whole, or the
            package that runs it is missing.
    """
    return find(model, hub).build(num_threads, device)


def find(model: str, hub: str = "hf", revision: str | None = None) -> Found:
    """Find the files of a recogniser, on the hub if need be; arguments as for `load`.

    Raises:
        UserError: there is no such model, or it is no recogniser.
    """
    if model == PACKAGED:
        return Found(POCKETSPHINX, importlib.import_module(POCKETSPHINX).find())
    files = first_whole(sources(model, hub, revision), _fetch)
    module = FUNASR if _is_funasr(files.directory) else TRANSFORMERS
    kind = _kind(module)
    found = Found(module, kind.files(files.model, files.directory, files.revision))
    kind.check(found.files)
    found.files.weights()
    return found


def from_record(record: dict[str, Any]) -> Found:
    """Restore the result of `find` from its `record`.

    Raises:
        UserError: the directory is gone.
    """
    files = _kind(record["module"]).files.from_record(record, "the jobs were")
    return Found(record["module"], files)


def _kind(module: str) -> Kind:
    kind: Kind = importlib.import_module(module).KIND
    return kind


def _is_funasr(directory: Path) -> bool:
    """Whether a model's settings are FunASR's: transformers has a config.json."""
    funasr = importlib.import_module(FUNASR)
    return (directory / funasr.CONFIG).is_file() and not (directory / "config.json").is_file()


def _fetch(source: Source) -> Path:
    """Fetch the settings, which tell whose model it is, and then what its library reads."""
    funasr = importlib.import_module(FUNASR)
    directory = source.fetch([*checkpoint.SETTINGS, *funasr.SMALL])
    if not _is_funasr(directory):
        return checkpoint.fetch_model(source)
    source.fetch([*funasr.SMALL, funasr.WEIGHTS])
    refuse_pointers([path for path in directory.iterdir() if path.is_file()])
    return directory
