"""Utterances that lack a modality in training, and the cross entropy of each modality alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cfia.config import Config, build
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.model.equations import EquationStack, mean_over_time
from cfia.networks import CLASSIFY_EITHER, NETWORKS
from cfia.training.dataset import Dataset
from cfia.training.features import FeatureSet, Matrix
from cfia.training.loss import unimodal_loss
from cfia.training.modality_dropout import ModalityDropout, draw
from cfia.training.trainer import Trainer, TrainerInputs, build_model
from tests.support import networks
from tests.support.experiment import history

DIMS = {"audio": 5, "text": 7}
FUSING = [name for name in NETWORKS if name != "probe" and networks.BOTH in networks.inputs(name)]
SMALL = {"channels": 4, "features": 3, "reduction": 2, "consistency": []}
TARGETS = torch.tensor([2, 0, 1])


def of_size(network: str, **options: Any) -> Config:
    return build({**SMALL, "network": network, "hidden": networks.hidden(network, 6), **options})


def batch() -> dict[str, Sequences]:
    """Three utterances, whose features want a gradient."""
    found = {}
    for name, lengths in {"audio": [9, 4, 1], "text": [3, 6, 2]}.items():
        generator = torch.Generator().manual_seed(DIMS[name])
        x = torch.randn(3, max(lengths), DIMS[name], generator=generator).double()
        x *= (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])[:, :, None]
        found[name] = Sequences(x.requires_grad_(), torch.tensor(lengths))
    return found


def seed_of(first: list[bool], second: list[bool], share: float) -> int:
    """A seed by which these utterances lack the one and the other modality in epoch 1."""
    n = len(first)
    drawn = ((seed, draw(n, share, seed, 1)) for seed in itertools.count())
    return next(seed for seed, (a, t) in drawn if (a.tolist(), t.tolist()) == (first, second))


@given(st.integers(1, 50), st.floats(0, 0.99), st.integers(0, 5), st.integers(1, 9))
def test_no_utterance_lacks_both_and_a_draw_repeats(
    n: int, share: float, seed: int, epoch: int
) -> None:
    audio, text = draw(n, share, seed, epoch)
    assert len(audio) == len(text) == n
    assert not (audio & text).any()
    again = draw(n, share, seed, epoch)
    assert torch.equal(audio, again[0])
    assert torch.equal(text, again[1])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.9])
def test_the_share_of_utterances_and_of_each_modality(share: float) -> None:
    n = 50_000
    audio, text = draw(n, share, 1, 1)
    for missing in (audio, text):
        assert abs(float(missing.double().mean()) - share / 2) < 0.01
    assert (share == 0) == (not (audio | text).any())
    for other in (draw(n, share, 1, 2), draw(n, share, 2, 1)):  # of 50,000 others
        agree = float((other[0] | other[1])[audio | text].double().mean()) if share else share
        assert abs(agree - share) < 0.02


@pytest.mark.parametrize("network", FUSING)
def test_nothing_is_learnt_from_what_is_missing(network: str) -> None:
    torch.manual_seed(0)
    model = registry.build(DIMS, 4, of_size(network).model).double()
    lack = {"audio": [True, False, False], "text": [False, True, False]}
    seed = seed_of(lack["audio"], lack["text"], 0.6)
    modality_dropout = ModalityDropout(model, 0.6, 3, seed)
    modality_dropout.begin(1)
    missing = modality_dropout.of_batch([0, 1, 2])
    assert {name: which.tolist() for name, which in missing.items()} == lack
    features = batch()
    output = model(features)
    parts = output.parts or (output.logits,)
    sum(nn.functional.cross_entropy(part, TARGETS) for part in parts).backward()  # type: ignore[union-attr]
    for weight in model.parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all()
    for name, x in features.items():
        assert x.data.grad is not None
        learnt = x.data.grad.flatten(1).abs().sum(dim=1) > 0
        assert learnt.tolist() == [not absent for absent in lack[name]]
    # Which utterances a batch has, and in which order, changes nothing.
    assert modality_dropout.of_batch([2, 0])["audio"].tolist() == [False, True]


@pytest.mark.parametrize("network", FUSING)
def test_validation_and_posteriors_lack_nothing(network: str) -> None:
    torch.manual_seed(0)
    model = registry.build(DIMS, 4, of_size(network).model).double().eval()
    plain = model(batch()).logits
    modality_dropout = ModalityDropout(model, 0.6, 3, seed=1)
    modality_dropout.begin(1)
    modality_dropout.of_batch([0, 1, 2])
    assert torch.equal(model(batch()).logits, plain)


@pytest.mark.parametrize("network", CLASSIFY_EITHER)
def test_each_modality_is_classified_by_its_own_mean(network: str) -> None:
    torch.manual_seed(0)
    model: Any = registry.build(DIMS, 4, of_size(network).model).double()
    output, plain = model(batch(), unimodal=True), model(batch())
    assert torch.equal(output.logits, plain.logits)
    assert not plain.unimodal
    X, valid = model.intermediate(batch())
    assert list(output.unimodal) == ["audio", "text"]
    for name, logits in output.unimodal.items():
        mean = X[name].sum(dim=2) / valid.sum(dim=1)[:, None, None]
        torch.testing.assert_close(logits, model.classifier(mean))


def test_a_modality_that_a_whole_batch_lacks_has_no_loss() -> None:
    model = registry.build(DIMS, 4, of_size("cfia").model).double()
    output = model(batch(), unimodal=True)
    none, every = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    found = unimodal_loss(output, TARGETS, None, {"audio": every, "text": none})
    wanted = nn.functional.cross_entropy(output.unimodal["text"], TARGETS)
    torch.testing.assert_close(found, wanted)
    assert float(unimodal_loss(output, TARGETS, None, {"audio": every, "text": every})) == 0


class Drawn(FeatureSet):
    """Random matrices of 1 to 5 frames."""

    kept = "in memory"

    def __init__(self, n: int, dim: int):
        generator = torch.Generator().manual_seed(dim)
        self.lengths, self.dim = torch.arange(n) * 3 % 5 + 1, dim
        self._matrices = [torch.randn(k, dim, generator=generator) for k in self.lengths.tolist()]

    def __getitem__(self, index: int) -> Matrix:
        return self._matrices[index].numpy()


def made_up(n: int) -> Dataset:
    features: dict[str, FeatureSet] = {name: Drawn(n, dim) for name, dim in DIMS.items()}
    return Dataset([f"u{i}" for i in range(n)], torch.arange(n) % 4, features)


def own_cross_entropy(model: Any, X: Tensor, valid: Tensor, there: Tensor, y: Tensor) -> Tensor:
    """The plain form: the mean over the utterances that have the modality."""
    log_posteriors = model.classifier(mean_over_time(X, valid)).log_softmax(dim=1)
    return torch.stack([-log_posteriors[i, y[i]] for i in range(len(y)) if there[i]]).mean()


def test_an_epoch_minimises_what_is_written_by_hand(tmp_path: Path) -> None:
    """One batch, whose loss stands in history.csv, against the equations and zeros for X."""
    data = made_up(20)
    config = of_size("cfia", modality_dropout=0.6, unimodal_loss=0.7, epochs=1, batch_size=20,
                     consistency=[0.5, 0.3, 0.1], stack="equations")  # fmt: skip
    inputs = TrainerInputs(
        directory=tmp_path, identity="", config=config, seed=3, selection="last",
        classes=["a", "b", "c", "d"], train=data, select=None, device=torch.device("cpu"),
    )  # fmt: skip
    Trainer(inputs).fit()
    (row,) = history(tmp_path)
    model: Any = build_model(inputs)
    X, valid = model.intermediate(data.batch(range(20)))
    there = {name: ~missing for name, missing in zip(X, draw(20, 0.6, 3, 1), strict=True)}
    X = {name: x * there[name][:, None, None, None] for name, x in X.items()}
    stack = EquationStack(config.model)
    stack.load_state_dict(model.stack.state_dict())
    stacked = stack(X["audio"], X["text"], valid, ("audio", "text"))
    ce: Tensor = nn.functional.cross_entropy(model.classifier(stacked.pooled), data.targets)
    con = stacked.terms @ torch.tensor(config.model.consistency)
    own = [own_cross_entropy(model, X[name], valid, there[name], data.targets) for name in X]
    wanted = {"train_ce": ce, "train_con": con, "train_loss": ce + con + 0.7 * sum(own)}
    for column, value in wanted.items():
        assert row[column] == pytest.approx(value.item(), rel=1e-5)
