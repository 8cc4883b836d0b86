"""Find the files of an emotion2vec model, and the weights in them that are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import digest, read_yaml, sha256
from cfia.upstream import checkpoint, torch_file
from cfia.upstream.choice import Choice
from cfia.upstream.hub import Source, sources
from cfia.upstream.registry import default_model

# What names the other two; the settings; the weights, where it does not name them.
CONFIGURATION, CONFIG, WEIGHTS = "configuration.json", "config.yaml", "model.pt"

AUDIO = "modality_encoders.AUDIO"  # the beginning of most weights' names

# What is not run: the decoder of the pretraining, its moving average of the weights, and the
# classifier of the models that were trained on labels.
DECODER, AVERAGE, HEAD = f"{AUDIO}.decoder.", "_ema", "proj."


class Files(checkpoint.Checkpoint):
    """A model's directory as funasr reads it.

    `configuration.json` names the settings and the weights in `file_path_metas`. Where it is
    missing, or the file is not there that it names, they are config.yaml and model.pt, or the one
    file that ends in .pt.
    """

    def settings(self) -> Path:
        """Find the file of settings.

        Raises:
            UserError: there is none.
        """
        for name in (self.named("config"), CONFIG):
            if name and (self.directory / name).is_file():
                return self.directory / name
        raise UserError(
            f"{self.model} has no {CONFIG}; give a model directory with {CONFIG} and the weights, "
            f"such as {WEIGHTS}"
        )

    def weights(self) -> list[Path]:
        """Find the one file of weights.

        Raises:
            UserError: there is none, or more than one that could be meant.
        """
        for name in (self.named("init_param"), WEIGHTS):
            if name and (self.directory / name).is_file():
                return [self.directory / name]
        others = sorted(path for path in self.directory.glob("*.pt") if path.is_file())
        if len(others) > 1:
            raise UserError(
                f"{self.model} has more than one file of weights ({others[0].name}, "
                f"{others[1].name}) and no {CONFIGURATION} that names one; leave one there"
            )
        if not others:
            raise UserError(
                f"{self.model} has no weights ({self.named('init_param') or WEIGHTS}); give a "
                f"model directory with {CONFIG} and the weights"
            )
        return others

    def named(self, key: str) -> str | None:
        """Look up the name of a file in configuration.json.

        Raises:
            UserError: it is a path, and so might lead out of the directory.
        """
        path = self.directory / CONFIGURATION
        value = checkpoint.read_settings(path) if path.is_file() else None
        named = value.get("file_path_metas") if isinstance(value, dict) else None
        name = named.get(key) if isinstance(named, dict) else None
        if name is not None and (not isinstance(name, str) or name != Path(name).name):
            raise UserError(f"{path} has {name!r} for {key}, not the name of a file beside it")
        return name

    def digest(self) -> str:
        """Digest all that can change a feature: weights and settings."""
        (weights,), settings = self.weights(), self.settings()
        return digest(
            {settings.name: sha256(settings), weights.name: checkpoint.weights_sha256(weights)}
        )

    def stored(self) -> dict[str, torch_file.StoredTensor]:
        """Map the names of funasr's class to all weights, not read yet.

        Raises:
            UserError: the file cannot be read or holds no weights, or two for one name; the
                settings' `scope_map` is not of funasr's form.
        """
        scopes = _scopes(self, read_yaml(self.settings()))
        stored = _stored(self.weights()[0])
        renamed = {_renamed(key, scopes): value for key, value in stored.items()}
        if len(renamed) < len(stored):
            raise UserError(
                f"{self.weights()[0]} has weights twice, under `module.` or another beginning and "
                "without it; save one of them alone"
            )
        return renamed

    def has_label_head(self) -> bool:
        """Whether there are weights of a classifier."""
        return any(key.startswith(HEAD) for key in self.stored())


def find(choice: Choice, revision: str | None) -> Files:
    """Find the model's files; see `cfia.upstream.registry.find`."""
    places = sources(default_model(choice), choice.hub, revision)
    files = checkpoint.first_whole(places, _fetch)
    return Files(files.model, files.directory, files.revision)


def _fetch(source: Source) -> Path:
    """Fetch the settings and the weights; of several files, only what `Files` takes."""
    directory = source.fetch([CONFIGURATION, CONFIG])
    files = Files(source.model, directory, source.revision)
    settings, weights = files.named("config") or CONFIG, files.named("init_param") or WEIGHTS
    for pattern in (weights, WEIGHTS, "*.pt"):
        source.fetch([CONFIGURATION, settings, pattern])
        if any(directory.glob(pattern)):
            break
    try:
        checkpoint.refuse_pointers([files.settings(), *files.weights()])
    except UserError:
        source.names()  # where a hub is out of reach, that is the reason
        raise
    return directory


def _scopes(files: Files, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Read funasr's `scope_map`, a flat list of pairs: beginnings of keys and their replacements.

    The emotion2vec+ models, whose network is a part of a classifier, have one.
    """
    flat = config.get("scope_map") or []
    flat = flat.split(",") if isinstance(flat, str) else flat
    if not isinstance(flat, list) or len(flat) % 2:
        raise UserError(f"{files.settings()}: scope_map must be a list of pairs, not {flat!r}")
    words = ["" if str(word).lower() == "none" else str(word) for word in flat]
    return [*zip(words[::2], words[1::2], strict=True), ("module.", "")]


def _renamed(key: str, scopes: list[tuple[str, str]]) -> str:
    for old, new in scopes:
        if old and key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _stored(path: Path) -> dict[str, torch_file.StoredTensor]:
    """Find the weights in a file, not read yet: under `model` in files of fairseq's training.

    The moving average of a pretraining, which may be a dictionary among them, is left out.

    Raises:
        UserError: as `torch_file.load`; there are no weights in it.
    """
    value = torch_file.load(path)
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    if isinstance(value, dict):
        value = {
            str(key): item for key, item in value.items() if AVERAGE not in str(key).split(".")
        }
    tensor = torch_file.StoredTensor
    if not isinstance(value, dict) or not all(isinstance(item, tensor) for item in value.values()):
        raise UserError(f"{path} holds no model's weights; download the model again")
    return value
