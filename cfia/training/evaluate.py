"""Posteriors of a dataset, and the scores that select an epoch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cfia.config import Config
from cfia.metrics import confusion, ua, wa
from cfia.training import batches
from cfia.training.dataset import Dataset


@dataclass(frozen=True)
class Scores:
    """Mean cross entropy, and WA and UA in percent."""

    loss: float
    wa: float
    ua: float


@torch.no_grad()
def logits(model: nn.Module, data: Dataset, batch_size: int, device: torch.device) -> Tensor:
    """(N, K) logits in the order of the dataset, on the CPU, in float64."""
    model.eval()
    plan = batches.sorted_by_length(data.guiding_lengths(), batch_size)
    parts = torch.cat([model(data.batch(indices, device)).logits for indices in plan])
    found = torch.empty(parts.shape, dtype=torch.float64)
    found[list(itertools.chain(*plan))] = parts.double().cpu()
    return found


def evaluate(model: nn.Module, data: Dataset, config: Config, device: torch.device) -> Scores:
    """Score a dataset; UA is over the classes that it has."""
    found = logits(model, data, config.train.batch_size, device)
    loss = nn.functional.cross_entropy(found, data.targets)
    counts = confusion(data.targets.numpy(), found.argmax(dim=1).numpy(), found.shape[1])
    return Scores(float(loss), float(wa(counts)), float(ua(counts)))
