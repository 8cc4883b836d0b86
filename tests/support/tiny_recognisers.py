"""Recognisers with random weights, saved as a user's model directories: they write nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.tiny_models import jitter

END, START = "<|endoftext|>", "<|startoftranscript|>"
MARKS = ["<|en|>", "<|HAPPY|>"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save_whisper_asr(directory: Path, seed: int = 0) -> Path:
    """A Whisper of English alone, with its decoder and a tokenizer of letters."""
    import torch
    import transformers

    torch.manual_seed(seed)
    words = {token: i for i, token in enumerate([*LETTERS, "Ġ"])}
    tokenizer = transformers.WhisperTokenizer(vocab=words, merges=[])
    tokenizer.add_tokens([START], special_tokens=True)
    end, start = tokenizer.convert_tokens_to_ids([END, START])
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        vocab_size=len(tokenizer),
        max_target_positions=24,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    jitter(model)
    generation = model.generation_config
    generation.begin_suppress_tokens, generation.suppress_tokens = [end], [start]
    generation.max_length = 16
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    transformers.WhisperFeatureExtractor().save_pretrained(directory)
    return directory


def save_ctc(directory: Path, seed: int = 0) -> Path:
    """A wav2vec 2.0 with a CTC head that writes letters, a blank in half of its frames."""
    import json

    import torch
    import transformers

    torch.manual_seed(seed)
    tokens = ["<pad>", "<unk>", "|", *LETTERS]
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        vocab_size=len(tokens),
        pad_token_id=0,
    )
    model: Any = transformers.Wav2Vec2ForCTC(config).eval()
    jitter(model)
    model.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(
        str(directory / "vocab.json"), unk_token="<unk>", pad_token="<pad>", bos_token=None,
        eos_token=None,
    )  # fmt: skip
    tokenizer.save_pretrained(directory)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(directory)
    return directory


def save_sense_voice(directory: Path, seed: int = 0) -> Path:
    """A SenseVoice of FunASR, whose text begins with marks of language and emotion."""
    import sentencepiece
    import torch
    import yaml
    from funasr.models.sense_voice.model import SenseVoiceSmall

    torch.manual_seed(seed)
    directory.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(LETTERS), LETTERS]),
        model_prefix=str(directory / "bpe"),
        model_type="char",
        user_defined_symbols=MARKS,
        vocab_size=3 + len(MARKS) + 27,
        minloglevel=2,
    )
    frontend = {"fs": 16000, "window": "hamming", "n_mels": 80, "lfr_m": 7, "lfr_n": 6}
    encoder = {"output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
               "tp_blocks": 1, "kernel_size": 3, "sanm_shfit": 0, "dropout_rate": 0.0}  # fmt: skip
    config = {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": encoder,
        "frontend": "WavFrontend",
        "frontend_conf": frontend,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    model = SenseVoiceSmall(
        encoder="SenseVoiceEncoderSmall",
        encoder_conf=encoder,
        input_size=560,
        vocab_size=3 + len(MARKS) + 27,
    )
    jitter(model)
    torch.save(model.state_dict(), directory / "model.pt")
    return directory
