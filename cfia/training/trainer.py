"""The training loop: epochs, selection by validation, checkpoints, exact resume."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from cfia.config import Config
from cfia.files import atomic_write
from cfia.model import registry
from cfia.training import batches, checkpoint
from cfia.training.dataset import Dataset, global_statistics
from cfia.training.determinism import random_state, restore_random_state, seed_epoch
from cfia.training.epoch_totals import Figures
from cfia.training.evaluate import evaluate
from cfia.training.loss import Loss, backward, balanced_weights, objective
from cfia.training.optimizer import make_optimizer, make_scheduler, step_epoch

log = logging.getLogger(__name__)

WITHIN_EPOCH = "within_epoch.pt"  # where an epoch is; removed at its end
BATCHES_READ_AT_ONCE = 16  # from a GPU

# Rows of history.csv, in the order of its columns.
Row = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What one training is given.

    Attributes:
        directory: where checkpoint.pt, best.pt, history.csv and tensorboard/ go.
        selection: "valid" or "test": the epoch with the best UA on `select`; "last": the last.
        select: the utterances that `selection` looks at; the test fold for "test" alone.
        checkpoint_seconds: how long a training goes on without writing where it is in an epoch.
        layers: how many layers stand side by side in the features of each modality.
    """

    directory: Path
    config: Config
    seed: int
    selection: str
    classes: list[str]
    train: Dataset
    select: Dataset
    device: torch.device
    checkpoint_seconds: float = 60.0
    layers: dict[str, int] = field(default_factory=dict)


class Trainer:
    """Trains one network; made anew, it goes on at the last batch that was written."""

    def __init__(self, run: Run):
        self.run = run
        self.model = build_model(run).to(run.device)
        config = run.config.train
        self.optimizer = make_optimizer(self.model.parameters(), config)
        self.scheduler = make_scheduler(self.optimizer, config)
        self.class_weights = None
        if config.class_weights == "balanced":
            weights = balanced_weights(run.train.targets, len(run.classes))
            self.class_weights = weights.to(run.device)
        self.history: list[Row] = []
        self.figures = self._no_figures()
        self.written = time.monotonic()  # when a checkpoint was

    def fit(self) -> None:
        """Train to the end, writing best.pt, checkpoint.pt and history.csv after each epoch."""
        from torch.utils.tensorboard import SummaryWriter

        self._resume()
        board = SummaryWriter(
            str(self.run.directory / "tensorboard"), purge_step=len(self.history) + 1
        )
        epochs = range(len(self.history) + 1, self.run.config.train.epochs + 1)
        progress = tqdm(epochs, desc=self.run.directory.name, unit="epoch", disable=None)
        started, first = time.monotonic(), len(self.history)
        for epoch in progress:
            if self._out_of_patience():
                break
            self._epoch(epoch, board)
            seconds = (time.monotonic() - started) / (epoch - first)
            self._report(seconds, (epochs[-1] - epoch) * seconds)
        board.close()
        best = self.history[self._best() - 1]
        log.info(
            "best epoch %d of %d by %s: WA %.2f, UA %.2f on %s",
            best["epoch"], len(self.history), self.run.selection, best["valid_wa"],
            best["valid_ua"], "the test fold (oracle)" if self._oracle() else "validation",
        )  # fmt: skip

    def _epoch(self, epoch: int, board: Any) -> None:
        if self.figures.batches == 0:
            seed_epoch(self.run.seed, epoch)
        lr = self.optimizer.param_groups[0]["lr"]
        row: Row = {"epoch": epoch, "lr": lr, **self._train_epoch(epoch)}
        scores = evaluate(self.model, self.run.select, self.run.config, self.run.device)
        row.update(valid_loss=scores.loss, valid_wa=scores.wa, valid_ua=scores.ua)
        self.history.append(row)
        step_epoch(self.scheduler, scores.ua)
        self._write()
        for name, value in row.items():
            board.add_scalar(name.replace("_", "/", 1), value, epoch)

    def _train_epoch(self, epoch: int) -> Row:
        """Train on all batches of an epoch, or on those that a kill has left."""
        self.model.train()
        plan = self._plan(epoch)
        while self.figures.batches < len(plan):
            self._train_batch(plan[self.figures.batches])
            if time.monotonic() - self.written >= self.run.checkpoint_seconds:
                self._write_within_epoch()
        row = self.figures.row()
        self.figures = self._no_figures()
        return row

    def _plan(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch."""
        data, size, seed = self.run.train, self.run.config.train.batch_size, self.run.seed
        if self.run.config.train.batch_by == "none" or self.run.config.model.mask == "none":
            return batches.shuffled(len(data), size, seed, epoch)
        return batches.shuffled_by_length(data.guiding_lengths(), size, seed, epoch)

    def _train_batch(self, indices: list[int]) -> None:
        loss = self._loss(indices)
        self.optimizer.zero_grad(set_to_none=True)
        if self.figures.batches == 0:  # once an epoch is enough to see the trend
            self.figures.share = backward(loss, list(self.model.parameters()))
        else:
            loss.total().backward()  # type: ignore[no-untyped-call]
        largest = self.run.config.train.clip_grad or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        self.figures.add([self.run.train.utts[i] for i in indices], loss, norm)
        self.optimizer.step()

    def _loss(self, indices: list[int]) -> Loss:
        features = self.run.train.batch(indices, self.run.device)
        targets = self.run.train.targets[indices].to(self.run.device)
        mixed = self.run.config.train.precision == "bf16"
        with torch.autocast(self.run.device.type, torch.bfloat16, enabled=mixed):
            return objective(
                self.model(features), targets, self.run.config.model.consistency, self.class_weights
            )

    def _no_figures(self) -> Figures:
        return Figures(every=1 if self.run.device.type == "cpu" else BATCHES_READ_AT_ONCE)

    def _best(self) -> int:
        """The selected epoch: the best UA, ties by the lower loss, then the earlier one."""
        if self.run.selection == "last":
            return len(self.history)
        keys = [(-row["valid_ua"], row["valid_loss"]) for row in self.history]
        return keys.index(min(keys)) + 1

    def _out_of_patience(self) -> bool:
        if self.run.selection == "last" or not self.history:
            return False
        return len(self.history) - self._best() >= self.run.config.train.patience

    def _oracle(self) -> bool:
        return self.run.selection == "test"

    def _report(self, seconds: float, left: float) -> None:
        row = self.history[-1]
        log.info(
            "epoch %d/%d  loss %.4f  consistency %.1e of the gradient  %s loss %.4f WA %.2f UA %.2f"
            "  best UA at epoch %d  %.1f s an epoch, at most %s left",
            row["epoch"], self.run.config.train.epochs, row["train_loss"], row["con_share"],
            "test (oracle)" if self._oracle() else "valid", row["valid_loss"], row["valid_wa"],
            row["valid_ua"], self._best(), seconds, tqdm.format_interval(left),
        )  # fmt: skip

    def _write(self) -> None:
        """First best.pt, then checkpoint.pt: a kill between the two repeats the epoch."""
        best = self._best()
        if best == len(self.history):
            state = {key: value.cpu() for key, value in self.model.state_dict().items()}
            content = {"epoch": best, "model": state, "classes": self.run.classes}
            checkpoint.save(self.run.directory / "best.pt", content)
        checkpoint.save(self.run.directory / "checkpoint.pt", self._state())
        write_history(self.run.directory / "history.csv", self.history, best)
        (self.run.directory / WITHIN_EPOCH).unlink(missing_ok=True)
        self.written = time.monotonic()

    def _write_within_epoch(self) -> None:
        state = {
            **self._state(),
            "figures": self.figures.state(),
            "random": random_state(self.run.device),
        }
        checkpoint.save(self.run.directory / WITHIN_EPOCH, state)
        self.written = time.monotonic()

    def _state(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
        }

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        checkpoint.load_state(self.model, state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.history = state["history"]

    def _resume(self) -> None:
        for left in self.run.directory.glob(".*.pt.tmp.*"):
            left.unlink()  # of a process that was killed
        path = self.run.directory / "checkpoint.pt"
        if path.exists():
            self._restore(checkpoint.load(path, self.run.device), path)
            # A kill may have come between the two files.
            write_history(self.run.directory / "history.csv", self.history, self._best())
            log.info("%s: going on after epoch %d", self.run.directory, len(self.history))
        self._resume_within_epoch()

    def _resume_within_epoch(self) -> None:
        path = self.run.directory / WITHIN_EPOCH
        if not path.exists():
            return
        state = checkpoint.load(path, self.run.device)
        if len(state["history"]) != len(self.history):  # a kill came just before it was removed
            path.unlink()
            return
        self._restore(state, path)
        self.figures = replace(self._no_figures(), **state["figures"])
        restore_random_state(state["random"], self.run.device)
        log.info(
            "%s: going on after batch %d of epoch %d",
            self.run.directory, self.figures.batches, len(self.history) + 1,
        )  # fmt: skip


def build_model(run: Run) -> nn.Module:
    """The network for a run's features, its weights drawn from the run's seed."""
    seed_epoch(run.seed, 0)
    model = registry.build(run.train.dims(), len(run.classes), run.config.model, run.layers)
    if run.config.model.normalisation == "global":
        for name, features in run.train.features.items():
            mean, std = global_statistics(features)
            normaliser = model.get_submodule(f"encoders.{name}.normaliser")
            normaliser.load_state_dict({"mean": mean, "std": std})
    return model


def write_history(path: Path, history: list[Row], best: int) -> None:
    """Write history.csv: a row per epoch, `selected` 1 for the selected epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*history[0], "selected"], lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({**row, "selected": int(row["epoch"] == best)})
    with atomic_write(path) as handle:
        handle.write(text.getvalue())
