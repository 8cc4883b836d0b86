"""The tokenizer of a text encoder: whether it belongs to the weights, and knows the words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cfia.errors import UserError
from cfia.upstream import checkpoint

# A tokenizer may have fewer tokens than the weights have embeddings, whose number is rounded up:
# to 128 in ModernBERT, and from 30521 to 50000 in IndoBERT. One with fewer than half is another's.
SMALLEST_SHARE = 0.5
# An uncased vocabulary has capitals in special tokens alone.
CASED = 0.01
# With more of the words' tokens unknown than this, features tell little of the words.
MOST_UNKNOWN = 0.5
# What is said: English gives about 0 and 0.03 with the vocabulary of bert-base-uncased, French 0.25
# and Polish 0.6 of words in pieces.
UNKNOWN_REMARKABLE, BROKEN_REMARKABLE = 0.05, 0.2
# A word is broken if a token has fewer letters than this in the mean.
PIECE = 2


def load(files: checkpoint.Checkpoint) -> Any:
    """Load the tokenizer of transformers that belongs to a model's weights.

    Raises:
        UserError: its files are missing, damaged, or those of another model.
    """
    from transformers import AutoTokenizer

    checkpoint.silence()
    loaded = checkpoint.load_part(AutoTokenizer, files, trust_remote_code=False)
    _check_files(loaded, files)
    case = _case(loaded, files)
    if case:
        loaded = checkpoint.load_part(AutoTokenizer, files, trust_remote_code=False, **case)
    _check_size(loaded, files)
    if loaded.pad_token is None:
        raise UserError(
            f"the tokenizer of {files.model} has no padding token; add one to its files"
        )
    loaded.padding_side = "right"
    return loaded


def _check_files(tokenizer: Any, files: checkpoint.Checkpoint) -> None:
    """Require the files of its vocabulary, without which transformers makes one of five tokens."""
    names = dict(tokenizer.vocab_files_names)
    whole = names.pop("tokenizer_file", None)
    lacking = [name for name in names.values() if not (files.directory / name).is_file()]
    if lacking and not (whole and (files.directory / whole).is_file()):
        alone = f", or {whole}" if whole else ""
        raise UserError(
            f"{files.place} lacks the vocabulary of its tokenizer ({' and '.join(lacking)}{alone}),"
            " without which all words are unknown; copy it from where the weights are from"
        )


def _case(tokenizer: Any, files: checkpoint.Checkpoint) -> dict[str, Any]:
    """Give the options by which a tokenizer keeps case, where it does not and should.

    Unless tokenizer_config.json says `do_lower_case`, transformers makes all text lower-case for
    BERT's relatives, whatever the vocabulary, and whatever tokenizer.json says.
    """
    path = files.directory / "tokenizer_config.json"
    stated = checkpoint.read_settings(path) if path.is_file() else {}
    if not tokenizer.init_kwargs.get("do_lower_case") or "do_lower_case" in stated:
        return {}
    path = files.directory / "tokenizer.json"
    whole = checkpoint.read_settings(path) if path.is_file() else {}
    normalizer = whole.get("normalizer") or {}
    if "lowercase" in normalizer:
        return {
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer.get("strip_accents"),
        }
    words = set(tokenizer.get_vocab()) - set(tokenizer.get_added_vocab())
    words = {word for word in words if not word.startswith(("[", "<"))}
    cased = sum(word != word.lower() for word in words)
    return {"do_lower_case": False} if cased > CASED * len(words) else {}


def _check_size(tokenizer: Any, files: checkpoint.Checkpoint) -> None:
    """Compare the ids of the tokens with the embeddings, which the weights are checked to have."""
    ids, size = tokenizer.get_vocab().values(), files.config()["vocab_size"]
    if max(ids) >= size or len(ids) < SMALLEST_SHARE * size:
        raise UserError(
            f"the tokenizer of {files.place} has {len(ids)} tokens with ids up to {max(ids)}, and "
            f"its weights embed {size}, so they are of different models; copy the tokenizer's "
            "files from where the weights are from"
        )


@dataclass(frozen=True)
class Survey:
    """What a tokenizer makes of the words of a corpus.

    Attributes:
        unknown: share of the words' tokens that are the unknown token.
        broken: share of the words, from three letters on, in pieces of less than two in the mean.
        example: the longest such word, and its pieces.
    """

    unknown: float
    broken: float
    example: str


def survey(tokenizer: Any, texts: Iterable[str]) -> Survey:
    """Count how the words of transcripts are encoded; runs of letters and marks are words.

    Chinese characters and Japanese kana are words by themselves, and do not count as broken.
    """
    counts = Counter(word for text in texts for word in _letters(text).split())
    tokens = unknown = words = broken = 0
    worst: tuple[int, str] = (0, "")
    # Behind a blank, as in a sentence; without one, RoBERTa has other tokens.
    encoded = tokenizer([f" {word}" for word in counts] or [" "], add_special_tokens=False)
    for (word, count), ids in zip(counts.items(), encoded["input_ids"], strict=False):
        lost = ids.count(tokenizer.unk_token_id)
        tokens, unknown = tokens + count * len(ids), unknown + count * lost
        if len(word) <= PIECE or lost or _is_ideographic(word):
            continue
        words += count
        if len(word) < PIECE * len(ids):
            broken += count
            pieces = " ".join(tokenizer.convert_ids_to_tokens(ids))
            worst = max(worst, (len(word), f"{word}: {pieces}"))
    return Survey(unknown / max(tokens, 1), broken / max(words, 1), worst[1])


def _letters(text: str) -> str:
    return "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text)


def _is_ideographic(word: str) -> bool:
    names = (unicodedata.name(c, "") for c in word)
    return any(name.startswith(("CJK", "HIRAGANA", "KATAKANA")) for name in names)


def remark(found: Survey, model: str) -> str | None:
    """Say what a survey found, in a sentence; None where it is as usual.

    Raises:
        UserError: most of the words are unknown.
    """
    if found.unknown > MOST_UNKNOWN:
        raise UserError(
            f"the tokenizer of {model} does not know {found.unknown:.0%} of the words' tokens, so "
            "different texts would have equal features; give a --text_model for the language of "
            "the transcripts"
        )
    clauses = []
    if found.unknown >= UNKNOWN_REMARKABLE:
        clauses.append(f"does not know {found.unknown:.0%} of the words' tokens")
    if found.broken >= BROKEN_REMARKABLE:
        clauses.append(
            f"breaks {found.broken:.0%} of the words into letters and pairs of letters "
            f"({found.example})"
        )
    if not clauses:
        return None
    return (
        f"the tokenizer of {model} {' and '.join(clauses)}, as if it was made for another "
        "language; --text_model takes another"
    )
