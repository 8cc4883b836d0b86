"""Optimisers and schedules follow their closed forms, and resume exactly."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from cfia.config import build
from cfia.training import checkpoint
from cfia.training.optimizer import make_optimizer, make_scheduler, step_epoch

EPOCHS = 12


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))


def step(optimizer: Optimizer, weight: nn.Parameter) -> None:
    """One batch of minimising the sum of the fourth powers."""
    optimizer.zero_grad()
    weight.pow(4).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def rates(**options: Any) -> list[tuple[float, float]]:
    """The learning rate and momentum (of Adam: its first beta) in each epoch."""
    config = build({"epochs": EPOCHS, **options}).train
    weight = parameter()
    optimizer = make_optimizer([weight], config)
    scheduler = make_scheduler(optimizer, config)
    found = []
    for epoch in range(EPOCHS):
        group = optimizer.param_groups[0]
        momentum = group["momentum"] if "momentum" in group else group["betas"][0]
        found.append((group["lr"], momentum))
        step(optimizer, weight)
        step_epoch(scheduler, score=min(epoch, 2))
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7),
    st.floats(1e-5, 1e-2),
    st.floats(1, 10),
    st.floats(0, 0.9),
    st.floats(0, 1),
)
def test_cyclic_is_a_triangle_over_epochs(
    up: int, lr: float, factor: float, momentum: float, share: float
) -> None:
    options = {
        "optimizer": "rmsprop", "schedule": "cyclic", "lr": lr, "lr_max": factor * lr,
        "cycle_epochs": up, "momentum": momentum, "momentum_min": share * momentum,
    }  # fmt: skip
    height = [min(epoch % (2 * up), 2 * up - epoch % (2 * up)) / up for epoch in range(EPOCHS)]
    expected = [
        (lr + h * (factor * lr - lr), momentum - h * (momentum - share * momentum)) for h in height
    ]
    np.testing.assert_allclose(rates(**options), expected, rtol=1e-9, atol=1e-12)


def test_other_schedules() -> None:
    lr = 1e-3
    assert {rate for rate, _ in rates(lr=lr)} == {lr}
    cosine = [lr * (1 + math.cos(math.pi * k / EPOCHS)) / 2 for k in range(EPOCHS)]
    np.testing.assert_allclose([r for r, _ in rates(lr=lr, schedule="cosine")], cosine)
    # The UA rises until the third epoch; after more than patience // 3 without a rise, a tenth.
    plateau = [lr] * 5 + [lr / 10] * 2 + [lr / 100] * 2 + [lr / 1000] * 2 + [lr / 10000]
    found = [r for r, _ in rates(lr=lr, schedule="plateau", patience=3)]
    np.testing.assert_allclose(found, plateau)


def test_step_is_a_staircase_and_cosine_ends_where_it_is_told() -> None:
    lr = 1e-3
    found = [r for r, _ in rates(lr=lr, schedule="step", step_epochs=5)]
    np.testing.assert_allclose(found, [lr] * 5 + [lr / 10] * 5 + [lr / 100] * 2)
    found = [r for r, _ in rates(lr=lr, lr_min=4e-4, schedule="cosine")]
    shares = [(1 + math.cos(math.pi * k / EPOCHS)) / 2 for k in range(EPOCHS)]
    np.testing.assert_allclose(found, [4e-4 + 6e-4 * share for share in shares])


def test_plateau_by_loss_waits_as_long_as_it_is_told() -> None:
    # What is better of a UA is worse of a loss: here no epoch is better than the first.
    options = {"schedule": "plateau", "plateau_by": "loss", "plateau_patience": 4, "lr": 1e-3}
    found = [r for r, _ in rates(**options)]
    np.testing.assert_allclose(found, [1e-3] * 6 + [1e-4] * 5 + [1e-5])


def test_cyclic_leaves_the_betas_of_adam_alone() -> None:
    assert {beta for _, beta in rates(schedule="cyclic", cycle_epochs=2)} == {0.9}


def test_rmsprop_with_momentum() -> None:
    """Hinton's RMSprop as PyTorch has it: smoothing 0.99, epsilon 1e-8 outside of the root."""
    options = {"optimizer": "rmsprop", "lr": 0.01, "momentum": 0.7, "weight_decay": 0.1}
    config = build(options).train
    weight = parameter()
    optimizer = make_optimizer([weight], config)
    w = weight.detach().numpy().copy()
    mean_square, velocity = np.zeros(3), np.zeros(3)
    for _ in range(5):
        step(optimizer, weight)
        gradient = 4 * w**3 + 0.1 * w
        mean_square = 0.99 * mean_square + 0.01 * gradient**2
        velocity = 0.7 * velocity + gradient / (np.sqrt(mean_square) + 1e-8)
        w = w - 0.01 * velocity
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


def test_sgd_with_momentum() -> None:
    options = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.7, "weight_decay": 0.1}
    weight = parameter()
    optimizer = make_optimizer([weight], build(options).train)
    w, velocity = weight.detach().numpy().copy(), np.zeros(3)
    for _ in range(5):
        step(optimizer, weight)
        velocity = 0.7 * velocity + 4 * w**3 + 0.1 * w
        w = w - 0.01 * velocity
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


def test_adamw_takes_the_decay_off_the_weights() -> None:
    options = {"lr": 0.01, "weight_decay": 0.1}
    found = {}
    for name in ("adam", "adamw"):
        weight = parameter()
        step(make_optimizer([weight], build({**options, "optimizer": name}).train), weight)
        found[name] = weight.detach().numpy()
    w = parameter().detach().numpy()
    # The first step of Adam is the rate, in the direction of the gradient.
    np.testing.assert_allclose(found["adam"], w - 0.01 * np.sign(w), rtol=1e-6)
    np.testing.assert_allclose(found["adamw"], w * (1 - 0.001) - 0.01 * np.sign(w), rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau", "cyclic", "step"])
def test_it_resumes_exactly(optimizer: str, schedule: str, tmp_path: Path) -> None:
    options = {
        "optimizer": optimizer, "schedule": schedule, "lr": 1e-3, "lr_max": 5e-3,
        "cycle_epochs": 3, "patience": 3, "epochs": EPOCHS, "step_epochs": 5,
    }  # fmt: skip

    def run(first: int, last: int) -> bytes:
        """Epochs first + 1 to last, from the file that epoch `first` left to that of `last`."""
        weight = parameter()
        moved = make_optimizer([weight], build(options).train)
        scheduler = make_scheduler(moved, build(options).train)
        if first:
            state = checkpoint.load(tmp_path / f"{first}.pt", dict[str, Any])
            weight.data = state["weight"]
            moved.load_state_dict(state["optimizer"])
            if scheduler is not None:
                scheduler.load_state_dict(state["scheduler"])
        for epoch in range(first, last):
            step(moved, weight)
            step_epoch(scheduler, score=min(epoch, 2))
        state = {
            "weight": weight.detach(),
            "optimizer": moved.state_dict(),
            "scheduler": scheduler.state_dict() if scheduler else None,
        }
        checkpoint.save(tmp_path / f"{last}.pt", state)
        return (tmp_path / f"{last}.pt").read_bytes()

    run(0, 4)
    resumed = run(4, 11)
    assert run(0, 11) == resumed


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("adam", partial(Adam, lr=0.01)),
        ("adamw", partial(AdamW, lr=0.01)),
        ("sgd", partial(SGD, lr=0.01, momentum=0.5)),
        ("rmsprop", partial(RMSprop, lr=0.01, momentum=0.5)),
    ],
)
def test_steps_by_one_kernel_are_the_same_steps(name: str, plain: Callable[..., Optimizer]) -> None:
    """Also where a training goes on from a checkpoint that was made without."""
    config = build({"optimizer": name, "lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}).train
    wanted, found = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    without, with_it = plain([wanted], weight_decay=0.1), make_optimizer([found], config)
    for _ in range(3):
        step(without, wanted)
        step(with_it, found)
    torch.testing.assert_close(found, wanted)
    again = make_optimizer([found], config)
    again.load_state_dict(copy.deepcopy(without.state_dict()))
    step(without, wanted)
    step(again, found)
    torch.testing.assert_close(found, wanted)
