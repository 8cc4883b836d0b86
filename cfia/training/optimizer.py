"""Make the optimiser and the schedule of its learning rate that a configuration names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CyclicLR,
    LRScheduler,
    ReduceLROnPlateau,
    StepLR,
)

from cfia.config import TrainConfig


class _Eager(Optimizer):
    """An optimiser that does not load torch's compiler.

    To load it takes longer than torch itself, as long as a small training; and all that torch's own
    methods want of it is that it keeps away from them. They are taken here from below what wraps
    them (`torch._compile._disable_dynamo`, `torch.optim.optimizer._use_grad_for_differentiable`).
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


class _Adam(_Eager, Adam):
    step = torch.no_grad()(inspect.unwrap(Adam.step))


class _AdamW(_Eager, AdamW):
    step = torch.no_grad()(inspect.unwrap(AdamW.step))


class _SGD(_Eager, SGD):
    step = torch.no_grad()(inspect.unwrap(SGD.step))


class _RMSprop(_Eager, RMSprop):
    step = torch.no_grad()(inspect.unwrap(RMSprop.step))


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """Make the optimiser `config.optimizer`, at the initial learning rate.

    A step is one kernel for all parameters, but for RMSprop, for which torch has none.
    """
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "rmsprop":
        return _RMSprop(parameters, lr, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "sgd":
        return _SGD(parameters, lr, momentum=config.momentum, weight_decay=decay, fused=True)
    adaptive = _AdamW if config.optimizer == "adamw" else _Adam
    return adaptive(parameters, lr, weight_decay=decay, fused=True)


def make_scheduler(optimizer: Optimizer, config: TrainConfig) -> LRScheduler | None:
    """Make the schedule `config.schedule` of an optimiser; None where the rate is constant.

    All of them step once an epoch. "cyclic" is the triangular policy of Smith (2017): from `lr`
    to `lr_max` in `cycle_epochs` epochs, back in as many, and so on, while the momentum of RMSprop
    or SGD falls from `momentum` to `momentum_min` and rises again.
    """
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, config.epochs, config.lr_min)
    if config.schedule == "plateau":
        mode: Literal["min", "max"] = "min" if config.plateau_by == "loss" else "max"
        patience = config.plateau_patience or config.patience // 3
        return ReduceLROnPlateau(optimizer, mode, patience=patience)
    if config.schedule == "step":
        return StepLR(optimizer, config.step_epochs)
    if config.schedule == "cyclic":
        return CyclicLR(
            optimizer,
            base_lr=config.lr,
            max_lr=config.lr_max,
            step_size_up=config.cycle_epochs,
            cycle_momentum="momentum" in optimizer.defaults,
            base_momentum=config.momentum_min,
            max_momentum=config.momentum,
        )
    return None


def step_epoch(scheduler: LRScheduler | None, score: float | None) -> None:
    """Move a schedule on after an epoch with this score on the validation part, if there is one.

    "plateau" takes what `plateau_by` says, and does not go without
    (`cfia.study.configurations.read_config`).
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        assert score is not None
        scheduler.step(score)
    elif scheduler is not None:
        scheduler.step()
