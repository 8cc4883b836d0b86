"""Find a pretrained model's files, and load them with every key in its place."""

from __future__ import annotations

import logging
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import digest, read_json, sha256

# In transformers' order of preference: the first that is there is what it loads.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Configuration, tokenizer and feature extractor.
SETTINGS = ("*.json", "vocab.txt", "merges.txt", "*.model")

# What transformers raises for files that are missing, cut, or of another kind of model.
_FAULTS = (OSError, EOFError, ImportError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Checkpoint:
    """A model's directory, from the user or from the hub's cache.

    Attributes:
        model: hub id or directory, as the user gave it.
        directory: where the files are.
        revision: the commit on the hub; None for a directory.
    """

    model: str
    directory: Path
    revision: str | None

    def config(self) -> dict[str, Any]:
        """The contents of config.json."""
        path = self.directory / "config.json"
        if not path.is_file():
            raise UserError(
                f"{self.model} has no config.json; give a model directory as transformers saves it"
            )
        config = read_json(path)
        if not isinstance(config, dict):
            raise UserError(f"{path} does not hold a model's configuration; save the model again")
        return config

    def weights(self) -> list[Path]:
        """The files of weights that transformers loads: one, or the shards of an index."""
        found = [self.directory / name for name in WEIGHTS if (self.directory / name).is_file()]
        if not found:
            raise UserError(
                f"{self.model} has no weights ({WEIGHTS[0]} or {WEIGHTS[2]}); give a model "
                "directory as transformers saves it"
            )
        if found[0].suffix != ".json":
            return found[:1]
        shards = {self.directory / name for name in read_json(found[0])["weight_map"].values()}
        for shard in sorted(shards):
            if not shard.is_file():
                raise UserError(f"{self.model} lacks the weights {shard.name}; copy them there")
        return sorted(shards)

    def weights_digest(self) -> str:
        """SHA-256 of the weights' file; of the names and digests of the files if there are more."""
        files = self.weights()
        if len(files) == 1:
            return sha256(files[0])
        return digest({path.name: sha256(path) for path in files})

    def digest(self) -> str:
        """Digest of all that can change a feature: weights, configuration, tokenizer."""
        settings = {path for pattern in SETTINGS for path in self.directory.glob(pattern)}
        small = {path.name: sha256(path) for path in settings if path.is_file()}
        return digest({"settings": small, "weights": self.weights_digest()})


def resolve(model: str, hub: str = "hf") -> Checkpoint:
    """Find a model: a local directory, else the hub's cache, else (this model alone) the hub.

    Raises:
        UserError: there is no such directory, or the hub cannot give the model.
    """
    if Path(model).is_dir():
        return Checkpoint(model, Path(model), None)
    # An id is `name` or `owner/name`; anything else was meant as a path.
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or " " in model:
        raise UserError(f"no such model directory {model}; check the path")
    directory = _from_hub(model)
    return Checkpoint(model, directory, directory.name)


def _from_hub(model: str) -> Path:
    """The snapshot of a hub model: settings and weights, the pickled weights only if needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()

    def fetch(*weights: str) -> Path:
        return Path(snapshot_download(model, allow_patterns=[*SETTINGS, *weights]))

    try:
        directory = fetch("model.safetensors", "model-*-of-*.safetensors")
        if not any((directory / name).exists() for name in WEIGHTS[:2]):
            directory = fetch("pytorch_model*.bin")
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f"{model} is neither a directory nor a model that the Hugging Face hub or its cache "
            f"could give ({first_line(error)}); check the name, or download the model and give "
            "its directory"
        ) from None
    return directory


def load(model_class: Any, checkpoint: Checkpoint, unused: str) -> Any:
    """Load a model in float32 for inference, weights only, from local files.

    Args:
        model_class: a class of transformers with `from_pretrained`.
        checkpoint: its files.
        unused: the one part of the model that we do not run. In all others a key that is
            missing, left over or of another shape is an error. Heads, which `model_class` does
            not have, may be left over.

    Raises:
        UserError: the files are not such a model, or a key is wrong.
    """
    import torch
    from safetensors import SafetensorError

    silence()
    try:
        model, info = model_class.from_pretrained(
            str(checkpoint.directory),
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # reported with the other wrong keys, below
            output_loading_info=True,
        )
    except pickle.UnpicklingError:
        raise UserError(
            f"the weights of {checkpoint.model} are a pickle that is cut or holds more than "
            "tensors; get the model as safetensors"
        ) from None
    except (*_FAULTS, SafetensorError) as error:
        raise unloadable(checkpoint, error) from None
    _check_keys(checkpoint, model, info, unused)
    return model.eval().requires_grad_(False)


def _check_keys(checkpoint: Checkpoint, model: Any, info: dict[str, Any], unused: str) -> None:
    prefix = f"{model.base_model_prefix}."
    used = {name for name, _ in model.named_children()} - {unused}
    for kind, what in (
        ("missing_keys", "lack"),
        ("unexpected_keys", "have the unknown"),
        ("mismatched_keys", "have the wrong shape for"),
    ):
        keys = [key if isinstance(key, str) else key[0] for key in info[kind]]
        wrong = sorted(k for k in keys if k.removeprefix(prefix).split(".")[0] in used)
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise UserError(
                f"the weights of {checkpoint.model} {what} {wrong[0]}{more}, so they do not fit "
                "its config.json; copy or download the model again"
            )


def check_layer(flag: str, layer: int | str | None, layers: int, model: str) -> int:
    """The index into hidden_states of a model with `layers` blocks; None is the last.

    Raises:
        UserError: there is no such layer.
    """
    if layer is None:
        return layers
    if isinstance(layer, str) or not 0 <= layer <= layers:
        raise UserError(f"--{flag} {layer}: the layers of {model} are 0 to {layers}")
    return layer


def unloadable(checkpoint: Checkpoint, error: BaseException) -> UserError:
    """The one sentence for whatever transformers says of a model that it cannot load."""
    return UserError(
        f"{checkpoint.model} cannot be loaded ({first_line(error)}); check that it is a model of "
        "this kind and that its files are whole"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


def silence() -> None:
    """Keep transformers' notices and progress bars out of the logs; errors are ours to tell."""
    from transformers.utils import logging as notices

    notices.set_verbosity_error()
    notices.disable_progress_bar()
    logging.getLogger("transformers").propagate = False
