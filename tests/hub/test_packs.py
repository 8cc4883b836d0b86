"""Packs from a hub: by their id, at the newest commit or at one that is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from cfia import load
from cfia.errors import UserError
from cfia.inference.model import Model
from cfia.model.network import CFIANet
from tests.hub.server import Hub
from tests.support.tiny_packs import FBANK, write


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on the loopback, which this process asks."""
    with Hub() as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        here = template.replace(constants.ENDPOINT, hub.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")  # as the program sets it, for good
        yield hub


def answer(model: Model) -> np.ndarray:
    return model.posteriors({"audio": [np.ones((20, 80), np.float32)]})


def test_a_pack_by_its_id_and_commit(hub: Hub, tmp_path: Path) -> None:
    packs = [write(tmp_path / str(seed), FBANK, seed=seed) for seed in (1, 2)]
    (packs[0] / "notes.bin").write_bytes(b"of no use")
    first, newest = (hub.add("somebody/ser", pack) for pack in packs)
    assert first != newest
    for revision, pack in ((first, packs[0]), (None, packs[1]), (newest, packs[1])):
        assert np.array_equal(answer(load("somebody/ser", revision=revision)), answer(load(pack)))
        network = CFIANet.from_pretrained("somebody/ser", revision=revision)
        ours, theirs = network.state_dict(), CFIANet.from_pretrained(pack).state_dict()
        assert all(bool((ours[key] == theirs[key]).all()) for key in theirs)
    assert not any("notes.bin" in path for _, path in hub.requests)
    hub.stop()  # what was fetched is enough
    assert np.array_equal(answer(load("somebody/ser")), answer(load(packs[1])))


def test_what_a_hub_cannot_give_is_a_sentence(hub: Hub, tmp_path: Path) -> None:
    pack = write(tmp_path / "pack", FBANK)
    shutil.copytree(pack, tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    hub.add("somebody/other", tmp_path / "other")
    hub.add("somebody/ser", pack)
    for name, revision, wanted in (
        ("somebody/none", None, "somebody/none is neither a directory nor a public model"),
        ("somebody/ser", "f" * 40, "somebody/ser"),
        ("somebody/other", None, r"config\.json is not that of a packed model of cfia"),
        ("no/such/place", None, "no such model directory no/such/place; check the path"),
    ):
        with pytest.raises(UserError, match=wanted) as caught:
            load(name, revision=revision)
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError) as caught:
            CFIANet.from_pretrained(name, revision=revision)
        assert "\n" not in str(caught.value)
