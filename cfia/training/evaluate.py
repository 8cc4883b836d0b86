"""Compute the logits of a dataset, and the scores that select an epoch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cfia.config import Config
from cfia.metrics import confusion, ua, wa
from cfia.training import batches
from cfia.training.dataset import Dataset
from cfia.training.feeding import feeding


@dataclass(frozen=True)
class Scores:
    """Mean cross entropy, and WA and UA in percent."""

    loss: float
    wa: float
    ua: float


@torch.no_grad()
def logits(model: nn.Module, data: Dataset, batch_size: int, device: torch.device) -> Tensor:
    """Compute logits (N, K) in the order of the dataset, on the CPU, in float64."""
    model.eval()
    plan = batches.sorted_by_length(data.guiding_lengths(), batch_size)
    with feeding(data, plan, device) as features:
        by_length = torch.cat([model(batch).logits for batch in features])
    in_order = torch.empty(by_length.shape, dtype=torch.float64)
    in_order[list(itertools.chain(*plan))] = by_length.double().cpu()
    return in_order


def evaluate(model: nn.Module, data: Dataset, config: Config, device: torch.device) -> Scores:
    """Score a dataset; UA is over the classes that it has."""
    return score(logits(model, data, config.train.batch_size, device), data.targets)


def score(logits: Tensor, targets: Tensor) -> Scores:
    """Score logits (N, K) by their targets (N,), both on the CPU."""
    loss = nn.functional.cross_entropy(logits, targets)
    counts = confusion(targets.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])
    return Scores(float(loss), float(wa(counts)), float(ua(counts)))
