"""`from_pretrained` of every network, on the files that PyTorchModelHubMixin would write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cfia.config import build
from cfia.errors import UserError
from cfia.files import read_json, write_json
from cfia.model import registry
from cfia.model.network import CFIANet
from cfia.networks import NETWORKS
from tests.support.networks import hidden, taken

DIMS = {"audio": 6, "text": 5}
SMALL = {"hidden": 4, "channels": 4, "features": 3, "consistency": []}


def write(directory: Path, name: str) -> nn.Module:
    """Write a network with random weights, and nothing that only a pack has."""
    config = build({**SMALL, "hidden": hidden(name, 4), "network": name}).model
    dims, layers = taken(name, DIMS), {"audio": 1, "text": 1}
    network = registry.build(dims, 4, config, layers)
    save_file(network.state_dict(), directory / "model.safetensors")
    values = {"dims": dims, "n_classes": 4, "config": dataclasses.asdict(config), "layers": layers}
    write_json(directory / "config.json", values)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_comes_back(tmp_path: Path, name: str) -> None:
    network: Any = write(tmp_path, name)
    again = type(network).from_pretrained(tmp_path)
    assert type(again) is type(network)
    assert not again.training
    ours, theirs = again.state_dict(), network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        values = read_json(place / "config.json")
        values["config"] |= changes
        write_json(place / "config.json", values)

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        state = load_file(place / "model.safetensors")
        change(state)
        save_file(state, place / "model.safetensors")

    return edit


def cut(place: Path) -> None:
    path = place / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (edit_config(wings=2), "unknown key 'wings'"),
        (edit_config(channels=8), r"the weight '.*' has the shape .* need"),
        (edit_weights(lambda state: state.pop(min(state))), "lacks the weight '.*'; it was made"),
        (edit_weights(lambda state: state.update(x=torch.ones(1))), "unknown weight 'x'; another"),
        (cut, r"model\.safetensors is damaged .*; copy or download it again"),
        (lambda place: (place / "config.json").write_text("[]"), r"not that of a packed model"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_a_sentence(
    tmp_path: Path, damage: Callable[[Path], Any], sentence: str
) -> None:
    write(tmp_path, "cfia")
    damage(tmp_path)
    with pytest.raises(UserError, match=sentence) as caught:
        CFIANet.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
