"""Typed configuration: dataclasses, filled from YAML files and from `key=value` overrides.

A configuration is flat: every key of `ModelConfig` and `TrainConfig` is a key of the YAML file;
conf/README.md explains them all. Some networks have keys of their own (`cfia.networks.OWN`). Later
sources win:

    the defaults below < the recipe's conf/train.yaml < the system's YAML < --train_args

A file may start from another: `base: cfia_net` reads cfia_net.yaml before it, from the file's own
directory or from the shared conf/systems/.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cfia.errors import UserError
from cfia.files import read_with_bases
from cfia.installation import CONF
from cfia.key_values import ABOVE_0, BELOW_1, FROM_0, checked
from cfia.networks import CLASSIFY_EITHER, NETWORKS, OWN, ModelConfig, ProbeConfig
from cfia.shapes import type_hints

SHARED = CONF / "systems"


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation and selection; what the paper says, and our choice where it is silent."""

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    lr: Annotated[float, ABOVE_0] = 1e-4
    weight_decay: Annotated[float, FROM_0] = 0.0
    momentum: Annotated[float, BELOW_1] = 0.9  # of rmsprop and sgd
    schedule: Literal["constant", "cosine", "plateau", "cyclic", "step"] = "constant"
    lr_min: Annotated[float, FROM_0] = 0.0  # where cosine ends
    # plateau: to a tenth after more than so many epochs without a better one; 0: patience // 3
    plateau_patience: Annotated[int, FROM_0] = 0
    plateau_by: Literal["ua", "loss"] = "ua"
    step_epochs: Annotated[int, ABOVE_0] = 30  # step: to a tenth after every so many
    # cyclic: from lr to lr_max in cycle_epochs and back, the momentum to momentum_min and back
    lr_max: Annotated[float, ABOVE_0] = 1e-3
    cycle_epochs: Annotated[int, ABOVE_0] = 10
    momentum_min: Annotated[float, BELOW_1] = 0.8
    batch_size: Annotated[int, ABOVE_0] = 32
    # length: utterances of about one length make a batch, so that little of it is padding; which
    # ones, changes every epoch. none: any ones, as always with `mask: none`, which pads them all.
    batch_by: Literal["length", "none"] = "length"
    epochs: Annotated[int, ABOVE_0] = 100
    patience: Annotated[int, ABOVE_0] = 15  # epochs without a better validation score
    best_by: Literal["ua", "wa", "loss"] = "ua"  # on the validation part, and so is `patience`
    # bf16: matrix products in bfloat16 (autocast), for GPUs; the Bi-GRU and posteriors in float32
    precision: Literal["float32", "bf16"] = "float32"
    clip_grad: Annotated[float, FROM_0] = 0.0  # largest norm of the gradient; 0: no clipping
    class_weights: Literal["none", "balanced"] = "none"
    # Of audio and text together. The share of the training utterances that lack one of the two,
    # drawn anew each epoch; and the weight of the cross entropy of each one's own mean over time.
    modality_dropout: Annotated[float, BELOW_1] = 0.0
    unimodal_loss: Annotated[float, FROM_0] = 0.0


OF_FUSION = ("modality_dropout", "unimodal_loss")

# Keys that came after experiments had been trained: their defaults leave the digests as they were.
LATER = ("lr_min", "plateau_patience", "plateau_by", "step_epochs", "best_by", *OF_FUSION)


Section = TypeVar("Section", bound=ModelConfig | TrainConfig)


@dataclass(frozen=True)
class Config:
    """All that a training depends on besides its data and its seed."""

    model: ModelConfig
    train: TrainConfig

    @property
    def seeded(self) -> bool:
        """Whether a seed changes what is trained: of the probe alone nothing is drawn."""
        return not isinstance(self.model, ProbeConfig)

    def flat(self) -> dict[str, Any]:
        """Put all keys into one mapping, as a YAML file has them."""
        return {**dataclasses.asdict(self.model), **dataclasses.asdict(self.train)}

    def in_use(self) -> dict[str, Any]:
        """Put the keys into one mapping, without those of `LATER` that have their defaults."""
        values = self.flat().items()
        return {k: v for k, v in values if k not in LATER or v != getattr(TrainConfig, k)}

    def changed(self, settings: Mapping[str, Any], source: str) -> Config:
        """Give it with other values of some keys.

        Raises:
            UserError: as `build`.
        """
        return build({**self.flat(), **settings}, source)


def in_words(settings: Mapping[str, Any]) -> str:
    """Name keys and their values: `lr 0.0003, dropout 0.3`."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def build(values: Mapping[str, Any], source: str = "the configuration") -> Config:
    """Check `values` (flat) against the dataclasses and fill in the defaults.

    Raises:
        UserError: an unknown key, a value of the wrong type or outside the legal ones; the
            message names `source` and lists what is legal.
    """
    network = values.get("network")
    kind = OWN.get(network, ModelConfig) if isinstance(network, str) else ModelConfig
    found = _check(values, _hints(kind, TrainConfig), source)
    config = Config(_section(kind, found), _section(TrainConfig, found))
    _check_together(config, source)
    _check_fusion(config, source)
    return config


def _section(section: type[Section], checked: Mapping[str, Any]) -> Section:
    names = [field.name for field in dataclasses.fields(section)]
    return section(**{name: checked[name] for name in names if name in checked})


def check(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Check keys and values, each by itself, and give the values the types of their keys.

    A key of any network is legal here. The standard library is enough, so that `--train_args` is
    checked before any environment exists.

    Raises:
        UserError: as `build`.
    """
    return _check(values, _every_hint(), source)


def check_keys(keys: Iterable[str], source: str) -> None:
    """Check that each is a key of some network, or of training.

    Raises:
        UserError: one is not.
    """
    _check_keys(keys, _every_hint(), source)


def _every_hint() -> dict[str, Any]:
    return _hints(ModelConfig, *OWN.values(), TrainConfig)


def _check_keys(keys: Iterable[str], hints: Mapping[str, Any], source: str) -> None:
    for key in keys:
        if key not in hints:
            raise UserError(f"{source}: {_unknown(key, hints)}")


def _check(values: Mapping[str, Any], hints: Mapping[str, Any], source: str) -> dict[str, Any]:
    _check_keys(values, hints, source)
    return {key: checked(key, value, hints[key], source, NETWORKS) for key, value in values.items()}


def _hints(*sections: Any) -> dict[str, Any]:
    """Give the types of all keys; no two networks have a key of one name."""
    found: dict[str, Any] = {}
    for section in sections:
        found |= type_hints(section, extras=True)
    return found


def _unknown(key: str, hints: Iterable[str]) -> str:
    owners = [name for name, kind in OWN.items() if key in _hints(kind)]
    if owners:
        return f"{key} is a key of `network: {' or '.join(owners)}` alone; leave it out"
    return f"unknown key {key!r}; the keys are {', '.join(sorted(hints))}"


def load(files: Iterable[Path], overrides: Iterable[str] = ()) -> Config:
    """Merge YAML files (later ones win) and `key=value` overrides into a `Config`.

    Each step is checked, so that a message names the file at fault.

    Raises:
        UserError: as `build`; a missing file or base; YAML that is not a mapping.
    """
    merged: dict[str, Any] = {}
    for path in files:
        for source, values in reversed(read_with_bases(path, SHARED, "configuration")):
            merged.update(values)
            build(merged, str(source))
    merged.update(override(text) for text in overrides)
    return build(merged, "--train_args")


def override(text: str) -> tuple[str, Any]:
    """Read `key=value`: a word, a number, or numbers in brackets as in `[5e-4, 3e-4, 1e-4]`.

    Raises:
        UserError: it is not of that form, or as `check`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--train_args: expected key=value, not {text!r}")
    is_list = value.startswith("[") and value.endswith("]")
    words = [word.strip() for word in value[1:-1].split(",")] if value[1:-1].strip() else []
    return key, check({key: words if is_list else value}, "--train_args")[key]


def as_override(key: str, value: Any) -> str:
    """Undo `override`, for a value of YAML."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def check_modalities(config: Config, modalities: Collection[str]) -> None:
    """Refuse what cannot be trained on these modalities, of "audio" and "text".

    Raises:
        UserError: it says on which it can.
    """
    model = config.model
    if model.takes == "both" and len(modalities) == 1:
        raise UserError(
            f"`network: {model.network}` takes audio and text together; give --systems "
            "<config>_audio_text"
        )
    if model.takes == "one" and len(modalities) > 1:
        raise UserError(
            f"`network: {model.network}` takes one modality; give --systems <config>_audio or "
            "<config>_text"
        )
    for key in OF_FUSION:
        if getattr(config.train, key) and len(modalities) == 1:
            raise UserError(
                f"{key} is for audio and text together, and here is {next(iter(modalities))} "
                f"alone; give --systems <config>_audio_text, or {key}=0"
            )


def _check_fusion(config: Config, source: str) -> None:
    model, train = config.model, config.train
    if train.modality_dropout and (isinstance(model, ProbeConfig) or model.takes == "one"):
        raise UserError(
            f"{source}: modality_dropout is for networks that train on audio and text; leave it "
            f"out with `network: {model.network}`"
        )
    if train.unimodal_loss and model.network not in CLASSIFY_EITHER:
        raise UserError(
            f"{source}: unimodal_loss needs a classifier that takes either modality's mean; leave "
            f"it out with `network: {model.network}`; {', '.join(CLASSIFY_EITHER)} have one"
        )
    if train.unimodal_loss and model.network == "cfia" and model.classifier_input != "fusion":
        raise UserError(
            f"{source}: unimodal_loss needs `classifier_input: fusion`, for what "
            f"`classifier_input: {model.classifier_input}` gives the classifier is no mean of the "
            "two modalities"
        )


def _check_together(config: Config, source: str) -> None:
    model, train = config.model, config.train
    if model.hidden % model.multiple:
        raise UserError(
            f"{source}: hidden is {model.hidden}; with `network: {model.network}` it is a multiple "
            f"of {model.multiple}"
        )
    modules = model.n_modules if model.network == "cfia" else 0
    pairs = modules * (modules - 1) // 2  # of a deeper and a shallower one
    if len(model.consistency) not in (0, pairs):
        raise UserError(
            f"{source}: {modules} CFIA modules have {pairs} pairs for the consistency loss, but "
            f"`consistency` has {len(model.consistency)} weights; give as many, or [] for none"
        )
    if isinstance(model, ProbeConfig) and not model.probe_c_grid:
        raise UserError(f"{source}: probe_c_grid is empty; give one number or more")
    ascending = []
    if train.schedule == "cyclic":
        ascending.append(("lr", "lr_max"))
        if train.optimizer in ("rmsprop", "sgd"):
            ascending.append(("momentum_min", "momentum"))
    if train.schedule == "cosine":
        ascending.append(("lr_min", "lr"))
    for low, high in ascending:
        if getattr(train, low) > getattr(train, high):
            raise UserError(
                f"{source}: {low} is {getattr(train, low)}, above {high} {getattr(train, high)}; "
                f"with `schedule: {train.schedule}` it must not be"
            )
