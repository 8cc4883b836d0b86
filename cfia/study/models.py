"""The models of a study's encoders: the recipe's conf/models.yaml, and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.upstream import registry


@dataclass(frozen=True)
class Models:
    """Model by encoder; "" where its own, on a hub, or nothing is meant."""

    given: Mapping[str, str]
    hub: str

    def find(self, modality: str, name: str) -> tuple[str, str]:
        """The model of an encoder, and why it cannot be used ("" if it can)."""
        model = self.given.get(name)
        if model is None:
            return "", f"no model given (--{modality}_model {name}=DIR)"
        if model.startswith(("/", ".")) and not Path(model).is_dir():
            return "", f"no model given: there is no directory {model}"
        family = registry.FAMILIES[name]
        if not model and not family.complete:
            return "", f"no model given (--{modality}_model {name}=DIR)"
        if not model and family.models and self.hub not in family.models:
            return "", f"no id of it is known for --hub {self.hub} (--{modality}_model {name}=DIR)"
        return model, ""


def read_models(recipe: Path, options: Mapping[str, str], caller: Path) -> Models:
    """Models that the recipe has, and those that the options name.

    Args:
        recipe: the recipe's directory; conf/models.yaml there may be missing.
        options: of those, `<modality>_upstream` is the recipe's own encoder and `<modality>_model`
            is `NAME=DIR,NAME=DIR`, or a model of the own encoder alone; an empty DIR takes the
            encoder out.
        caller: what a relative directory on the command line starts from.

    Raises:
        UserError: an encoder that there is not, or a directory on the command line that is not
            there.
    """
    path = recipe / "conf" / "models.yaml"
    found: dict[str, str] = {}
    for name, model in (read_yaml(path) if path.exists() else {}).items():
        if name not in registry.FAMILIES:
            raise UserError(
                f"{path}: there is no encoder {name!r}; choose from {', '.join(registry.FAMILIES)}"
            )
        found[name] = _plain(name, "" if model is None else str(model), recipe)
    for modality in registry.MODALITIES:
        for name, model in _named(modality, options):
            if model and not _directory(caller, model) and model.startswith(("/", ".")):
                raise UserError(f"--{modality}_model: no such directory {model}")
            found.pop(name, None)
            if model:
                found[name] = _plain(name, model, caller)
    return Models(found, options["hub"])


def _named(modality: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """The encoders and models of `--audio_model` or `--text_model`."""
    pairs = []
    for item in options[f"{modality}_model"].split(","):
        name, equals, model = item.partition("=")
        if equals and name in registry.names(modality):
            pairs.append((name, model))
        elif equals and "/" not in name:
            legal = ", ".join(registry.names(modality))
            raise UserError(
                f"--{modality}_model: there is no encoder {name!r}; it is one of {legal}"
            )
        elif item:
            pairs.append((options[f"{modality}_upstream"], item))
    return pairs


def _directory(start: Path, model: str) -> bool:
    return (start / model).is_dir()


def _plain(name: str, model: str, start: Path) -> str:
    """A directory in full; "" for the encoder's own default, so that its names stay short."""
    if model in registry.FAMILIES[name].models.values():
        return ""
    return str(start / model) if model and _directory(start, model) else model
