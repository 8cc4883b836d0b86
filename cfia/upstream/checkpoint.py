"""Find a pretrained model's files, and load them with every key in its place."""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cfia.errors import UserError
from cfia.files import LFS_POINTER, digest, read_json, sha256
from cfia.frontend import Frontend
from cfia.upstream.choice import ALL, Choice
from cfia.upstream.hub import Source, first_line, sources
from cfia.upstream.registry import default_model

# In transformers' order of preference: the first that is there is what it loads.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
SAFE_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED_WEIGHTS = ("pytorch_model*.bin",)
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
        revision: the commit on the hub; None for a directory, and on ModelScope.
    """

    model: str
    directory: Path
    revision: str | None

    @property
    def place(self) -> str:
        """What messages call it where its files are to be mended: an id, and its directory."""
        own = Path(self.model).is_dir()
        return self.model if own else f"{self.model} (in {self.directory})"

    def record(self) -> dict[str, str | None]:
        """Give the fields for `plan.json`; `from_record` reads them."""
        return {"model": self.model, "directory": str(self.directory), "revision": self.revision}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], planned: str) -> Self:
        """Restore what `record` was of; `planned` says in a message what was planned then.

        Raises:
            UserError: the directory is gone.
        """
        place = Path(record["directory"])
        if not place.is_dir():
            raise UserError(
                f"{place} is gone, where {record['model']} was when {planned} planned; run the "
                "stage again"
            )
        return cls(record["model"], place, record["revision"])

    def config(self) -> dict[str, Any]:
        """Read config.json."""
        path = self.directory / "config.json"
        if not path.is_file():
            raise UserError(
                f"{self.model} has no config.json; give a model directory as transformers saves it"
            )
        config = read_settings(path)
        if not isinstance(config, dict):
            raise UserError(f"{path} does not hold a model's configuration; save the model again")
        return config

    def weights(self) -> list[Path]:
        """List the files of weights that transformers loads: one, or the shards of an index."""
        files = [self.directory / name for name in WEIGHTS if (self.directory / name).is_file()]
        if not files:
            raise UserError(
                f"{self.model} has no weights ({WEIGHTS[0]} or {WEIGHTS[2]}); give a model "
                "directory as transformers saves it"
            )
        if files[0].suffix != ".json":
            return files[:1]
        index = read_settings(files[0])
        named = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(named, dict) or not named:
            raise UserError(f"{files[0]} names no files of weights; copy or download it again")
        shards = {self.directory / str(name) for name in named.values()}
        for shard in sorted(shards):
            if not shard.is_file():
                raise UserError(f"{self.place} lacks the weights {shard.name}; copy them there")
        return sorted(shards)

    def weights_digest(self) -> str:
        """Digest the file of weights by SHA-256; if there are more, their names and digests."""
        files = self.weights()
        if len(files) == 1:
            return weights_sha256(files[0])
        return digest({path.name: weights_sha256(path) for path in files})

    def frontend(
        self, kind: str, name: str, layer: int | str | None, blocks: int, width: int,
        frame_shift: float | None = None, sample_rate: int | None = None,
    ) -> Frontend:  # fmt: skip
        """Describe the features of an encoder with these files; `width` is that of one layer."""
        layers = blocks + 1 if layer == ALL else 1
        weights, dim = self.weights_digest(), layers * width
        return Frontend(kind, name, self.model, self.revision, layer, dim, frame_shift,
                        sample_rate, weights, layers)  # fmt: skip

    def has_label_head(self) -> bool:
        """Whether it was saved as a classifier, and so was trained on labels of some kind."""
        names = self.config().get("architectures") or []
        return any(str(name).endswith("Classification") for name in names)

    def digest(self) -> str:
        """Digest all that can change a feature: weights, configuration, tokenizer."""
        small = {path.name: sha256(path) for path in _settings(self.directory)}
        return digest({"settings": small, "weights": self.weights_digest()})


def _settings(directory: Path) -> set[Path]:
    """List the files of configuration, tokenizer and feature extractor."""
    paths = {path for pattern in SETTINGS for path in directory.glob(pattern)}
    return {path for path in paths if path.is_file()}


def weights_sha256(path: Path) -> str:
    """Compute the SHA-256 of a large file, which this process reads once for it."""
    status = path.stat()
    return _sha256(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.cache
def _sha256(path: Path, size: int, time: int) -> str:
    return sha256(path)


def read_settings(path: Path) -> Any:
    """Read a JSON file of a model.

    Raises:
        UserError: it is not JSON.
    """
    return read_json(path, "copy it again from where the weights are from")


def find(choice: Choice, revision: str | None = None) -> Checkpoint:
    """Find a model of transformers: settings and weights, the pickled weights only if needed.

    Args:
        choice: what is asked for; its hub is where an id is looked up.
        revision: the commit on Hugging Face; None is what `main` is now.

    Raises:
        UserError: there is no such directory, it lacks what makes up a model, or the hub cannot
            give the model.
    """
    return first_whole(sources(default_model(choice), choice.hub, revision), fetch_model)


def first_whole(places: Sequence[Source], fetch: Callable[[Source], Path]) -> Checkpoint:
    """Take the model from the first source from which `fetch` gets all of it.

    Raises:
        UserError: none gives all of it; it is the last one's.
    """
    errors: list[UserError] = []
    for source in places:
        try:
            directory = fetch(source)
            return Checkpoint(source.model, directory, source.revision)
        except UserError as error:
            errors.append(error)
        except Exception as error:  # the clients have no base class for theirs
            errors.append(source.explain(error))
    raise errors[-1]


def fetch_model(source: Source) -> Path:
    """Fetch a model of transformers from a source: settings and weights; see `find`."""
    directory = source.fetch(SETTINGS)
    for patterns in (SAFE_WEIGHTS, PICKLED_WEIGHTS):
        directory = source.fetch([*SETTINGS, *patterns])
        if any((directory / name).is_file() for name in WEIGHTS):
            break
    else:
        others = [name for name in source.names() if name.endswith((".h5", ".msgpack"))]
        if others:
            raise UserError(
                f"{source.model} has weights for TensorFlow or Flax alone ({others[0]}); give a "
                "model with safetensors, such as transformers' save_pretrained writes"
            )
    files = Checkpoint(source.model, directory, source.revision)
    refuse_pointers(_settings(directory))  # an index of weights is among them
    refuse_pointers(files.weights())
    return directory


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Refuse files of a clone that Git LFS has not fetched: three lines of text in their place.

    Raises:
        UserError: it names the first.
    """
    for path in paths:
        with path.open("rb") as handle:
            if handle.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UserError(
                    f"{path} is a pointer of Git LFS, which has not fetched the file itself; run "
                    "`git lfs install` and `git lfs pull` there, or download the file"
                )


def load(model_class: Any, checkpoint: Checkpoint, unused: str) -> Any:
    """Load a model in float32 for inference, weights only, from local files.

    Args:
        model_class: a class of transformers with `from_pretrained`.
        checkpoint: its files.
        unused: the one part of the model that we do not run; "" for none. In all others a key that
            is missing, left over or of another shape is an error. Heads, which `model_class` does
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
        raise not_tensors(checkpoint) from None
    except (*_FAULTS, SafetensorError) as error:
        raise unloadable(checkpoint, error) from None
    _check_keys(checkpoint, model, info, unused)
    return model.eval().requires_grad_(False)


def _check_keys(checkpoint: Checkpoint, model: Any, info: dict[str, Any], unused: str) -> None:
    prefix = f"{model.base_model_prefix}."
    parts = [*model.named_children(), *model.base_model.named_children()]
    used = {name for name, _ in parts} - {unused}
    kinds = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = [key if isinstance(key, str) else key[0] for key in info[kind]]
        kinds.append([key for key in keys if key.removeprefix(prefix).split(".")[0] in used])
    check_keys(checkpoint.model, "config.json", *kinds)


def check_keys(
    model: str, config: str, missing: list[str], unknown: list[str], mismatched: list[str]
) -> None:
    """Refuse weights that do not fit the network that a model's `config` describes.

    Raises:
        UserError: one of the lists is not empty; it names the first key.
    """
    faults = {"lack": missing, "have the unknown": unknown, "have the wrong shape for": mismatched}
    for fault, keys in faults.items():
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(
                f"the weights of {model} {fault} {min(keys)}{more}, so they do not fit its "
                f"{config}; copy or download the model again"
            )


def audio_layer(choice: Choice, files: Checkpoint, key: str, default: int) -> int | str:
    """Check that files are of the encoder of a choice, and its layer; see `check_layer`.

    Args:
        key, default: where config.json counts the blocks, and what transformers takes without it.

    Raises:
        UserError: it is a model of another type; there is no such layer.
    """
    config = files.config()
    if config.get("model_type") != choice.name:
        raise UserError(
            f"{files.model} is a model of the type {config.get('model_type')}, not {choice.name}; "
            f"give a {choice.name} model or another --audio_upstream"
        )
    return check_layer(choice, int(config.get(key, default)), files)


def check_layer(choice: Choice, layers: int, files: Checkpoint) -> int | str:
    """Check the layer of a choice against a model with so many blocks.

    Returns:
        The index into hidden_states, by default the last; or `ALL`.

    Raises:
        UserError: there is no such layer.
    """
    layer = layers if choice.layer is None else choice.layer
    if layer != ALL and (isinstance(layer, str) or not 0 <= layer <= layers):
        raise UserError(
            f"--{choice.modality}_layer {layer}: the layers of {files.model} are 0 to {layers}, or "
            f"{ALL}"
        )
    return layer


def load_part(part_class: Any, files: Checkpoint, **options: Any) -> Any:
    """Load the tokenizer or the feature extractor of a model.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return part_class.from_pretrained(str(files.directory), local_files_only=True, **options)
    except Exception as error:  # tokenizers, in Rust, has no other class for its errors
        raise unloadable(files, error) from None


def unloadable(checkpoint: Checkpoint, error: BaseException) -> UserError:
    """Word the one error for whatever transformers raises of a model that it cannot load."""
    return UserError(
        f"{checkpoint.model} cannot be loaded ({first_line(error)}); check that it is a model of "
        "this kind and that its files are whole"
    )


def not_tensors(checkpoint: Checkpoint) -> UserError:
    """Word the error for a pickle that is not read, since reading it would call what it names."""
    return UserError(
        f"the weights of {checkpoint.model} are a pickle that is cut or holds more than tensors; "
        "get the model as safetensors, or from another place"
    )


def silence() -> None:
    """Keep transformers' notices and progress bars out of the logs; its errors are raised."""
    from transformers.utils import logging as notices

    notices.set_verbosity_error()
    notices.disable_progress_bar()
    logging.getLogger("transformers").propagate = False


def pick(hidden_states: Sequence[Any], layer: int | str) -> Any:
    """Take a layer of transformers' `hidden_states`, or concatenate all of them: (..., dim)."""
    import torch

    return torch.cat(tuple(hidden_states), dim=-1) if layer == ALL else hidden_states[int(layer)]


def place(model: Any, device: str) -> Any:
    """Move a model to "cpu" or "cuda", where it computes in full float32.

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
