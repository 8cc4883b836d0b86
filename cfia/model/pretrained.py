"""Networks from a packed model: `CFIANet.from_pretrained(DIR_OR_HUB_ID)`.

The files are those of huggingface_hub's `PyTorchModelHubMixin`: config.json has the arguments of
the network (a pack's has more, which are left to `cfia.load`), model.safetensors its weights. The
mixin itself would be imported by every training, and could not turn `config` into a dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

from torch import Tensor, nn

from cfia.config import build
from cfia.errors import UserError
from cfia.files import read_json, sha256
from cfia.networks import NETWORKS, ModelConfig
from cfia.shapes import ShapeError, fit

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = 1  # of packs of this version; a later one may hold what this one would not know of
COPY_AGAIN = "copy or download it again"


class Arguments(TypedDict):
    """What config.json says of a network; see `cfia.model.registry.build`.

    Attributes:
        weights: of a pack, its files and their SHA-256.
    """

    dims: dict[str, int]
    n_classes: int
    config: dict[str, Any]
    layers: dict[str, int]
    weights: NotRequired[dict[str, str]]


class Network(nn.Module):
    """The base of all networks of `cfia.networks.NETWORKS`, which are built as `Arguments` says."""

    @classmethod
    def from_pretrained(cls, model: str | Path, **where: Any) -> Self:
        """Load a network, in evaluation mode, on the CPU.

        Args:
            model: a directory, or an id of the Hugging Face hub.
            where: of the hub: `revision`, `cache_dir`, `token`, `force_download`,
                `local_files_only`; see huggingface_hub's `hf_hub_download`.

        Raises:
            UserError: its files are not there, not whole, or of a network of another class.
        """
        place = _directory(str(model), where)
        arguments = read_arguments(place / CONFIG)
        weights = arguments.get("weights", {WEIGHTS: None})
        if WEIGHTS not in weights:
            raise UserError(
                f"{model} is an ensemble of {len(weights)} networks ({', '.join(weights)}); load "
                "it by `cfia.load`"
            )
        config = network_config(arguments, place / CONFIG)
        name = NETWORKS[config.network].rpartition(".")[2]
        if name != cls.__name__:
            raise UserError(f"{model} has a {name}, not a {cls.__name__}; load it by that class")
        make: Any = cls
        network: Self = make(arguments["dims"], arguments["n_classes"], config, arguments["layers"])
        load_weights(network, place / WEIGHTS, weights[WEIGHTS])
        return network.eval()


def read_arguments(path: Path) -> Arguments:
    """Read the arguments of a network from config.json.

    Raises:
        UserError: the file is missing, has none, or is of a later version.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}, so it is no packed model; name another")
    values = read_json(path, COPY_AGAIN)
    if isinstance(values, dict) and "format" in values:
        check_format(values, path)
    try:
        arguments: Arguments = fit(Arguments, values)
    except ShapeError as error:
        raise UserError(f"{path} is not that of a packed model of cfia ({error})") from None
    return arguments


def check_format(values: Mapping[str, Any], path: Path) -> None:
    """Refuse the config.json of a later version, which may mean something else.

    Raises:
        UserError: it names the version that wrote it.
    """
    if values["format"] != FORMAT:
        raise UserError(
            f"{path} is of the format {values['format']}, written by cfia {values.get('cfia')}, "
            f"and this cfia reads format {FORMAT}; install that version"
        )


def network_config(arguments: Mapping[str, Any], path: Path) -> ModelConfig:
    """Check the network's configuration; `path` is for messages.

    Raises:
        UserError: it has an unknown key, of a later version say, or a value that is not legal.
    """
    return build(arguments["config"], str(path)).model


def load_weights(network: nn.Module, path: Path, digest: str | None = None) -> None:
    """Load weights from safetensors: every key must be there, and no other.

    Args:
        digest: the SHA-256 that the file must have; None where nobody says.

    Raises:
        UserError: the file is missing or damaged, or its weights are another network's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path} is not there; {COPY_AGAIN}")
    if digest is not None and sha256(path) != digest:
        raise UserError(f"{path} is not as it was packed; {COPY_AGAIN}")
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error).strip()}); {COPY_AGAIN}") from None
    load_state(network, state, path)


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network; every key must be there, and no other.

    Raises:
        UserError: a missing or surplus key, or a tensor of another shape, named.
    """
    weights = network.state_dict()
    for key in weights:
        if key not in state:
            raise UserError(f"{path} lacks the weight {key!r}; it was made by another network")
        if weights[key].shape != state[key].shape:
            raise UserError(
                f"{path}: the weight {key!r} has the shape {tuple(state[key].shape)}, but the "
                f"network and its features need {tuple(weights[key].shape)}"
            )
    for key in state:
        if key not in weights:
            raise UserError(f"{path} holds the unknown weight {key!r}; another network made it")
    network.load_state_dict(dict(state))


def _directory(model: str, where: Mapping[str, Any]) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=[CONFIG, WEIGHTS], **where))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
        raise UserError(
            f"{model} is no directory here, and no hub gives it ({first}); check the name"
        ) from None
