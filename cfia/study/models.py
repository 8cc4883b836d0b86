"""Read the models of a study's encoders from conf/models.yaml and from the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.naming import MODALITIES, upstream_name
from cfia.shapes import ShapeError, fit
from cfia.upstream import imported, registry


@dataclass(frozen=True)
class Models:
    """The model of each encoder; "" is the encoder's default on a hub, or none.

    Attributes:
        imported: names of features from elsewhere, which have no model.
    """

    by_encoder: Mapping[str, str]
    hub: str
    imported: Collection[str] = ()

    def find(self, modality: str, name: str) -> tuple[str, str]:
        """Find the model of an encoder, and say why it cannot be used ("" if it can)."""
        if name in self.imported:
            return "", ""
        model, family = self.by_encoder.get(name), registry.FAMILIES.get(name)
        if model is None or family is None or not (model or family.complete):
            return "", f"no model given (--{modality}_model {name}=DIR)"
        if model.startswith(("/", ".")) and not Path(model).is_dir():
            return "", f"no model given: there is no directory {model}"
        if not model and family.models and self.hub not in family.models:
            return "", f"no id of it is known for --hub {self.hub} (--{modality}_model {name}=DIR)"
        return model, ""


def read_models(recipe: Path, options: Mapping[str, str], caller: Path) -> Models:
    """Read the recipe's models, and those that the options name.

    Args:
        recipe: the recipe's directory; conf/models.yaml there may be missing.
        options: `<modality>_upstream` is the recipe's own encoder, and `<modality>_model` is
            `NAME=DIR,NAME=DIR`, or a model of the recipe's own encoder alone; an empty DIR takes
            the encoder out.
        caller: the directory that relative ones on the command line start from.

    Raises:
        UserError: an unknown encoder, or what `named` refuses.
    """
    path = recipe / "conf" / "models.yaml"
    models: dict[str, str] = {}
    try:
        own = fit(dict[str, str | None], read_yaml(path) if path.exists() else {})
    except ShapeError as error:
        raise UserError(f"{path}: {error}; give each encoder a directory or an id") from None
    for name, model in own.items():
        if name not in registry.FAMILIES:
            raise UserError(
                f"{path}: there is no encoder {name!r}; choose from {', '.join(registry.FAMILIES)}"
            )
        models[name] = _plain(name, model or "", recipe)
    for modality in MODALITIES:
        for name, model in named(modality, options, caller):
            models.pop(name, None)
            if model:
                models[name] = _plain(name, model, caller)
    dumpdir = Path(options["dumpdir"])
    own = {name for modality in MODALITIES for name in imported.names(dumpdir, modality)}
    return Models(models, options["hub"], own)


def named(modality: str, options: Mapping[str, str], caller: Path) -> list[tuple[str, str]]:
    """Split `--audio_model` or `--text_model` of a study into pairs of an encoder and its model.

    Raises:
        UserError: an unknown encoder, a directory that is not there, or a model whose name cannot
            be that of a dump.
    """
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
    for name, model in pairs:
        if model.startswith(("/", ".")) and not (caller / model).is_dir():
            raise UserError(f"--{modality}_model: no such directory {model}")
        upstream_name(name, model, "")
    return pairs


def _plain(name: str, model: str, start: Path) -> str:
    """Make a directory absolute; "" for the encoder's default, so that its names stay short."""
    if model in registry.FAMILIES[name].models.values():
        return ""
    return str(start / model) if model and (start / model).is_dir() else model
