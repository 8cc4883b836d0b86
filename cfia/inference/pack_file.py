"""A pack: the directory of a trained model that leaves the house, and all that it must say.

    config.json         keys of `PackFile`, those of `cfia.model.pretrained` among them
    model.safetensors   the network; of an ensemble fold1.safetensors and so on
    README.md           the model card

Nothing in it can run code, and nothing in it names a corpus's files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia.errors import UserError
from cfia.files import digest, read_json, write_json
from cfia.inference.encoders import PackedEncoder
from cfia.model import registry
from cfia.model.pretrained import (
    CONFIG,
    COPY_AGAIN,
    FORMAT,
    check_format,
    load_weights,
    network_config,
)
from cfia.networks import ModelConfig
from cfia.shapes import ShapeError, fit
from cfia.upstream.hub import Source, sources

if TYPE_CHECKING:
    from torch import nn

CARD = "README.md"
_FILES = (CONFIG, "*.safetensors", CARD)
_SHA256 = "sha256"


@dataclass(frozen=True)
class PackFile:
    """The keys of config.json.

    Attributes:
        cfia: the version that wrote it; versions: those of libraries, by name.
        dims, n_classes, config, layers: the arguments of the network.
        classes: the labels, in the order of its outputs.
        encoders: by modality, in the order of `dims`.
        num_threads: of one process, where results are to be those of the training.
        text_tags: "strip" or "keep", of annotators' tags in transcripts.
        protocol: how its scores were made; as experiment.yaml has it.
        trained_on: of the networks: corpus, utterances, seed, epochs, commit and command.
        weights: file -> its SHA-256; with several files their posteriors are averaged.
    """

    cfia: str
    versions: Mapping[str, str]
    dims: dict[str, int]
    n_classes: int
    config: ModelConfig
    layers: dict[str, int]
    classes: tuple[str, ...]
    encoders: Mapping[str, PackedEncoder]
    num_threads: int
    text_tags: str
    system: str
    scheme: str
    corpus: str
    protocol: Mapping[str, Any]
    trained_on: Mapping[str, Any]
    weights: Mapping[str, str]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the network takes: "audio", "text" or both."""
        return tuple(self.dims)

    def write(self, directory: Path) -> None:
        """Write config.json, its own digest at the end."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        write_json(directory / CONFIG, {**values, _SHA256: digest(values)})

    def networks(self, directory: Path) -> list[nn.Module]:
        """Load the networks, in evaluation mode, on the CPU.

        Raises:
            UserError: a file is missing, or not as it was packed.
        """
        networks = []
        for name, digest_then in self.weights.items():
            network = registry.build(self.dims, self.n_classes, self.config, self.layers)
            load_weights(network, directory / name, digest_then)
            networks.append(network.eval())
        return networks


def read(directory: Path) -> PackFile:
    """Read the config.json of a pack.

    Raises:
        UserError: there is none, it is of a later version, or not as it was written.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise UserError(f"{directory} has no {CONFIG}, so it is no packed model; name another")
    values = read_json(path, COPY_AGAIN)
    if not isinstance(values, dict) or "format" not in values or "cfia" not in values:
        raise UserError(f"{path} is not that of a packed model of cfia; name another")
    check_format(values, path)
    try:
        if values.pop(_SHA256, None) != digest(values):
            raise UserError(f"{path} was cut or edited; {COPY_AGAIN}")
        values["config"] = network_config(fit(dict[str, Any], values), path)
        packed: PackFile = fit(PackFile, values)
    except ShapeError as error:
        raise UserError(f"{path} is not as cfia writes it ({error}); {COPY_AGAIN}") from None
    return packed


def find(model: str, revision: str | None = None) -> Path:
    """Find the directory of a pack: a local one, or an id of the Hugging Face hub.

    Raises:
        UserError: there is no such directory, or the hub cannot give the pack.
    """
    (source,) = sources(model, "hf", revision)
    return _fetch(source)


def _fetch(source: Source) -> Path:
    try:
        return source.fetch(_FILES)
    except UserError:
        raise
    except Exception as error:  # the clients have no base class for theirs
        raise source.explain(error) from None
