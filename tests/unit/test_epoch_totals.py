"""What batches report: sums, the ratio of the losses' gradients, and what is not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cfia.errors import UserError
from cfia.training.epoch_totals import EpochTotals
from cfia.training.loss import Loss, backward


def loss(cross_entropy: float, consistency: float = 0.25) -> Loss:
    return Loss(torch.tensor(cross_entropy), torch.tensor(consistency))


def test_the_row_is_the_mean_over_utterances() -> None:
    for at_once in (True, False):  # when they are read changes nothing
        totals = EpochTotals(at_once)
        totals.add(["a", "b", "c"], loss(2.0), torch.tensor(1.0))
        totals.add(["d"], loss(4.0, 0.5), torch.tensor(1.0))
        totals.con_grad_ratio = torch.tensor(0.1, dtype=torch.float64)
        assert totals.row() == {
            "train_loss": (3 * 2.25 + 4.5) / 4,
            "train_ce": 2.5,
            "train_con": 1.25 / 4,
            "con_grad_ratio": 0.1,
        }


@pytest.mark.parametrize(
    ("what", "cross_entropy", "norm"), [("loss", math.nan, 1.0), ("gradient", 1.0, math.inf)]
)
def test_what_is_not_finite_names_its_batch(what: str, cross_entropy: float, norm: float) -> None:
    wanted = f"the {what} is not finite in the batch of c, d; try a lower lr"
    with pytest.raises(UserError, match=wanted):
        EpochTotals(at_once=True).add(["c", "d"], loss(cross_entropy), torch.tensor(norm))
    later = EpochTotals(at_once=False)  # as on a GPU
    later.add(["a", "b"], loss(1.0), torch.tensor(1.0))
    later.add(["c", "d"], loss(cross_entropy), torch.tensor(norm))
    later.add(["e"], loss(math.nan), torch.tensor(math.nan))
    for read in (later.state, later.row):  # before a checkpoint, and at the end of the epoch
        with pytest.raises(UserError, match=wanted):
            read()


def test_the_state_goes_on_where_it_was() -> None:
    first, whole = EpochTotals(at_once=False), EpochTotals(at_once=False)
    for totals in (first, whole):
        totals.add(["a", "b"], loss(0.3), torch.tensor(1.0))
    resumed = EpochTotals(True, **first.state())  # type: ignore[arg-type]
    for totals in (resumed, whole):
        totals.add(["c"], loss(0.7), torch.tensor(1.0))
    assert resumed.state() == whole.state()


def norm(parts: tuple[Tensor, ...]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))


def test_the_ratio_compares_the_two_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    weights = list(model.parameters())
    x = torch.randn(4, 3, dtype=torch.float64)

    def parts() -> Loss:
        y = model(x)
        return Loss(y[:, 0].square().mean(), 1e-3 * model[1](model[0](x)).square().sum())

    cross_entropy, consistency = (
        torch.autograd.grad(part, weights, materialize_grads=True)
        for part in (parts().cross_entropy, parts().consistency)
    )
    assert backward(parts(), weights) == pytest.approx(norm(consistency) / norm(cross_entropy))
    for weight, c, s in zip(weights, cross_entropy, consistency, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, c + s)
    model.zero_grad()
    none = Loss(model(x).sum(), torch.zeros(()))
    assert backward(none, weights) == 0
    assert all(weight.grad is not None for weight in weights)
