"""Randomly initialised models of a few thousand weights, saved as a user's model directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "mat"]
WORDS += ["and", "then", "it", "ran", "off", "##s", ".", ","]


def save_whisper(directory: Path, seed: int = 0) -> Any:
    """A Whisper of two encoder blocks and a decoder; returns the model."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(seed)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        vocab_size=12,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = WhisperModel(config).eval()
    # Fresh models have zero biases and unit norms: nothing would show if one were left out.
    _jitter(model)
    model.save_pretrained(directory)
    WhisperFeatureExtractor().save_pretrained(directory)
    return model


def save_bert(directory: Path, seed: int = 0, *, head: bool = False) -> Any:
    """A BERT of three blocks, 40 positions and a tokenizer of a few words; returns the BertModel.

    With `head` the directory is that of a masked language model, as bert-base-uncased is.
    """
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    model = (BertForMaskedLM if head else BertModel)(config).eval()
    _jitter(model)
    model.save_pretrained(directory)
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    return model.bert if head else model


def edit_weights(directory: Path, **changes: Any) -> None:
    """Change a directory's model.safetensors: a tensor replaces a key's, None deletes the key.

    Dots of a key are written as two underscores.
    """
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    weights = load_file(path)
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del weights[key]
        else:
            weights[key] = tensor
    save_file(weights, path, metadata={"format": "pt"})


def _jitter(model: Any) -> None:
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
