"""The network of emotion2vec over waveforms of any lengths at once, without padding.

The frames of a batch stand in one matrix, one utterance behind the other. All layers that treat a
frame by itself run on that matrix; attention runs on each utterance's rows; the positional
convolutions need zeros around each utterance, which is what they pad one alone with, so they run
on the matrix with gaps. So no frame depends on what else is in the batch, and nothing is computed
for padding. Everything is kept frames by channels: a convolution is then a product of overlapping
rows with a matrix, and the layer norms need no transposition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cfia.model.transfer import to_device
from cfia.upstream.emotion2vec_files import AUDIO
from cfia.upstream.emotion2vec_shapes import blocks
from cfia.upstream.frames import Convolutions, pieces, samples_of

# Output frames that the convolutional front makes at once (2 s). The output of its first layer
# takes 6.5 MB a second in the base model; on a CPU larger pieces leave the cache, and 500 frames
# took 1.2 times as long.
PIECE = 100
# Rows that go through a feed-forward layer at once. It is four times as wide as the model, and
# arrays over 32 MB are mapped anew by malloc each time they are made: with 3000 rows at once the
# first product and its GELU took 1.3 times as long.
ROWS = 1024
# The same of a GPU, which has no such cache, and idles between products that are over at once. Of
# 30 s an array takes 200 MB.
GPU_PIECE, GPU_ROWS = 1500, 2**14
# Numbers in a block of the attention's bias (heads x queries x keys): 34 s of the base model.
BIAS = 40_000_000


class Front:
    """The convolutions before the transformer: (samples,) to (frames, channels)."""

    def __init__(self, weights: dict[str, Tensor], spec: Convolutions) -> None:
        self.spec = spec
        self.stride = math.prod(stride for _, _, stride in spec)
        self.shortest = samples_of(spec, 1)
        self._layers = []
        for i, (_, kernel, stride) in enumerate(spec):
            name = f"{AUDIO}.local_encoder.conv_layers.{i}"
            # (out, in, kernel) to (kernel * in, out), the order of `kernel` rows read as one.
            taps = weights[f"{name}.0.weight"].permute(2, 1, 0).flatten(0, 1).contiguous()
            norm = weights[f"{name}.2.1.weight"], weights[f"{name}.2.1.bias"]
            self._layers.append((taps, kernel, stride, norm))

    def __call__(self, samples: Tensor) -> Tensor:
        """Map the whole waveform, in pieces. Nothing here pads, so pieces are exact."""
        parts = pieces(self.spec, len(samples), GPU_PIECE if samples.is_cuda else PIECE)
        return torch.cat([self._piece(samples[part]) for part in parts])

    def _piece(self, samples: Tensor) -> Tensor:
        x = samples[:, None]
        for taps, kernel, stride, norm in self._layers:
            x = _convolve(x, taps, kernel, stride)
            # Float32 with the default epsilon, whatever norm_eps says, as funasr has it.
            x = functional.gelu(functional.layer_norm(x, x.shape[1:], *norm))
        return x


def _convolve(x: Tensor, taps: Tensor, kernel: int, stride: int) -> Tensor:
    """Convolve without bias or padding: (time, in) to ((time - kernel) // stride + 1, out)."""
    channels = x.shape[1]
    count = (len(x) - kernel) // stride + 1
    # Rows that overlap would be copied by the product. So the taps up to the stride are one
    # product, of rows that do not, and each tap that is left is another.
    whole = kernel if channels == 1 else min(stride, kernel)
    rows = x.as_strided((count, whole * channels), (stride * channels, 1))
    y = rows @ taps[: whole * channels]
    for tap in range(whole, kernel):
        rows = x.as_strided((count, channels), (stride * channels, 1), tap * channels)
        y.addmm_(rows, taps[tap * channels : (tap + 1) * channels])
    return y


class Positions:
    """The positional convolutions: (frames, dim) of a batch to what is added to them."""

    def __init__(self, weights: dict[str, Tensor], depth: int, groups: int) -> None:
        self._groups = groups
        self._layers = []
        for i in range(1, depth + 1):
            name = f"{AUDIO}.relative_positional_encoder.{i}.0"
            kernel = weights[f"{name}.weight"][:, :, None]
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            self._layers.append((kernel, weights[f"{name}.bias"]))

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """Convolve each of the utterances, which have these lengths, as if it were alone."""
        gap = max(kernel.shape[-1] for kernel, _ in self._layers) // 2
        frames = torch.cat([torch.arange(length + gap) < length for length in lengths])
        frames = frames[: len(frames) - gap]
        where = to_device(frames.nonzero()[:, 0], x.device)
        gaps = to_device((~frames).nonzero()[:, 0], x.device)
        y = x.new_zeros(len(frames), x.shape[1]).index_copy_(0, where, x)
        for kernel, bias in self._layers:
            # (1, dim, 1, time) with the channels innermost: a view of (time, dim).
            image = y[None, None].permute(0, 3, 1, 2)
            pad = kernel.shape[-1] // 2
            image = functional.conv2d(image, kernel, bias, padding=(0, pad), groups=self._groups)
            y = image.permute(0, 2, 3, 1)[0, 0, : len(y)]  # an even kernel gives a frame more
            y = functional.gelu(functional.layer_norm(y, y.shape[1:]))
            y.index_fill_(0, gaps, 0.0)
        return y.index_select(0, where)


class Network:
    """All of it: normalised waveforms (samples,) to matrices (frames, dim).

    Args:
        weights: the model's parameters by their names in funasr, on the device.
        conf: `model_conf` of config.yaml, checked by `emotion2vec.check`.
        spec: the layers of the front, (channels, kernel, stride) each.
    """

    def __init__(
        self, weights: dict[str, Tensor], conf: dict[str, Any], spec: Convolutions
    ) -> None:
        audio = conf["modalities"]["audio"]
        self.front = Front(weights, spec)
        self.device = next(iter(weights.values())).device
        self._weights = weights
        self._positions = Positions(weights, audio["conv_pos_depth"], audio["conv_pos_groups"])
        self._blocks = blocks(conf)
        self._heads = int(conf["num_heads"])
        self._eps = float(conf["norm_eps"])
        self._extra = weights.get(f"{AUDIO}.extra_tokens")
        self._slopes = _slopes(weights, self._heads)
        self._bias: Tensor | None = None

    def __call__(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Encode a batch; each waveform has at least `front.shortest` samples."""
        local = [self.front(wave) for wave in waves]
        lengths = [len(x) for x in local]
        x = self._norm(torch.cat(local), f"{AUDIO}.project_features.1", 1e-5)
        x = self._linear(x, f"{AUDIO}.project_features.2")
        x = x + self._positions(x, lengths)
        extra = 0
        if self._extra is not None:
            extra = self._extra.shape[1]
            x = torch.cat(
                [part for rows in torch.split(x, lengths) for part in (self._extra[0], rows)]
            )
        lengths = [length + extra for length in lengths]
        x = self._norm(x, f"{AUDIO}.context_encoder.norm", self._eps)
        for block in self._blocks:
            x = self._block(x, block, lengths, extra)
        return [rows[extra:] for rows in torch.split(x, lengths)]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[1:], weight, bias, eps)

    def _block(self, x: Tensor, name: str, lengths: list[int], extra: int) -> Tensor:
        x = self._attention(x, f"{name}.attn", lengths, extra).add_(x)
        x = self._norm(x, f"{name}.norm1", self._eps)
        outputs = []
        # In parts of about one size: few rows that are left over would be computed in another way.
        for rows in torch.tensor_split(x, -(-len(x) // (GPU_ROWS if x.is_cuda else ROWS))):
            hidden = functional.gelu(self._linear(rows, f"{name}.mlp.fc1"))
            outputs.append(self._linear(hidden, f"{name}.mlp.fc2").add_(rows))
        return self._norm(torch.cat(outputs), f"{name}.norm2", self._eps)

    def _attention(self, x: Tensor, name: str, lengths: list[int], extra: int) -> Tensor:
        width = x.shape[1]
        attended = []
        for rows in torch.split(self._linear(x, f"{name}.qkv"), lengths):
            size = len(rows)
            # (T, 3 * dim) to three of (1, heads, T, dim / heads)
            q, k, v = rows.view(1, size, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            step = max(1, BIAS // (self._heads * size))
            for start in range(0, size, step):
                queries = q[:, :, start : start + step]
                bias = self._distances(start, queries.shape[2], size, extra)
                y = functional.scaled_dot_product_attention(queries, k, v, attn_mask=bias)
                attended.append(y.transpose(1, 2).reshape(-1, width))
        return self._linear(torch.cat(attended), f"{name}.proj")

    def _distances(self, start: int, count: int, size: int, extra: int) -> Tensor | None:
        """Give `count` queries' bias from `start`, - slope x distance: (1, heads, count, size).

        It is 0 from and to the extra tokens. The bias of a whole utterance is kept, since that of
        a shorter one is a part of it, and every block of the network needs it again.
        """
        if self._slopes is None:
            return None
        if count < size:
            return self._make_distances(start, count, size, extra)
        if self._bias is None or self._bias.shape[-1] < size:
            self._bias = self._make_distances(0, size, size, extra)
        return self._bias[:, :, :size, :size]

    def _make_distances(self, start: int, count: int, size: int, extra: int) -> Tensor:
        assert self._slopes is not None
        places = torch.arange(size, device=self._slopes.device, dtype=torch.float32)
        distance = (places[start : start + count, None] - places).abs_()
        distance[:, :extra] = 0
        distance[: max(0, extra - start)] = 0
        return (self._slopes[:, None, None] * -distance)[None]


def _slopes(weights: dict[str, Tensor], heads: int) -> Tensor | None:
    """Compute the slope of each head (ALiBi, Press et al. 2022) times the learned scale."""
    scale = weights.get(f"{AUDIO}.alibi_scale")
    if scale is None:
        return None
    slopes = torch.tensor(alibi_slopes(heads), device=scale.device)
    return slopes * scale.clamp_min(0).flatten()


def alibi_slopes(heads: int) -> list[float]:
    """List ALiBi's geometric slopes; beyond a power of 2, more come from the next power."""
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    if power < heads:
        slopes += alibi_slopes(2 * power)[0::2][: heads - power]
    return slopes
