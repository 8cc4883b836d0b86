"""emotion2vec: funasr's design and weights, run on batches without an effect on any frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.upstream import checkpoint
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.choice import Choice
from cfia.upstream.emotion2vec_files import CONFIG, DECODER, HEAD, Files, find
from cfia.upstream.emotion2vec_shapes import shapes
from cfia.upstream.frames import samples_of
from cfia.upstream.items import fetched

if TYPE_CHECKING:
    from cfia.upstream.emotion2vec_batch import Network

SAMPLE_RATE = 16000
# A batch of fewer frames than about this many is filled up with silence.
LEAST_FRAMES = 64

# What `Network` takes for granted; `check` refuses a model without it.
MODEL_DESIGN = {"layer_norm_first": False, "norm_affine": True}
AUDIO_DESIGN = {
    "extractor_mode": "layer_norm",
    "learned_alibi": False,
    "learned_alibi_scale_per_layer": False,
    "conv_pos_pre_ln": False,
}


class Emotion2vec(Upstream):
    """An emotion2vec model, 50 frames a second. See `emotion2vec_batch` for how it is run."""

    def __init__(self, files: Files, network: Network, dim: int, *, normalise: bool) -> None:
        from cfia.training import device as devices

        self._network = network
        self._normalise = normalise
        self._device = devices.of(network.device)
        self.independent = not self._device.apart
        self._least = samples_of(network.front.spec, LEAST_FRAMES)
        self.shortest = network.front.shortest
        shift = network.front.stride / SAMPLE_RATE
        self.description = files.frontend("audio", "emotion2vec", None, 0, dim, shift, SAMPLE_RATE)

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map waveforms at 16 kHz to matrices (floor((samples - 400) / 320) + 1, dim).

        The values are those of funasr's `generate` with `granularity="frame"` on one waveform
        at a time; see `Upstream.extract`.
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            waves = [self._device.send(torch.from_numpy(samples)) for samples in batch]
            if self._normalise:
                waves = [functional.layer_norm(wave, wave.shape) for wave in waves]
            # Silence fills up a product of very few rows: libraries compute these in another order
            # (MKL: up to 15), and so the last bits would depend on what else is in the batch.
            if sum(map(len, waves)) < self._least:
                waves.append(waves[0].new_zeros(self._least))
            return fetched(self._device, self._network(waves)[: len(batch)])


def build(choice: Choice, files: Files, num_threads: int, device: str) -> Upstream:
    """Load an emotion2vec model; see `cfia.upstream.registry.build`.

    Raises:
        UserError: a layer was named; it is not a whole emotion2vec model; there is no such
            device.
    """
    import torch

    from cfia.upstream.emotion2vec_batch import Network

    torch.set_num_threads(num_threads)
    spec, config = check(choice, files), _config(files)
    weights = _weights(files, config, spec)
    placed = {key: checkpoint.place(value, device) for key, value in weights.items()}
    conf = config["model_conf"]
    network = Network(placed, conf, spec)
    return Emotion2vec(files, network, conf["embed_dim"], normalise=bool(conf.get("normalize")))


def _config(files: Files) -> dict[str, Any]:
    config = read_yaml(files.settings())
    if config.get("model") != "Emotion2vec" or not isinstance(config.get("model_conf"), dict):
        raise UserError(
            f"{files.model}: {files.settings().name} is of the model {config.get('model')}, not "
            "Emotion2vec; give an emotion2vec model or another --audio_upstream"
        )
    return config


def check(choice: Choice, files: Files) -> list[list[int]]:
    """Refuse a layer, and a model of another design than the one that `Network` runs.

    Returns:
        The layers of the convolutional front, [channels, kernel, stride] each.

    Raises:
        UserError: a layer was named, or the design is another; the message names the key.
    """
    if choice.layer is not None:
        raise UserError("emotion2vec has no layers to choose from; leave --audio_layer out")
    conf = _config(files)["model_conf"]
    audio = (conf.get("modalities") or {}).get("audio")
    if not isinstance(audio, dict):
        raise _other_design(files, "modalities.audio", None)
    biases = {"num_alibi_heads": conf.get("num_heads")} if audio.get("use_alibi_encoder") else {}
    for section, design in ((conf, MODEL_DESIGN), (audio, AUDIO_DESIGN | biases)):
        for key, value in design.items():
            if section.get(key) != value:
                raise _other_design(files, key, section.get(key))
    return _spec(files, str(audio.get("feature_encoder_spec")))


LOADER = Loader(find, check, build, Files)


def _spec(files: checkpoint.Checkpoint, text: str) -> list[list[int]]:
    """Read a sum of lists such as `[(512, 10, 5)] + [(512, 3, 2)] * 4`.

    funasr evaluates the text as Python; here it is numbers and nothing else.
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


def _weights(files: Files, config: dict[str, Any], spec: list[list[int]]) -> dict[str, Any]:
    """Read the parameters in float32 by their names, and check that each has its place.

    funasr loads what fits and leaves random numbers in the rest; here that is an error.
    """
    try:
        expected = shapes(config["model_conf"], spec)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise checkpoint.unloadable(files, error) from None
    state = {k: v for k, v in files.stored().items() if not k.startswith((DECODER, HEAD))}
    missing, unknown = list(expected.keys() - state.keys()), list(state.keys() - expected.keys())
    mismatched = [k for k in expected.keys() & state.keys() if state[k].shape != expected[k]]
    checkpoint.check_keys(files.model, CONFIG, missing, unknown, mismatched)
    return {key: state[key].read().float() for key in expected}
