"""wav2vec 2.0, HuBERT and WavLM, through transformers, batched without an effect on any frame."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cfia.errors import UserError
from cfia.upstream import checkpoint
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.choice import ALL, Choice
from cfia.upstream.frames import pieces, samples_of
from cfia.upstream.hub import first_line
from cfia.upstream.items import in_parts
from cfia.upstream.registry import FAMILIES

if TYPE_CHECKING:
    from torch import Tensor

# Output frames that the convolutions make at once (30 s). The output of their first layer takes
# 6.5 MB a second in the base models, and several such arrays are alive at once.
PIECE = 1500


class Front:
    """The convolutions and the projection of one waveform, in pieces if it is long.

    The convolutions do not pad, so a piece with all samples of its frames is exact. Only the group
    norm of the first layer in the base models takes statistics over all of time: these are
    computed first, in a pass over the pieces.
    """

    def __init__(self, model: Any) -> None:
        self._extractor = model.feature_extractor
        self._projection = model.feature_projection
        self._layers = list(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))
        self.stride = math.prod(model.config.conv_stride)
        self.shortest = samples_of(self._layers, 1)

    def __call__(self, samples: Tensor) -> Tensor:
        """Map (samples,), at least `shortest`, to (frames, dim), the input of the transformer."""
        import torch

        parts = pieces(self._layers, len(samples), PIECE)
        if len(parts) == 1:
            return self._project(self._extractor(samples[None]))
        convolve = self._long(samples)
        return torch.cat([self._project(convolve(samples[None, part])) for part in parts])

    def _project(self, convolved: Tensor) -> Tensor:
        """Map (1, channels, frames) to (frames, dim)."""
        projected = self._projection(convolved.transpose(1, 2))
        # wav2vec 2.0 and WavLM return the normed input of the projection besides.
        states: Tensor = (projected[0] if isinstance(projected, tuple) else projected)[0]
        return states

    def _long(self, samples: Tensor) -> Callable[[Tensor], Tensor]:
        """Make the convolutions of a piece of `samples`: (1, samples) to (1, channels, frames)."""
        import torch

        first, *others = self._extractor.conv_layers
        norm = getattr(first, "layer_norm", None)
        if not isinstance(norm, torch.nn.GroupNorm):
            convolve: Callable[[Tensor], Tensor] = self._extractor
            return convolve
        mean, deviation = self._statistics(first.conv, norm, samples)

        def with_statistics(piece: Tensor) -> Tensor:
            x: Tensor = (first.conv(piece[:, None]) - mean) / deviation
            x = first.activation(x * norm.weight[:, None] + norm.bias[:, None])
            for layer in others:
                x = layer(x)
            return x

        return with_statistics

    def _statistics(self, conv: Any, norm: Any, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and deviation (channels, 1) of the first layer over all of time."""
        first, count = self._layers[:1], 0
        total = square = 0.0
        for part in pieces(first, len(samples), PIECE * self.stride // first[0][1]):
            x = conv(samples[None, None, part])[0].double()
            total, square = total + x.sum(dim=1), square + x.square().sum(dim=1)
            count += x.shape[1]
        mean: Any = total / count
        variance = (square / count - mean.square()).clamp(min=0)
        return mean.float()[:, None], (variance + norm.eps).sqrt().float()[:, None]


class Speech(Upstream):
    """An encoder of the wav2vec 2.0 family.

    The convolutions run one utterance at a time, since the group norm of the base models is over
    all of time and zeros behind an utterance would change each of its frames. On a GPU
    the transformer runs on a batch. Its positional convolution must read zeros behind an utterance,
    which is what it pads one alone with: transformers zeroes the frames that the attention mask
    leaves out.

    The last layer is the transformer's output. In models with `do_stable_layer_norm` that is after
    the last norm, as in transformers 4 and SUPERB; transformers 5 puts the state before that norm
    into `hidden_states`, and this one into `last_hidden_state`.
    """

    def __init__(
        self, name: str, files: checkpoint.Checkpoint, model: Any, prepare: Any, layer: int | str
    ) -> None:
        import torch

        from cfia.training import device as devices

        blocks = model.config.num_hidden_layers
        self._front = Front(model)
        self._prepare = prepare
        self._encoder = model.encoder
        self._device = devices.of(model.device)
        self._layer = layer
        # Batch norm before the positional convolution makes something else of the zeros, and so
        # does the first where there are several in a row, as in data2vec.
        self._alone = hasattr(self._encoder.pos_conv_embed, "layers") or bool(
            getattr(model.config, "conv_pos_batch_norm", False)
        )
        # On a CPU one at a time is as fast (1.02 of a batch's time without its padding), and no
        # frame depends on the batch.
        self._alone |= not self._device.apart
        self.independent = self._alone
        _fix_weight(self._encoder.pos_conv_embed)
        if name == "wavlm":
            from cfia.upstream import relative_attention

            relative_attention.install(self._encoder)
        if isinstance(layer, int):
            # Without the blocks above it, the encoder's output is the layer's state, but for the
            # encoder's own norm where that is behind the blocks.
            del self._encoder.layers[layer:]
            if layer < blocks and getattr(model.config, "do_stable_layer_norm", False):
                self._encoder.layer_norm = torch.nn.Identity()
        self.shortest = self._front.shortest
        width, rate = model.config.hidden_size, prepare.sampling_rate
        shift = self._front.stride / rate
        self.description = files.frontend("audio", name, layer, blocks, width, shift, rate)

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map waveforms to matrices (frames, dim), 50 a second; see `Upstream.extract`."""
        import torch

        with torch.inference_mode():
            inputs = [self._front(self._normalised(samples)) for samples in batch]
            size = 1 if self._alone else len(inputs)
            return in_parts(self._device, self._encode, inputs, size)

    def _normalised(self, samples: Features) -> Tensor:
        """Normalise a waveform to mean 0 and variance 1, if the model was trained on such."""
        import torch

        rate = self._prepare.sampling_rate
        prepared = self._prepare(samples, sampling_rate=rate, return_tensors="np")
        return self._device.send(torch.from_numpy(prepared["input_values"][0]))

    def _encode(self, inputs: list[Tensor]) -> list[Tensor]:
        """Map inputs (frames, dim) of the transformer to its states."""
        import torch

        lengths = [len(x) for x in inputs]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        mask = None
        if min(lengths) < max(lengths):
            ends = self._device.send(torch.tensor(lengths))[:, None]
            mask = torch.arange(max(lengths), device=ends.device) < ends
        states = self._states(padded, mask)
        return [
            torch.cat([state[i, :length] for state in states], dim=-1)
            for i, length in enumerate(lengths)
        ]

    def _states(self, padded: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Compute the encoder's output (B, T, dim), with `ALL` after the states before it."""
        states: list[Tensor] = []
        hooks = []
        if self._layer == ALL:
            # The input of each block; what transformers collects differs between its versions.
            hooks = [
                block.register_forward_pre_hook(lambda _, args: states.append(args[0]))
                for block in self._encoder.layers
            ]
        try:
            output = self._encoder(padded, attention_mask=mask)
        finally:
            for hook in hooks:
                hook.remove()
        return [*states, output.last_hidden_state]


def _fix_weight(positions: Any) -> None:
    """Compute the normed weight of the positional convolution once, not for each utterance."""
    from torch.nn.utils import parametrize

    conv = getattr(positions, "conv", None)
    if conv is not None and parametrize.is_parametrized(conv, "weight"):
        parametrize.remove_parametrizations(conv, "weight")


def build(choice: Choice, files: checkpoint.Checkpoint, num_threads: int, device: str) -> Upstream:
    """Load an encoder of these families; see `cfia.upstream.registry.build`.

    Raises:
        UserError: it is not a whole model of the family that was asked for; no such layer; it
            does not say how waveforms are prepared; there is no such device.
    """
    import torch
    import transformers

    torch.set_num_threads(num_threads)
    layer = check(choice, files)
    prepare = _prepare(files)
    model_class = getattr(transformers, FAMILIES[choice.name].model_class)
    model = checkpoint.load(model_class, files, unused="adapter")
    return Speech(choice.name, files, checkpoint.place(model, device), prepare, layer)


check = functools.partial(checkpoint.audio_layer, key="num_hidden_layers", default=12)
LOADER = Loader(checkpoint.find, check, build)


def _prepare(files: checkpoint.Checkpoint) -> Any:
    """Load the feature extractor, which normalises waveforms or not and knows their rate.

    Nothing in config.json tells whether a model wants normalised waveforms: hubert-base-ls960 has
    it, wavlm-base of the same design has not. So a model without that file is refused.
    """
    from transformers import Wav2Vec2FeatureExtractor

    try:
        return Wav2Vec2FeatureExtractor.from_pretrained(str(files.directory), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{files.place} has no usable preprocessor_config.json, which says whether waveforms "
            f"are normalised ({first_line(error)}); copy it from where the model is from"
        ) from None
