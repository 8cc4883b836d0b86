"""Packs that are cut, edited, of a later version, or none: one sentence each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia import load
from cfia.errors import UserError
from cfia.files import digest, write_json
from cfia.inference import pack_file
from cfia.model.network import CFIANet
from tests.support.tiny_packs import FBANK, write


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return write(tmp_path / "a pack", FBANK)


def edit(name: str, change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        content = bytearray((place / name).read_bytes())
        change(content)
        (place / name).write_bytes(content)

    return damage


def of_a_later_version(place: Path) -> None:
    values = json.loads((place / "config.json").read_text())
    del values["sha256"]
    values |= {"format": 2, "cfia": "9.0"}
    write_json(place / "config.json", {**values, "sha256": digest(values)})


def flip(content: bytearray) -> None:
    content[len(content) // 2] ^= 1


def halve(content: bytearray) -> None:
    del content[len(content) // 2 :]


def rename_a_class(content: bytearray) -> None:
    content[:] = content.replace(b'"sad"', b'"joy"')


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda d: (d / "config.json").unlink(), "has no config.json, so it is no packed"),
    "cut config": (edit("config.json", halve), "config.json is not valid JSON"),
    "other config": (lambda d: write_json(d / "config.json", [1]), "config.json is not that of a"),
    "later version": (of_a_later_version, "format 2, written by cfia 9.0, .*install that version"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "safetensors is not there; copy"),
    "cut weights": (edit("model.safetensors", halve), "safetensors is not as it was packed; copy"),
    "flipped bit": (edit("model.safetensors", flip), "safetensors is not as it was packed; copy"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_pack_is_refused_in_a_sentence(copy: Path, what: str) -> None:
    damage, sentence = DAMAGES[what]
    damage(copy)
    loaders: tuple[Callable[[Path], object], ...] = (load, CFIANet.from_pretrained)
    for loader in loaders:
        with pytest.raises(UserError, match=sentence) as caught:
            loader(copy)
        assert "\n" not in str(caught.value)


def test_an_edited_config_is_refused(copy: Path) -> None:
    edit("config.json", rename_a_class)(copy)
    with pytest.raises(UserError, match=r"config\.json was cut or edited; copy or download it"):
        load(copy)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole") / "pack", FBANK)


@given(st.sampled_from(["config.json", "model.safetensors"]), st.integers(0), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_is_noticed_or_means_the_same(
    whole: Path, name: str, at: int, bit: int
) -> None:
    path, then = whole / name, pack_file.read(whole)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[at % len(content)] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        load(whole)
    except UserError:
        return
    else:
        assert name == "config.json"  # 1e-05 and 1E-05, say
        assert pack_file.read(whole) == then
    finally:
        path.write_bytes(content)
