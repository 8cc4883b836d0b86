"""Find a pretrained model's files, and load them with every key in its place."""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import digest, read_json, sha256
from cfia.upstream.choice import ALL

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


def resolve(model: str, hub: str = "hf", wanted: Sequence[str] = ()) -> Checkpoint:
    """Find a model: a local directory, else the hub's cache, else (this model alone) the hub.

    Args:
        model: directory, or id on the hub.
        hub: "hf" is Hugging Face, "ms" is ModelScope.
        wanted: names of the files that make up the model; none for a model of transformers.

    Raises:
        UserError: there is no such directory, it lacks a file that is wanted, or the hub cannot
            give the model.
    """
    if Path(model).is_dir():
        found = Checkpoint(model, Path(model), None)
    # An id is `name` or `owner/name`; anything else was meant as a path.
    elif model.startswith((".", "/", "~")) or model.count("/") > 1 or " " in model:
        raise UserError(f"no such model directory {model}; check the path")
    elif hub == "ms":
        # ModelScope's directories are called by branch, not by commit.
        found = Checkpoint(model, _from_modelscope(model, wanted), None)
    else:
        directory = _from_hub(model, wanted)
        found = Checkpoint(model, directory, directory.name)
    for name in wanted:
        if not (found.directory / name).is_file():
            raise UserError(
                f"{model} has no {name}; give a model directory with {' and '.join(wanted)}"
            )
    return found


def _from_hub(model: str, wanted: Sequence[str]) -> Path:
    """The snapshot of a hub model: settings and weights, the pickled weights only if needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()

    def fetch(patterns: Sequence[str]) -> Path:
        return Path(snapshot_download(model, allow_patterns=list(patterns)))

    try:
        return _fetch(fetch, wanted)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise _ungiven(model, "the Hugging Face hub", error) from None


def _from_modelscope(model: str, wanted: Sequence[str]) -> Path:
    """The same from ModelScope, which is not asked if its cache has the model."""
    try:
        from modelscope import snapshot_download  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            f"--hub ms needs the package modelscope ({first_line(error)}); install it, or "
            "download the model and give its directory"
        ) from None
    for name in ("modelscope", "modelscope_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def cached(_: Sequence[str]) -> Path:
        return Path(snapshot_download(model, local_files_only=True))

    def fetch(patterns: Sequence[str]) -> Path:
        return Path(snapshot_download(model, allow_patterns=list(patterns)))

    # Its errors have no base class that all versions share, so whatever it raises is told.
    try:
        directory = _fetch(cached, wanted)
    except Exception:
        directory = None
    if directory is not None and _whole(directory, wanted):
        return directory
    try:
        return _fetch(fetch, wanted)
    except Exception as error:
        raise _ungiven(model, "ModelScope", error) from None


def _fetch(fetch: Callable[[Sequence[str]], Path], wanted: Sequence[str]) -> Path:
    """Fetch what is wanted, or settings and weights, with `fetch(patterns)`."""
    if wanted:
        return fetch(wanted)
    directory = fetch([*SETTINGS, "model.safetensors", "model-*-of-*.safetensors"])
    if not any((directory / name).exists() for name in WEIGHTS[:2]):
        directory = fetch([*SETTINGS, "pytorch_model*.bin"])
    return directory


def _whole(directory: Path, wanted: Sequence[str]) -> bool:
    """Whether a directory of a cache has the files that are wanted, or settings and weights."""
    if wanted:
        return all((directory / name).is_file() for name in wanted)
    try:
        return bool(Checkpoint("", directory, None).weights()) and any(directory.glob("*.json"))
    except UserError:
        return False


def _ungiven(model: str, hub: str, error: BaseException) -> UserError:
    return UserError(
        f"{model} is neither a directory nor a model that {hub} or its cache could give "
        f"({first_line(error)}); check the name, or download the model and give its directory"
    )


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


def check_layer(flag: str, layer: int | str | None, layers: int, model: str) -> int | str:
    """The index into hidden_states of a model with `layers` blocks, or `ALL`; None is the last.

    Raises:
        UserError: there is no such layer.
    """
    if layer is None:
        return layers
    if layer == ALL:
        return ALL
    if isinstance(layer, str) or not 0 <= layer <= layers:
        raise UserError(f"--{flag} {layer}: the layers of {model} are 0 to {layers}, or {ALL}")
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


def pick(hidden_states: Sequence[Any], layer: int | str) -> Any:
    """A layer's states (..., dim) of transformers' `hidden_states`, or all of them side by side."""
    import torch

    return torch.cat(tuple(hidden_states), dim=-1) if layer == ALL else hidden_states[int(layer)]


def place(model: Any, device: str) -> Any:
    """A model on "cpu" or "cuda", where it computes in full float32.

    Raises:
        UserError: a GPU was asked for and torch sees none.
    """
    import torch

    if device == "cpu":
        return model
    if not torch.cuda.is_available():
        raise UserError(
            f"the device {device} was asked for, but torch sees no GPU here; use --ngpu 0"
        )
    # cuDNN rounds the inputs of convolutions to 10 bits unless told not to, which changes features
    # in the third digit.
    torch.backends.cudnn.allow_tf32 = False
    return model.to(device)
