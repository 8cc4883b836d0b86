"""Typed configuration: dataclasses, filled from YAML files and from `key=value` overrides.

A configuration is flat: every key of `ModelConfig` and `TrainConfig` stands at the top of the
YAML file, by its name; conf/README.md explains them all. Later sources win:

    the defaults below < the recipe's conf/train.yaml < the system's YAML < --train_args

A file may start from another: `base: cfia_net` reads cfia_net.yaml before it, from the file's own
directory or from the shared conf/systems/.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cfia.errors import UserError
from cfia.files import read_yaml

# The networks by the name that `network:` gives them; a new one is a line here (cfia/README.md).
NETWORKS = {
    "cfia": "cfia.model.network.CFIANet",
    "concat": "cfia.model.concat.Concatenation",
    "linear": "cfia.model.linear.LinearHead",
    "one_share": "cfia.model.constant_gate.OneShare",
    "share_per_f": "cfia.model.constant_gate.SharePerFeature",
    "late_fusion": "cfia.model.late_fusion.LateFusion",
}

SHARED = Path(__file__).resolve().parents[1] / "conf" / "systems"


@dataclass(frozen=True)
class ModelConfig:
    """The network and its loss. The defaults are the configuration `cfia_net`."""

    network: str = "cfia"  # one of NETWORKS
    # Input
    normalisation: Literal["none", "global", "utterance"] = "none"
    frame_rate: float = 0.0  # Hz: neighbouring audio frames are averaged to about this; 0: as is
    max_frames: int = 512  # longer input is cut here; `align: pad` pads to here
    # Bi-GRU and the linear layer to C x T x F
    hidden: int = 128  # per direction; the width of the linear head
    layers: int = 1
    channels: int = 32
    features: int = 16
    align: Literal["interpolate", "pad"] = "interpolate"
    mask: Literal["full", "none"] = "full"
    # CFIA modules
    n_modules: int = 3
    mlp: Literal["two", "split"] = "two"
    reduction: int = 16
    gate_conv: Literal["pointwise", "mixing"] = "pointwise"
    kernel: int = 1  # along T
    stack: Literal["fused", "equations"] = (
        "fused"  # the same function, by closed form or as written
    )
    unimodal: Literal["gate", "bypass"] = "gate"
    # Classifier
    classifier_input: Literal["fusion", "sum", "concat"] = "fusion"
    classifier_hidden: int = 0
    dropout: float = 0.0
    # Self-consistency: one weight per pair of a deeper and a shallower module, in the order
    # (3,1), (3,2), (2,1); 0 turns a term off, and an empty list leaves the loss out.
    consistency: list[float] = field(default_factory=lambda: [5e-4, 3e-4, 1e-4])
    consistency_loss: Literal["mean", "sum_per_utt", "norm"] = "mean"
    detach: Literal["deep", "none"] = "deep"


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation and selection; what the paper says, and our choice where it is silent."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: float = 1e-4
    weight_decay: float = 0.0
    momentum: float = 0.9  # of rmsprop
    schedule: Literal["constant", "cosine", "plateau", "cyclic"] = "constant"
    # cyclic: from lr to lr_max in cycle_epochs and back, the momentum to momentum_min and back
    lr_max: float = 1e-3
    cycle_epochs: int = 10
    momentum_min: float = 0.8
    batch_size: int = 32
    # length: utterances of about one length make a batch, so that little of it is padding; which
    # ones, changes every epoch. none: any ones, as always with `mask: none`, which pads them all.
    batch_by: Literal["length", "none"] = "length"
    epochs: int = 100
    patience: int = 15  # epochs without a better validation UA
    # bf16: matrix products in bfloat16 (autocast), for GPUs; the Bi-GRU and posteriors in float32
    precision: Literal["float32", "bf16"] = "float32"
    clip_grad: float = 0.0  # largest norm of the gradient; 0: no clipping
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(frozen=True)
class Config:
    """Everything a training needs to know besides its data."""

    model: ModelConfig
    train: TrainConfig

    def flat(self) -> dict[str, Any]:
        """All keys in one mapping, as they stand in a YAML file."""
        return {**dataclasses.asdict(self.model), **dataclasses.asdict(self.train)}


def n_pairs(n_modules: int) -> int:
    """How many pairs of a deeper and a shallower module there are."""
    return n_modules * (n_modules - 1) // 2


def build(values: Mapping[str, Any], source: str = "the configuration") -> Config:
    """Check `values` (flat) against the dataclasses and fill in the defaults.

    Raises:
        UserError: an unknown key, a value of the wrong type or outside the legal ones; the
            message names `source` and lists what is legal.
    """
    _check_keys(values, source)
    config = Config(
        ModelConfig(**_checked(ModelConfig, values, source)),
        TrainConfig(**_checked(TrainConfig, values, source)),
    )
    _check_ranges(config, source)
    return config


def load(files: Iterable[Path], overrides: Iterable[str] = ()) -> Config:
    """Merge YAML files (later ones win) and `key=value` overrides into a `Config`.

    Each step is checked, so that a message names the file at fault.

    Raises:
        UserError: as `build`; a missing file or base; YAML that is not a mapping.
    """
    merged: dict[str, Any] = {}
    for path in files:
        for source, values in reversed(_with_bases(path)):
            merged.update(values)
            build(merged, str(source))
    merged.update(_override(text) for text in overrides)
    return build(merged, "--train_args")


def _with_bases(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A file and its values, then its base, the base's base, and so on."""
    found: list[tuple[Path, dict[str, Any]]] = []
    while True:
        if any(path.resolve() == earlier.resolve() for earlier, _ in found):
            raise UserError(f"{path} is its own base, by way of {found[-1][0]}; remove one `base:`")
        values = read_yaml(path)
        base = values.pop("base", None)
        found.append((path, values))
        if base is None:
            return found
        path = _base(path, str(base))


def _base(path: Path, name: str) -> Path:
    places = [path.parent / f"{name}.yaml", SHARED / f"{name}.yaml"]
    for place in places:
        # A recipe's cfia_net.yaml may start from the shared one.
        if place.is_file() and place.resolve() != path.resolve():
            return place
    raise UserError(
        f"{path}: there is no base {name!r}; give the name, without .yaml, of another "
        f"configuration in {path.parent} or {SHARED}"
    )


def check_override(text: str) -> tuple[str, str]:
    """The key and the value of `key=value`, if the key is one that there is.

    Raises:
        UserError: it is not of that form, or the key is unknown.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--train_args: expected key=value, not {text!r}")
    _check_keys([key], "--train_args")
    return key, value


def _check_keys(keys: Iterable[str], source: str) -> None:
    known = {f.name for cls in (ModelConfig, TrainConfig) for f in dataclasses.fields(cls)}
    for key in keys:
        if key not in known:
            raise UserError(
                f"{source}: unknown key {key!r}; the keys are {', '.join(sorted(known))}"
            )


def _override(text: str) -> tuple[str, Any]:
    import yaml

    key, value = check_override(text)
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--train_args: the value of {text!r} is not valid YAML") from None


def _checked(cls: type, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {
        f.name: _coerce(f.name, values[f.name], hints[f.name], source)
        for f in dataclasses.fields(cls)
        if f.name in values
    }


def _coerce(key: str, value: Any, hint: Any, source: str) -> Any:
    legal = tuple(NETWORKS) if key == "network" else typing.get_args(hint)
    if hint is str or typing.get_origin(hint) is Literal:
        # YAML reads a bare `none` as a string, but `null` and `~` as None.
        if value not in legal:
            raise UserError(f"{source}: {key} is {value!r}; legal values are {', '.join(legal)}")
        return value
    if isinstance(hint, types.GenericAlias):
        if not isinstance(value, list):
            raise UserError(
                f"{source}: {key} is {value!r}; expected a list such as [5e-4, 3e-4, 1e-4]"
            )
        return [_coerce(key, item, typing.get_args(hint)[0], source) for item in value]
    return _number(key, value, hint, source)


def _number(key: str, value: Any, hint: type, source: str) -> int | float:
    # YAML 1.1 takes 1e-4, without a dot, for a string: a trap that every recipe falls into.
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise UserError(f"{source}: {key} is {value!r}; expected a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{source}: {key} is {value!r}; expected a number")
    if hint is int:
        if int(value) != value:
            raise UserError(f"{source}: {key} is {value!r}; expected a whole number")
        return int(value)
    return float(value)


# What numbers are legal, in words and as a test, and the keys that this holds for.
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "1 and more",
        lambda value: value >= 1,
        ("max_frames", "hidden", "layers", "channels", "features", "reduction"),
    ),
    (
        "above 0",
        lambda value: value > 0,
        ("lr", "lr_max", "cycle_epochs", "batch_size", "epochs", "patience"),
    ),
    (
        "0 and more",
        lambda value: value >= 0,
        ("weight_decay", "clip_grad", "frame_rate", "n_modules", "classifier_hidden"),
    ),
    ("0 to below 1", lambda value: 0 <= value < 1, ("dropout", "momentum", "momentum_min")),
    ("odd: 1, 3, 5, ...", lambda value: value >= 1 and value % 2 == 1, ("kernel",)),
)


def _check_ranges(config: Config, source: str) -> None:
    values = config.flat()
    for legal, test, keys in _RANGES:
        for key in keys:
            if not test(values[key]):
                raise UserError(f"{source}: {key} is {values[key]}; legal values are {legal}")
    model, train = config.model, config.train
    modules = model.n_modules if model.network == "cfia" else 0
    pairs = n_pairs(modules)
    if len(model.consistency) not in (0, pairs):
        raise UserError(
            f"{source}: {modules} CFIA modules have {pairs} pairs for the consistency loss, but "
            f"`consistency` has {len(model.consistency)} weights; give as many, or [] for none"
        )
    if train.schedule == "cyclic":
        _check_order("lr", "lr_max", values, source)
        if train.optimizer == "rmsprop":
            _check_order("momentum_min", "momentum", values, source)


def _check_order(low: str, high: str, values: Mapping[str, Any], source: str) -> None:
    if values[low] > values[high]:
        raise UserError(
            f"{source}: {low} is {values[low]}, above {high} {values[high]}; with `schedule: "
            "cyclic` it must not be"
        )
