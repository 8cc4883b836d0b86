"""What the batches of an epoch report: sums for the history, and whether all of it is finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cfia.errors import UserError
from cfia.training.loss import Loss


@dataclass
class Figures:
    """Sums over the utterances of an epoch.

    On a processor each batch is read before its step is taken. A GPU would stand still meanwhile,
    so there several are read at once; steps after a bad batch are computed, but stop the
    run before anything is written (`read` comes before that).

    Attributes:
        every: how many batches are read at once.
        batches: how many were added; utterances: how many those had.
        sums: of the loss, its cross entropy and its consistency part.
        share: the consistency loss's part of the gradient (`loss.backward`).
    """

    every: int
    batches: int = 0
    utterances: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    share: float = 0.0
    _unread: list[tuple[Sequence[str], Tensor]] = field(default_factory=list, repr=False)

    def add(self, utts: Sequence[str], loss: Loss, norm: Tensor) -> None:
        """Take in a batch of some utterances: its loss and the norm of its gradient.

        Raises:
            UserError: as `read`.
        """
        parts = (loss.total(), loss.cross_entropy, loss.consistency, norm)
        self._unread.append((utts, torch.stack([part.detach().float() for part in parts])))
        self.batches += 1
        if len(self._unread) >= self.every:
            self.read()

    def read(self) -> None:
        """Read what has been added.

        Raises:
            UserError: a loss or a gradient is not finite; it names the batch's utterances.
        """
        if not self._unread:
            return
        rows = torch.stack([row for _, row in self._unread]).tolist()
        for (utts, _), (*losses, norm) in zip(self._unread, rows, strict=True):
            for what, value in (("loss", losses[0]), ("gradient", norm)):
                if not math.isfinite(value):
                    raise UserError(
                        f"the {what} is not finite in the batch of {', '.join(utts)}; try a lower "
                        "lr, clip_grad=1 or precision=float32"
                    )
            self.sums = [s + value * len(utts) for s, value in zip(self.sums, losses, strict=True)]
            self.utterances += len(utts)
        self._unread.clear()

    def row(self) -> dict[str, float]:
        """The means, as the history names them."""
        self.read()
        loss, cross_entropy, consistency = (value / self.utterances for value in self.sums)
        return {
            "train_loss": loss,
            "train_ce": cross_entropy,
            "train_con": consistency,
            "con_share": self.share,
        }

    def state(self) -> dict[str, float | list[float]]:
        """What `restore` needs to go on after a kill; reads first."""
        self.read()
        return {
            "batches": self.batches,
            "utterances": self.utterances,
            "sums": self.sums,
            "share": self.share,
        }
