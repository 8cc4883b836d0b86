"""Tokenizers: those that do not belong to the weights, or to the transcripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cfia.errors import UserError
from cfia.upstream import registry, tokenizer
from cfia.upstream.checkpoint import Checkpoint
from cfia.upstream.choice import Choice
from tests.support import tiny_models
from tests.support.dump_data import noise, plan, write_data

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4f14ddf7\nsize 231508\n"
TEXTS = ["the cat sat on a mat .", "and then it ran off"]
CASED = [*tiny_models.WORDS[:5], "die", "tur", "Die", "Tür", "##en", "Er", "ist", "zu", "."]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("my models ü") / "tiny_bert"
    tiny_models.save_bert(directory)
    return directory


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def survey(model: Path, texts: list[str]) -> str | None:
    """What stage 4 says of a model and transcripts when it plans."""
    choice = Choice("text", "bert", str(model))
    return registry.survey(choice, registry.find(choice), texts)


def load(model: Path) -> Any:
    return tokenizer.load(Checkpoint(str(model), model, None))


def without(*names: str) -> Callable[[Path], object]:
    return lambda model: [(model / name).rename(model / f"{name}.old") for name in names]


def vocabulary(*words: str) -> Callable[[Path], None]:
    """A directory with this vocab.txt and no other file of a tokenizer."""

    def change(model: Path) -> None:
        without("tokenizer.json", "tokenizer_config.json")(model)
        (model / "vocab.txt").write_text("".join(f"{word}\n" for word in words))

    return change


def roberta(model: Path) -> None:
    """RoBERTa, whose tokenizer has files of other names."""
    without("vocab.txt", "tokenizer.json", "tokenizer_config.json")(model)
    edit(model / "config.json", model_type="roberta")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def wrong(name: str, content: str) -> Callable[[Path], object]:
    return lambda model: (model / name).write_text(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("vocab.txt", "tokenizer.json"), "lacks the vocabulary of its tokenizer"),
        (
            without("vocab.txt", "tokenizer.json", "tokenizer_config.json"),
            r"\(vocab.txt, or tokenizer.json\), without which all words are unknown; copy it",
        ),
        (roberta, r"\(vocab.json and merges.txt, or tokenizer.json\), without which"),
        (vocabulary(), "has 5 tokens with ids up to 4, and its weights embed"),
        (vocabulary(*tiny_models.WORDS[:8]), "has 8 tokens with ids up to 7, and its weights"),
        (vocabulary(*tiny_models.WORDS, "xy"), "of different models; copy the tokenizer's files"),
        (wrong("tokenizer.json", ""), "cannot be loaded"),
        (wrong("tokenizer_config.json", "[]"), "cannot be loaded"),
        (wrong("vocab.txt", POINTER), r"vocab\.txt is a pointer of Git LFS.*git lfs pull"),
        (wrong("config.json", POINTER), r"config\.json is a pointer of Git LFS"),
        (wrong("model.safetensors", POINTER), r"model\.safetensors is a pointer of Git LFS"),
    ],
)
def test_a_tokenizer_that_is_not_that_of_the_weights(
    model: Path, change: Callable[[Path], object], message: str
) -> None:
    assert survey(model, TEXTS) is None
    change(model)
    with pytest.raises(UserError, match=message) as error:
        survey(model, TEXTS)
    assert str(model) in str(error.value)


def test_pickled_weights_that_nobody_reads_may_be_a_pointer(model: Path) -> None:
    (model / "pytorch_model.bin").write_text(POINTER)
    assert survey(model, TEXTS) is None


@pytest.mark.parametrize("kept", [["vocab.txt"], ["tokenizer.json"], ["tokenizer_config.json"]])
def test_a_cased_vocabulary_keeps_case(model: Path, kept: list[str]) -> None:
    from transformers import BertTokenizerFast

    vocabulary(*CASED)(model)
    edit(model / "config.json", vocab_size=len(CASED))
    BertTokenizerFast(str(model / "vocab.txt"), do_lower_case=False).save_pretrained(model)
    if kept == ["tokenizer_config.json"]:  # which says nothing of case
        path = model / "tokenizer_config.json"
        path.write_text(json.dumps({"model_max_length": 512}))
        kept = [*kept, "vocab.txt"]
    for name in {"vocab.txt", "tokenizer.json", "tokenizer_config.json"} - {*kept}:
        (model / name).unlink()
    assert load(model).tokenize("Die Türen.") == ["Die", "Tür", "##en", "."]


def test_what_a_model_says_of_case_holds(model: Path) -> None:
    vocabulary(*CASED)(model)
    edit(model / "config.json", vocab_size=len(CASED))
    (model / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert load(model).tokenize("Die Tür.") == ["die", "tur", "."]


def test_an_uncased_vocabulary_is_lower_cased(model: Path) -> None:
    vocabulary(*tiny_models.WORDS)(model)
    assert load(model).tokenize("The CAT") == ["the", "cat"]


def test_words_that_the_tokenizer_does_not_know(model: Path) -> None:
    said = survey(model, [*TEXTS, "ça va"])
    assert said is None  # an accent is no letter of its own
    said = survey(model, [*TEXTS, "да"])
    assert said is not None
    assert "does not know 8% of the words' tokens" in said
    with pytest.raises(UserError, match=r"does not know 100% of the words' tokens.*--text_model"):
        survey(model, ["Не знаю, что случилось.", "..."])
    assert survey(model, ["...", "..."]) is None  # no words, and so no unknown ones


def test_an_english_vocabulary_breaks_polish_into_letters() -> None:
    choice = Choice("text", "minilm")
    files = registry.find(choice)
    polish = "Czy możesz mi powiedzieć, dlaczego dzieci już śpią? Gdzie położyłaś książkę?"
    english = "She told him that the children were asleep when we came home, you know."
    assert registry.survey(choice, files, [english]) is None
    said = registry.survey(choice, files, [polish])
    assert said is not None
    assert "breaks 50% of the words into letters and pairs of letters (położyłaś: po ##ł" in said
    half = registry.survey(choice, files, [english] * 9 + [polish])
    assert half is None
    chinese = registry.survey(choice, files, [*["我的车"] * 9, english])  # each is a word
    assert chinese is None or "breaks" not in chinese


def test_the_plan_refuses_and_says(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_data(tmp_path / "data", {"s0-1": noise(0.1), "s0-2": noise(0.1)})
    flags = ["--model", str(model)]
    (data / "text").write_text("s0-1 the cats\ns0-2 gdzie jest\n")
    assert plan(tmp_path / "dump", data, *flags, upstream="bert") == 1
    assert (
        "breaks 50% of the words into letters and pairs of letters (gdzie: g ##d ##z" in caplog.text
    )
    without("vocab.txt", "tokenizer.json")(model)
    with pytest.raises(UserError, match="lacks the vocabulary"):
        plan(tmp_path / "other", data, *flags, upstream="bert")
    assert not (tmp_path / "other").exists()
