"""Randomly initialised models of a few thousand weights, saved as a user's model directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "mat"]
WORDS += ["and", "then", "it", "ran", "off", "##s", ".", ","]
# Any other word of English is spelt.
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{x}" for x in "abcdefghijklmnopqrstuvwxyz")]
WORDS += [letter for letter in LETTERS if letter not in WORDS]


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
    jitter(model)
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
    jitter(model)
    model.save_pretrained(directory)
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    return model.bert if head else model


def save_wav2vec2(directory: Path, norm: str = "group", seed: int = 0, *, head: str = "") -> Any:
    """A wav2vec 2.0 of three blocks with the usual strides; returns the bare model.

    With the norm "layer" it is of the large models' design (`do_stable_layer_norm`). `head` is
    the "CTC" or "PreTraining" of a model that has more than the encoder.
    """
    return _save_speech(directory, "Wav2Vec2", norm, seed, head)


def save_hubert(directory: Path, norm: str = "group", seed: int = 0, *, head: str = "") -> Any:
    """The same for HuBERT."""
    return _save_speech(directory, "Hubert", norm, seed, head)


def save_wavlm(directory: Path, norm: str = "group", seed: int = 0, *, head: str = "") -> Any:
    """The same for WavLM."""
    return _save_speech(directory, "WavLM", norm, seed, head)


def _save_speech(directory: Path, family: str, norm: str, seed: int, head: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        conv_bias=norm == "layer",
        vocab_size=12,
        codevector_dim=16,
        proj_codevector_dim=16,
        num_codevectors_per_group=4,
    )
    model = getattr(transformers, f"{family}For{head}" if head else f"{family}Model")(config).eval()
    jitter(model)
    model.save_pretrained(directory)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=norm == "layer")
    extractor.save_pretrained(directory)
    return getattr(model, model.base_model_prefix) if head else model


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


def jitter(model: Any) -> None:
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
