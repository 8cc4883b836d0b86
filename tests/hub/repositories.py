"""Tiny repositories with the files, formats and key names of published models.

The weights are random, and what no loader of ours may read is filled with bytes that nobody can
load. Every function fills a directory and returns the model that its weights are, without heads;
that of emotion2vec None, since its model is funasr's, whose import takes long.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support import tiny_emotion2vec, tiny_models

_COREML = "coreml/fill-mask/float32_model.mlpackage"
_SPEECH_SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def bert_base_uncased(directory: Path, save: Callable[[Path], Any] = tiny_models.save_bert) -> Any:
    """bert-base-uncased: every format there is, the keys as TensorFlow called them.

    `save` saves a BERT, of what size it likes, with its tokenizer.
    """
    import torch
    from safetensors.torch import save_file

    model = save(directory)
    old = {
        f"bert.{key}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in model.state_dict().items()
        if not key.endswith(("position_ids", "token_type_ids"))
    }
    words, dim = old["bert.embeddings.word_embeddings.weight"].shape
    torch.manual_seed(1)
    for key, shape in {
        "predictions.bias": (words,),
        "predictions.transform.dense.weight": (dim, dim),
        "predictions.transform.dense.bias": (dim,),
        "predictions.transform.LayerNorm.gamma": (dim,),
        "predictions.transform.LayerNorm.beta": (dim,),
        "seq_relationship.weight": (2, dim),
        "seq_relationship.bias": (2,),
    }.items():
        old[f"cls.{key}"] = torch.randn(shape)
    save_file(old, directory / "model.safetensors", metadata={"format": "pt"})
    decoder = {"cls.predictions.decoder.weight": old["bert.embeddings.word_embeddings.weight"]}
    _save_pickle(directory, old | decoder, zipped=False, alone=False)
    _config(directory, "BertForMaskedLM", "4.6.0.dev0")
    _json(directory / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 512})
    _json(directory / _COREML / "Manifest.json", {"fileFormatVersion": "1.0.0"})
    for name in ("model.mlmodel", "weights/weight.bin"):
        _dummy(directory / _COREML / "Data" / "com.apple.CoreML" / name)
    for name in ("LICENSE", "model.onnx", "rust_model.ot", "tf_model.h5", "flax_model.msgpack"):
        _dummy(directory / name)
    _common(directory, "BERT base model (uncased)")
    return model


def wavlm_large(directory: Path) -> Any:
    """microsoft/wavlm-large: a pickle alone, layer norms, no tokenizer."""
    model = tiny_models.save_wavlm(directory, "layer")
    _save_pickle(directory, _old_names(model.state_dict()))
    _config(directory, "WavLMModel", "4.15.0.dev0")
    _speech_front(directory, return_attention_mask=True)
    _common(directory, "WavLM-Large")
    return model


def hubert_base_ls960(directory: Path) -> Any:
    """facebook/hubert-base-ls960: a pickle and TensorFlow, group norm, no tokenizer."""
    model = tiny_models.save_hubert(directory, "group")
    _save_pickle(directory, _old_names(model.state_dict()))
    _config(directory, "HubertModel", "4.10.0.dev0")
    _speech_front(directory, return_attention_mask=False)
    _dummy(directory / "tf_model.h5")
    _common(directory, "Hubert-Base")
    return model


def wav2vec2_base(directory: Path) -> Any:
    """facebook/wav2vec2-base: the pretraining's pickle and a tokenizer, group norm."""
    from safetensors.torch import load_file

    model = tiny_models.save_wav2vec2(directory, "group", head="PreTraining")
    _save_pickle(directory, _old_names(load_file(directory / "model.safetensors")))
    _config(directory, "Wav2Vec2ForPreTraining", "4.7.0.dev0")
    _speech_front(directory, return_attention_mask=False)
    words = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIH"]
    _json(directory / "vocab.json", {word: i for i, word in enumerate(words)})
    specials = _SPEECH_SPECIALS | {"pad_token": "<pad>"}
    _json(directory / "special_tokens_map.json", specials)
    more = {"do_lower_case": False, "word_delimiter_token": "|"}
    _json(directory / "tokenizer_config.json", specials | more)
    _common(directory, "Wav2Vec2-Base")
    return model


def whisper_tiny(directory: Path) -> Any:
    """openai/whisper-tiny: every format, with the decoder and its tokenizer."""
    from safetensors.torch import load_file, save_file

    model = tiny_models.save_whisper(directory)
    path = directory / "model.safetensors"
    weights = {f"model.{key}": value for key, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    head = {"proj_out.weight": weights["model.decoder.embed_tokens.weight"]}
    _save_pickle(directory, weights | head, alone=False)
    _config(directory, "WhisperForConditionalGeneration", "4.27.0.dev0")
    extractor = json.loads((directory / "preprocessor_config.json").read_text())
    extractor["processor_class"] = "WhisperProcessor"
    _json(directory / "preprocessor_config.json", extractor)
    _json(directory / "generation_config.json", {"eos_token_id": 2, "max_length": 8})
    for name in ("added_tokens", "normalizer", "special_tokens_map", "tokenizer", "vocab"):
        _json(directory / f"{name}.json", {})
    _json(directory / "tokenizer_config.json", {"tokenizer_class": "WhisperTokenizer"})
    (directory / "merges.txt").write_text("#version: 0.2\n")
    for name in ("tf_model.h5", "flax_model.msgpack"):
        _dummy(directory / name)
    _common(directory, "Whisper")
    return model


def emotion2vec_base(directory: Path) -> None:
    """emotion2vec/emotion2vec_base: a checkpoint of fairseq's training, which funasr reads."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = tiny_emotion2vec.save(Path(scratch) / "plain")
        tiny_emotion2vec.publish(directory, plain)


BUILDERS: dict[str, Callable[[Path], Any]] = {
    "emotion2vec/emotion2vec_base": emotion2vec_base,
    "bert-base-uncased": bert_base_uncased,
    "microsoft/wavlm-large": wavlm_large,
    "facebook/hubert-base-ls960": hubert_base_ls960,
    "facebook/wav2vec2-base": wav2vec2_base,
    "openai/whisper-tiny": whisper_tiny,
}


def _old_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The positional convolution's weight norm as PyTorch called it before 2.0."""
    norm = "parametrizations.weight.original"
    return {
        key.replace(f"{norm}0", "weight_g").replace(f"{norm}1", "weight_v"): value
        for key, value in weights.items()
    }


def _save_pickle(
    directory: Path,
    weights: Mapping[str, Any],
    *,
    zipped: bool = True,
    alone: bool = True,
) -> None:
    """Save pytorch_model.bin, instead of the safetensors if it is alone."""
    import torch

    path = directory / "pytorch_model.bin"
    torch.save(dict(weights), path, _use_new_zipfile_serialization=zipped)
    if alone:
        (directory / "model.safetensors").unlink()


def _config(directory: Path, architecture: str, version: str) -> None:
    """Make a config.json as an older transformers wrote it."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config.pop("dtype", None)
    _json(path, config | {"architectures": [architecture], "transformers_version": version})


def _speech_front(directory: Path, *, return_attention_mask: bool) -> None:
    front = {
        "do_normalize": True,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0,
        "return_attention_mask": return_attention_mask,
        "sampling_rate": 16000,
    }
    _json(directory / "preprocessor_config.json", front)


def _common(directory: Path, title: str) -> None:
    (directory / "README.md").write_text(f"# {title}\n")
    (directory / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")


def _json(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")


def _dummy(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"not a model: {path.name}".encode() * 100)
