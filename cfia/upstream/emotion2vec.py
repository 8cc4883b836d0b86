"""emotion2vec: funasr's design and weights, run on batches without an effect on any frame."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from cfia.config import read_yaml
from cfia.errors import UserError
from cfia.files import digest as digest_of
from cfia.files import read_json, sha256
from cfia.upstream import checkpoint, torch_file
from cfia.upstream.base import Description, Features, Upstream
from cfia.upstream.choice import Choice
from cfia.upstream.emotion2vec_batch import AUDIO, Network
from cfia.upstream.hub import Source, sources
from cfia.upstream.registry import default_model

# What names the other two; the settings; the weights, where it does not name them.
CONFIGURATION, CONFIG, WEIGHTS = "configuration.json", "config.yaml", "model.pt"
SAMPLE_RATE = 16000

# What is not run: the decoder of the pretraining, its moving average of the weights, and the
# classifier of the models that were trained on labels.
DECODER, AVERAGE, HEAD = f"{AUDIO}.decoder.", "_ema", "proj."

# What `Network` takes for granted; `check_design` refuses a model without it.
MODEL_DESIGN = {"layer_norm_first": False, "norm_affine": True}
AUDIO_DESIGN = {
    "extractor_mode": "layer_norm",
    "learned_alibi": False,
    "learned_alibi_scale_per_layer": False,
    "conv_pos_pre_ln": False,
}


class Files(checkpoint.Checkpoint):
    """A model's directory as funasr reads it.

    `configuration.json` names the settings and the weights in `file_path_metas`. Where it is
    missing, or the file is not there that it names, they are config.yaml and model.pt, or the one
    file that ends in .pt.
    """

    def settings(self) -> Path:
        """The file of settings.

        Raises:
            UserError: there is none.
        """
        path = self.directory / (self.named("config") or CONFIG)
        if not path.is_file():
            raise UserError(
                f"{self.model} has no {path.name}; give a model directory with {CONFIG} and the "
                f"weights, such as {WEIGHTS}"
            )
        return path

    def weights(self) -> list[Path]:
        """The one file of weights.

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
        """The name of a file in configuration.json.

        Raises:
            UserError: it is a path, and so might lead out of the directory.
        """
        path = self.directory / CONFIGURATION
        value = read_json(path) if path.is_file() else None
        named = value.get("file_path_metas") if isinstance(value, dict) else None
        name = named.get(key) if isinstance(named, dict) else None
        if name is not None and (not isinstance(name, str) or name != Path(name).name):
            raise UserError(f"{path} has {name!r} for {key}, not the name of a file beside it")
        return name

    def digest(self) -> str:
        """Digest of all that can change a feature: weights and settings."""
        (weights,), settings = self.weights(), self.settings()
        return digest_of(
            {settings.name: sha256(settings), weights.name: checkpoint.weights_sha256(weights)}
        )

    def has_label_head(self) -> bool:
        """Whether there are weights of a classifier."""
        return any(key.startswith(HEAD) for key in _stored(self.weights()[0]))


class Emotion2vec(Upstream):
    """An emotion2vec model, 50 frames a second. See `emotion2vec_batch` for how it is run."""

    def __init__(self, files: Files, network: Network, dim: int, *, normalise: bool) -> None:
        self._network = network
        self._normalise = normalise
        self._device = network.device
        self.shortest = network.front.shortest
        self.description = Description(
            kind="audio",
            name="emotion2vec",
            model=files.model,
            revision=files.revision,
            layer=None,
            dim=dim,
            frame_shift=network.front.stride / SAMPLE_RATE,
            sample_rate=SAMPLE_RATE,
            weights=files.weights_digest(),
        )

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Waveforms at 16 kHz to matrices (floor((samples - 400) / 320) + 1, dim).

        The values are those of funasr's `generate` with `granularity="frame"` on one waveform
        at a time; see `Upstream.extract`.
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            waves = [torch.from_numpy(samples).to(self._device) for samples in batch]
            if self._normalise:
                waves = [functional.layer_norm(wave, wave.shape) for wave in waves]
            return [states.cpu().numpy().copy() for states in self._network(waves)]


def build(choice: Choice, files: Files, num_threads: int, device: str) -> Upstream:
    """Load an emotion2vec model; see `cfia.upstream.registry.build`.

    Raises:
        UserError: a layer was named; it is not a whole emotion2vec model; there is no such
            device.
    """
    import torch

    _check_no_layer(choice)
    torch.set_num_threads(num_threads)
    config = _config(files)
    spec = check_design(files, config)
    weights = _weights(files, config)
    placed = {key: checkpoint.place(value, device) for key, value in weights.items()}
    conf = config["model_conf"]
    network = Network(placed, conf, spec)
    return Emotion2vec(files, network, conf["embed_dim"], normalise=bool(conf.get("normalize")))


def find(choice: Choice, revision: str | None) -> Files:
    """The model's files; see `cfia.upstream.registry.find`."""
    places = sources(default_model(choice), choice.hub, revision)
    found = checkpoint.first_whole(places, _fetch)
    return Files(found.model, found.directory, found.revision)


def digest(choice: Choice, files: Files) -> str:
    """Digest of the model's files; see `cfia.upstream.registry.model_digest`."""
    _check_no_layer(choice)
    return files.digest()


def _fetch(source: Source) -> Path:
    """Fetch the settings and the weights; of several files, only what `Files` takes."""
    directory = source.fetch([CONFIGURATION, CONFIG])
    files = Files(source.model, directory, source.revision)
    names = [name for key in ("config", "init_param") if (name := files.named(key))]
    for patterns in ([*names, CONFIG], [WEIGHTS], ["*.pt"]):
        source.fetch([CONFIGURATION, *patterns])
        if any(directory.glob("*.pt")) or (names and (directory / names[-1]).is_file()):
            break
    files.settings()
    files.weights()
    return directory


def _check_no_layer(choice: Choice) -> None:
    if choice.layer is not None:
        raise UserError("emotion2vec has no layers to choose from; leave --audio_layer out")


def _config(files: Files) -> dict[str, Any]:
    config = read_yaml(files.settings())
    if config.get("model") != "Emotion2vec" or not isinstance(config.get("model_conf"), dict):
        raise UserError(
            f"{files.model}: {CONFIG} is of the model {config.get('model')}, not Emotion2vec; give "
            "an emotion2vec model or another --audio_upstream"
        )
    return config


def check_design(files: checkpoint.Checkpoint, config: dict[str, Any]) -> list[list[int]]:
    """Check that a configuration is of the design that `Network` runs.

    Returns:
        The layers of the convolutional front, [channels, kernel, stride] each.

    Raises:
        UserError: it is not; the message names the key.
    """
    conf = config["model_conf"]
    audio = (conf.get("modalities") or {}).get("audio")
    if not isinstance(audio, dict):
        raise _other_design(files, "modalities.audio", None)
    heads = conf.get("num_heads")
    for found, needed in (
        (conf, MODEL_DESIGN),
        (
            audio,
            AUDIO_DESIGN | ({"num_alibi_heads": heads} if audio.get("use_alibi_encoder") else {}),
        ),
    ):
        for key, value in needed.items():
            if found.get(key) != value:
                raise _other_design(files, key, found.get(key))
    return _spec(files, str(audio.get("feature_encoder_spec")))


def _spec(files: checkpoint.Checkpoint, text: str) -> list[list[int]]:
    """Read a sum of lists such as `[(512, 10, 5)] + [(512, 3, 2)] * 4`.

    funasr evaluates the text as Python. So nothing but such a sum may reach it.
    """
    term = r"\[\(\d+,\d+,\d+\)\](?:\*\d+)?"
    packed = re.sub(r"\s", "", text)
    if not re.fullmatch(rf"{term}(?:\+{term})*", packed):
        raise _other_design(files, "feature_encoder_spec", text)
    spec: list[list[int]] = []
    for layer, times in re.findall(r"\[\(([\d,]+)\)\](?:\*(\d+))?", packed):
        spec += [[int(number) for number in layer.split(",")]] * int(times or 1)
    return spec


def _other_design(files: checkpoint.Checkpoint, key: str, value: Any) -> UserError:
    return UserError(
        f"{files.model}: {CONFIG} has {key}: {value}, which is another design than emotion2vec's; "
        "give an emotion2vec model"
    )


def _shapes(files: checkpoint.Checkpoint, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the parameters of funasr's model class, without its decoder."""
    import torch

    # Its import tells on stdout which optional packages it misses.
    with redirect_stdout(io.StringIO()):
        from funasr.models.emotion2vec.model import Emotion2vec as Model
    config = copy.deepcopy(config)
    config["model_conf"]["modalities"]["audio"]["decoder"] = None
    try:
        with torch.device("meta"):
            model = Model(model_conf=config["model_conf"])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise checkpoint.unloadable(files, e) from None
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def _weights(files: Files, config: dict[str, Any]) -> dict[str, Any]:
    """The parameters in float32 by their names, each in its place.

    funasr loads what fits and leaves random numbers in the rest; here that is an error.
    """
    shapes = _shapes(files, config)
    stored = _stored(files.weights()[0])
    scopes = _scopes(files, config)
    state = {_renamed(key, scopes): value for key, value in stored.items()}
    state = {key: value for key, value in state.items() if _is_run(key)}
    missing, unknown = sorted(shapes.keys() - state.keys()), sorted(state.keys() - shapes.keys())
    mismatched = sorted(
        key for key in shapes.keys() & state.keys() if state[key].shape != shapes[key]
    )
    for keys, what in (
        (missing, "lack"),
        (mismatched, "have the wrong shape for"),
        (unknown, "have the unknown"),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(
                f"the weights of {files.model} {what} {keys[0]}{more}, so they do not fit its "
                f"{CONFIG}; copy or download the model again"
            )
    return {key: state[key].read().float() for key in shapes}


def _scopes(files: Files, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Beginnings of keys and what they become: funasr's `scope_map`, a flat list of pairs.

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


def _is_run(key: str) -> bool:
    return not key.startswith((DECODER, HEAD)) and key.split(".")[0] != AVERAGE


def _stored(path: Path) -> dict[str, torch_file.StoredTensor]:
    """The weights of a file, not read yet: under `model` in what fairseq's training saves.

    Raises:
        UserError: as `torch_file.load`; there are no weights in it.
    """
    value = torch_file.load(path)
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    tensor = torch_file.StoredTensor
    if not isinstance(value, dict) or not all(
        isinstance(value[key], tensor) for key in value if _is_run(str(key))
    ):
        raise UserError(f"{path} holds no model's weights; download the model again")
    return {key: v for key, v in value.items() if isinstance(v, tensor)}
