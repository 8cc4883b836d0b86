"""The encoders of a pack: how it names them wherever it goes, and how they are found and loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.errors import UserError
from cfia.files import read_json, write_json
from cfia.frontend import Frontend
from cfia.marker import ARCHIVE
from cfia.naming import model_name
from cfia.shapes import ShapeError, fit
from cfia.upstream import registry
from cfia.upstream.base import Upstream
from cfia.upstream.choice import Choice
from cfia.upstream.dump_plan import Plan, Settings
from cfia.upstream.link import same_encoder
from cfia.upstream.plan_file import NAME as PLAN

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedEncoder:
    """An encoder that features must come from.

    Attributes:
        choice: its family, model, layer and hub, as run.sh was told; of a model in a directory its
            id on a hub, where that is known, else the name of the directory.
        frontend: the description of its features.
        files: digest of all files of its model (`Checkpoint.digest`); None without weights.
        local: its model is in a directory, and no id of it is known.
    """

    choice: Choice
    frontend: Frontend
    files: str | None
    local: bool = False


def origin(dump: Path) -> Path | None:
    """Find the dump that encoded features: itself, or one whose archives it links to (egs/cross).

    None: they were imported.
    """
    archives = sorted(dump.glob(f"raw_*{ARCHIVE}"))
    places = dict.fromkeys([dump, *(archive.resolve().parent for archive in archives)])
    return next((p for p in places if (p / PLAN).exists() and same_encoder(dump, p)), None)


def settings(dump: Path) -> Settings:
    """Read how features were encoded.

    Raises:
        UserError: they were imported.
    """
    place = origin(dump)
    if place is None:
        raise UserError(
            f"the features in {dump} were imported, so a pack of them could not be used on a "
            "recording; pack a system whose encoder cfia runs"
        )
    return Plan.load(place).settings


def of_dump(dump: Path) -> PackedEncoder:
    """Describe the encoder that made a dump, without a path of this machine.

    Raises:
        UserError: the features were imported; or its model's files are gone, or are others than
            those that made the features.
    """
    made_by, frontend = settings(dump), Frontend.read(dump)
    choice, files = made_by.choice, made_by.checkpoint()
    if files is not None and files.weights_digest() != frontend.weights:
        raise UserError(
            f"{files.place} has other weights than those that made the features in {dump}; put "
            "those back"
        )
    digest, place = registry.model_digest(choice, files), directory(dump)
    if place is None:
        return PackedEncoder(choice, frontend, digest, local=False)
    model, revision = _on_hub(choice, frontend, place)
    named = model or place.name
    return PackedEncoder(
        replace(choice, model=named),
        replace(frontend, model=named, revision=revision),
        digest,
        local=model is None,
    )


def directory(dump: Path) -> Path | None:
    """Give the directory of the model that made a dump; None where it was no user's own."""
    model = settings(dump).choice.model
    return Path(model) if model is not None and Path(model).is_absolute() else None


def _on_hub(choice: Choice, frontend: Frontend, place: Path) -> tuple[str | None, str | None]:
    """Give id and commit on the Hugging Face hub of a model in a directory, where they are known.

    They are in the path of its client's cache; or the weights are those of the encoder's own model.
    """
    if place.parent.name == "snapshots" and place.parents[1].name.startswith("models--"):
        return "/".join(place.parents[1].name.split("--")[1:]), place.name
    family = registry.FAMILIES[choice.name]
    own, published = family.models.get("hf"), family.published.get(frontend.weights or "")
    return (own, None) if own and published == model_name(own) else (None, None)


def remember(pack: Path, directories: Mapping[str, Path]) -> None:
    """Note beside a pack, not in it, where models of encoders are on this machine.

    Args:
        directories: by modality.
    """
    if directories:
        write_json(_notes(pack), {m: str(path) for m, path in directories.items()})
    else:
        _notes(pack).unlink(missing_ok=True)


def remembered(pack: Path) -> dict[str, str]:
    """Read where models of encoders are, by modality, where they still are."""
    path = _notes(pack)
    if not path.exists():
        return {}
    try:
        noted: dict[str, str] = fit(dict[str, str], read_json(path, "delete it"))
    except ShapeError as error:
        raise UserError(f"{path} is not as cfia writes it ({error}); delete it") from None
    return {modality: place for modality, place in noted.items() if Path(place).is_dir()}


def _notes(pack: Path) -> Path:
    place = pack.resolve()
    return place.with_name(f".{place.name}.encoders.json")


def load(packed: PackedEncoder, given: str | None, threads: int, device: str) -> Upstream:
    """Load an encoder, if it has the weights of the one that the networks were trained with.

    Args:
        given: where its model is, a directory or an id; None: where the pack says.

    Raises:
        UserError: it is missing, or another one.
    """
    choice = packed.choice if given is None else replace(packed.choice, model=given)
    modality, named = choice.modality, choice.model or choice.name
    way_out = f"name its place with --{modality}_model ({modality}_model= in Python)"
    if packed.local and given is None:
        raise UserError(
            f"the {modality} encoder of this model is {named}, a directory where it was trained; "
            f"{way_out}"
        )
    try:
        files = registry.find(choice, packed.frontend.revision if given is None else None)
        upstream = registry.build(choice, threads, device, files)
        found = registry.model_digest(choice, files)
    except UserError as error:
        raise UserError(
            f"the {modality} encoder {named} of this model cannot be loaded: {error}"
            + f"; {way_out}" * (f"--{modality}_model" not in str(error))
        ) from None
    if upstream.description.weights != packed.frontend.weights:
        raise UserError(
            f"{named} has other weights than the {modality} encoder that this model was trained "
            f"with (SHA-256 {packed.frontend.weights}); {way_out}"
        )
    if found != packed.files:
        log.warning(
            "%s has the weights of the %s encoder that this model was trained with, but other "
            "settings (its JSON files or its tokenizer's), so its features may be others",
            named, modality,
        )  # fmt: skip
    return upstream
