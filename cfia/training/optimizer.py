"""Make the optimiser and the schedule of its learning rate that a configuration names."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LRScheduler, ReduceLROnPlateau

from cfia.config import TrainConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """Make the optimiser `config.optimizer`, at the initial learning rate."""
    if config.optimizer == "rmsprop":
        return RMSprop(
            parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return Adam(parameters, config.lr, weight_decay=config.weight_decay)


def make_scheduler(optimizer: Optimizer, config: TrainConfig) -> LRScheduler | None:
    """Make the schedule `config.schedule` of an optimiser; None where the rate is constant.

    All of them step once an epoch. "cyclic" is the triangular policy of Smith (2017): from `lr`
    to `lr_max` in `cycle_epochs` epochs, back in as many, and so on, while the momentum of RMSprop
    falls from `momentum` to `momentum_min` and rises again.
    """
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, config.epochs)
    if config.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, mode="max", patience=config.patience // 3)
    if config.schedule == "cyclic":
        return CyclicLR(
            optimizer,
            base_lr=config.lr,
            max_lr=config.lr_max,
            step_size_up=config.cycle_epochs,
            cycle_momentum=config.optimizer == "rmsprop",
            base_momentum=config.momentum_min,
            max_momentum=config.momentum,
        )
    return None


def step_epoch(scheduler: LRScheduler | None, ua: float | None) -> None:
    """Move a schedule on after an epoch whose validation UA was `ua`, where there is a part for it.

    "plateau" does not go without (`cfia.study.request.read_config`).
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        assert ua is not None
        scheduler.step(ua)
    elif scheduler is not None:
        scheduler.step()
