"""Add up the losses of an epoch's batches, and check that all of them are finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cfia.errors import UserError
from cfia.training.loss import Loss


@dataclass
class EpochTotals:
    """Sums over the utterances of an epoch.

    On a CPU the loss of each batch is checked before its step is taken. A GPU would have to finish
    all that it was given before a loss could be read, so there they are read together, at the end
    of the epoch or before a checkpoint within it; the steps after a bad batch are then computed,
    but nothing of them is written.

    Attributes:
        at_once: whether each batch is read when it is added.
        batches: how many were added; utterances: how many those had.
        sums: of the loss, its cross entropy and its consistency part.
        con_grad_ratio: norm of the consistency loss's gradient over that of the cross entropy's
            (`loss.backward`), in the epoch's first batch; where the losses are, until it is read.
    """

    at_once: bool
    batches: int = 0
    utterances: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    con_grad_ratio: float | Tensor = 0.0
    _unread: list[tuple[Sequence[str], Tensor]] = field(default_factory=list, repr=False)

    def add(self, utts: Sequence[str], loss: Loss, norm: Tensor) -> None:
        """Add a batch of some utterances: its loss and the norm of its gradient.

        Raises:
            UserError: as `read`.
        """
        parts = (loss.total(), loss.cross_entropy, loss.consistency, norm)
        self._unread.append((utts, torch.stack([part.detach().float() for part in parts])))
        self.batches += 1
        if self.at_once:
            self.read()

    def read(self) -> None:
        """Copy the losses that were added to the CPU, check and sum them.

        Raises:
            UserError: a loss or a gradient is not finite; it names the batch's utterances.
        """
        self.con_grad_ratio = float(self.con_grad_ratio)
        if not self._unread:
            return
        rows = torch.stack([row for _, row in self._unread]).tolist()
        for (utts, _), (*losses, norm) in zip(self._unread, rows, strict=True):
            for name, value in (("loss", losses[0]), ("gradient", norm)):
                if not math.isfinite(value):
                    raise UserError(
                        f"the {name} is not finite in the batch of {', '.join(utts)}; try a lower "
                        "lr, clip_grad=1 or precision=float32"
                    )
            self.sums = [s + value * len(utts) for s, value in zip(self.sums, losses, strict=True)]
            self.utterances += len(utts)
        self._unread.clear()

    def row(self) -> dict[str, float]:
        """Compute the means, under the names of history.csv."""
        self.read()
        loss, cross_entropy, consistency = (value / self.utterances for value in self.sums)
        return {
            "train_loss": loss,
            "train_ce": cross_entropy,
            "train_con": consistency,
            "con_grad_ratio": float(self.con_grad_ratio),
        }

    def state(self) -> dict[str, float | list[float]]:
        """Give the values that a checkpoint within an epoch holds; reads first."""
        self.read()
        names = ("batches", "utterances", "sums", "con_grad_ratio")
        return {name: getattr(self, name) for name in names}
