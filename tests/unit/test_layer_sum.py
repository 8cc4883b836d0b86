"""The learnt weighted sum over the layers of a frozen encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cfia.bin import posteriors, train
from cfia.config import build
from cfia.errors import UserError
from cfia.model import registry
from cfia.model.encoder import Encoder, LayerSum, Sequences
from cfia.networks import NETWORKS
from cfia.training import checkpoint
from tests.support.experiment import command, frontend, make, mark_again, plan
from tests.support.killed import killed_at_checkpoint
from tests.support.networks import hidden, taken

SMALL = {"hidden": 8, "channels": 4, "features": 3}
KEY = "encoders.audio.layer_sum.weights"


def test_it_is_the_softmax_weighted_sum() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    layer_sum = LayerSum(3).double()
    flat = torch.from_numpy(x.reshape(2, 5, 12))
    np.testing.assert_allclose(layer_sum(flat).detach(), x.mean(axis=2), atol=1e-12)
    weights = np.array([0.5, -1.0, 2.0])
    layer_sum.load_state_dict({"weights": torch.from_numpy(weights)})
    shares = np.exp(weights) / np.exp(weights).sum()
    wanted = sum(share * x[:, :, i] for i, share in enumerate(shares))
    np.testing.assert_allclose(layer_sum(flat).detach(), wanted, atol=1e-12)


def test_it_stands_behind_the_normalisation_of_each_dimension() -> None:
    config = build({**SMALL, "normalisation": "global"}).model
    encoder = Encoder(12, config, layers=3)
    plain = Encoder(4, build({**SMALL, "normalisation": "none"}).model)
    mean, std = torch.randn(12), torch.rand(12) + 0.5
    encoder.normaliser.load_state_dict({"mean": mean, "std": std})
    plain.gru.load_state_dict(encoder.gru.state_dict())
    plain.linear.load_state_dict(encoder.linear.state_dict())
    data, lengths = torch.randn(2, 5, 12), torch.tensor([5, 3])
    data[1, 3:] = 0
    normal = (data - mean) / std
    normal[1, 3:] = 0
    wanted = plain(Sequences(normal.reshape(2, 5, 3, 4).mean(dim=2), lengths))
    torch.testing.assert_close(encoder(Sequences(data, lengths)), wanted)


@pytest.mark.parametrize("network", sorted(NETWORKS.keys() - {"probe"}))  # it has no sum
def test_its_weights_learn_and_one_layer_adds_none(network: str) -> None:
    small = {**SMALL, "hidden": hidden(network, 8), "dropout": 0}
    config = build({**small, "network": network, "consistency": []}).model
    dims = taken(network, {"audio": 6, "text": 5})
    model = registry.build(dims, 4, config, {"audio": 3, "text": 1})
    batch = {
        "audio": Sequences(torch.randn(2, 7, 6), torch.tensor([7, 7])),
        "text": Sequences(torch.randn(2, 4, 5), torch.tensor([4, 4])),
    }
    model(batch).logits.square().sum().backward()
    gradient = model.get_parameter(KEY).grad
    assert gradient is not None
    assert (gradient != 0).all()
    torch.manual_seed(0)
    plain = registry.build(dims, 4, config)
    torch.manual_seed(0)
    one = registry.build(dims, 4, config, {"audio": 1})
    assert [name for name in plain.state_dict() if "layer_sum" in name] == []
    for (name, weight), (key, other) in zip(
        plain.state_dict().items(), one.state_dict().items(), strict=True
    ):
        assert name == key
        assert torch.equal(weight, other)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment whose audio features are three layers of two."""
    root = make(tmp_path_factory.mktemp("all layers"))
    write_frontend(root, layers=3)
    return root


def write_frontend(root: Path, layers: int) -> None:
    """Say of the audio features how many layers they have."""
    dump = root / "dump" / "audio"
    frontend("audio", 6, layer="all", layers=layers).write(dump)
    mark_again(dump)


@pytest.fixture(scope="module")
def trained(experiment: Path) -> Path:
    training = plan(experiment, experiment / "exp" / "session")
    train.main(command(training))
    posteriors.main(command(training))
    return training


def test_it_is_trained_kept_and_used_for_posteriors(trained: Path, experiment: Path) -> None:
    best = checkpoint.load(trained / "best.pt", checkpoint.Network)["model"]
    assert best[KEY].shape == (3,)
    assert best[KEY].abs().min() > 0
    assert best["encoders.audio.gru.weight_ih_l0"].shape[1] == 2
    assert best["encoders.audio.normaliser.mean"].shape == (6,)
    assert (trained / "posteriors.tsv").exists()


def test_it_resumes_to_the_same_bytes(
    trained: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = plan(experiment, tmp_path / "exp" / "session")
    with killed_at_checkpoint(monkeypatch, 3):
        train.main(command(training))
    train.main(command(training))
    for name in ("checkpoint.pt", "best.pt", "history.csv"):
        assert (training / name).read_bytes() == (trained / name).read_bytes()


def test_a_checkpoint_of_other_layers_is_refused(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trained.parent, tmp_path / "session")) / trained.name
    write_frontend(experiment, layers=2)
    try:
        with pytest.raises(UserError, match=r"the weight 'encoders\.audio.* has the shape"):
            posteriors.main([*command(copy), "--force", "true"])
    finally:
        write_frontend(experiment, layers=3)
