"""The training loop: epochs, selection by validation, checkpoints, exact resume."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from cfia.config import Config
from cfia.errors import UserError
from cfia.experiment import ORACLE, SHARES_SPEAKERS
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.model.pretrained import load_state
from cfia.model.transfer import to_device
from cfia.training import batches, board, checkpoint
from cfia.training.dataset import Dataset, global_statistics
from cfia.training.determinism import random_state, restore_random_state, seed_epoch
from cfia.training.epoch_totals import EpochTotals
from cfia.training.evaluate import evaluate
from cfia.training.feeding import feeding
from cfia.training.history import HISTORY, Row, write_history
from cfia.training.loss import Loss, backward, balanced_weights, objective, unimodal_loss
from cfia.training.modality_dropout import ModalityDropout
from cfia.training.optimizer import make_optimizer, make_scheduler, step_epoch
from cfia.training.training import CHECKPOINT, NETWORK

log = logging.getLogger(__name__)

WITHIN_EPOCH = "within_epoch.pt"  # the checkpoint in the middle of an epoch; removed by the next
# A large network whose epochs are short would write more than it trains.
BYTES_A_SECOND = 5e6  # of checkpoints, at most, where they are not SMALL
SMALL = 1e6  # bytes of a checkpoint

_WORDS = {"ua": "UA", "wa": "WA", "loss": "loss"}  # of `best_by`


@dataclass(frozen=True)
class TrainerInputs:
    """All that one training depends on.

    Attributes:
        directory: where checkpoint.pt, best.pt, history.csv and tensorboard/ go.
        identity: what tells this training from all others; its checkpoints bear it.
        selection: "valid" or "test": the epoch with the best UA on `select`; "last": the last.
        select: the utterances that `selection` looks at; the test fold for "test" alone, and None
            where no part validates, for "last" alone.
        checkpoint_seconds: how often a checkpoint is written within an epoch, and at least at the
            ends of epochs.
        layers: how many layers are side by side in the features of each modality.
        validation_shared: whether `select` has speakers of `train`, as the test has not.
    """

    directory: Path
    identity: str
    config: Config
    seed: int
    selection: str
    classes: list[str]
    train: Dataset
    select: Dataset | None
    device: torch.device
    checkpoint_seconds: float = 60.0
    layers: dict[str, int] = field(default_factory=dict)
    validation_shared: bool = False


class Trainer:
    """The network of one training, its optimiser, and the history of its epochs.

    A new one for the same directory goes on behind the last batch of the last checkpoint.
    """

    def __init__(self, inputs: TrainerInputs):
        self.inputs = inputs
        self.model = build_model(inputs).to(inputs.device)
        config = inputs.config.train
        self.optimizer = make_optimizer(self.model.parameters(), config)
        self.scheduler = make_scheduler(self.optimizer, config)
        self.modality_dropout = ModalityDropout(
            self.model, config.modality_dropout, len(inputs.train), inputs.seed
        )
        self.class_weights = None
        if config.class_weights == "balanced":
            weights = balanced_weights(inputs.train.targets, len(inputs.classes))
            self.class_weights = weights.to(inputs.device)
        self.history: list[Row] = []  # a row for each finished epoch
        self.totals = self._no_totals()  # of the batches of the current epoch
        self.unsaved: checkpoint.Network | None = None  # the best, if best.pt is not yet it
        self.written, self.size = time.monotonic(), 0  # of the last checkpoint

    def fit(self) -> None:
        """Train to the end, writing history.csv after each epoch, and checkpoints where due."""
        self._resume()
        curves = board.Board(self.inputs.directory / board.DIRECTORY, len(self.history) + 1)
        epochs = range(len(self.history) + 1, self.inputs.config.train.epochs + 1)
        progress = tqdm(epochs, desc=self.inputs.directory.name, unit="epoch", disable=None)
        started, first = time.monotonic(), len(self.history)
        for epoch in progress:
            if self._out_of_patience():
                break
            self._epoch(epoch, curves)
            seconds = (time.monotonic() - started) / (epoch - first)
            self._report(seconds, (epochs[-1] - epoch) * seconds)
        curves.close()
        log.info("%s", self._outcome())

    def _epoch(self, epoch: int, curves: board.Board) -> None:
        # 1. Seed dropout from the seed and the epoch alone, so that no epoch depends on how many
        #    were trained before it in this process. In the middle of an epoch the generators have
        #    the states of the checkpoint.
        if self.totals.batches == 0:
            seed_epoch(self.inputs.seed, epoch)
        # 2. Train on all batches, at the learning rate that the schedule has come to.
        lr = self.optimizer.param_groups[0]["lr"]
        row: Row = {"epoch": epoch, "lr": lr, **self._train_epoch(epoch)}
        # 3. Score the utterances that select the epoch. The columns are called valid_ with
        #    `selection: test` too; the log says then that they are of the test fold.
        #    Without a validation part there are no such columns.
        row |= self._scores()
        self.history.append(row)
        # 4. Move the schedule on, before the checkpoint, which holds its state for the next epoch.
        step_epoch(self.scheduler, row.get(f"valid_{self.inputs.config.train.plateau_by}"))
        # 5. Write what a killed job goes on from.
        self._write()
        curves.add(row, epoch)

    def _scores(self) -> Row:
        if self.inputs.select is None:
            return {}
        scores = evaluate(self.model, self.inputs.select, self.inputs.config, self.inputs.device)
        return {"valid_loss": scores.loss, "valid_wa": scores.wa, "valid_ua": scores.ua}

    def _train_epoch(self, epoch: int) -> Row:
        """Train on all batches of an epoch, or on those that a killed job has left."""
        self.model.train()
        self.modality_dropout.begin(epoch)
        # The same seed and epoch give the same batches, so their count says where to go on.
        plan = self._plan(epoch)[self.totals.batches :]
        with feeding(self.inputs.train, plan, self.inputs.device) as features:
            for indices, batch in zip(plan, features, strict=True):
                self._train_batch(indices, batch)
                if time.monotonic() - self.written >= self.inputs.checkpoint_seconds:
                    self._write_within_epoch()
        row = self.totals.row()
        self.totals = self._no_totals()
        return row

    def _plan(self, epoch: int) -> list[list[int]]:
        """List the batches of an epoch, each as indices of training utterances."""
        data, size, seed = self.inputs.train, self.inputs.config.train.batch_size, self.inputs.seed
        if self.inputs.config.train.batch_by == "none" or self.inputs.config.model.mask == "none":
            return batches.shuffled(len(data), size, seed, epoch)
        return batches.shuffled_by_length(data.guiding_lengths(), size, seed, epoch)

    def _train_batch(self, indices: list[int], features: dict[str, Sequences]) -> None:
        # Forward: features to the parts of the loss (Eq. 12).
        loss = self._loss(indices, features)
        # Backward. To measure how much of the gradient is the consistency loss costs another
        # backward pass; the first batch of an epoch is enough to see the trend.
        self.optimizer.zero_grad(set_to_none=True)
        if self.totals.batches == 0:
            self.totals.con_grad_ratio = backward(loss, list(self.model.parameters()))
        else:
            loss.total().backward()  # type: ignore[no-untyped-call]
        # Clip. Without a limit too, since the norm tells whether the gradient is finite.
        largest = self.inputs.config.train.clip_grad or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        # Add the loss up, or stop where it or the gradient is not finite; then take the step.
        self.totals.add([self.inputs.train.utts[i] for i in indices], loss, norm)
        self.optimizer.step()

    def _loss(self, indices: list[int], features: dict[str, Sequences]) -> Loss:
        targets = to_device(self.inputs.train.targets[indices], self.inputs.device)
        weights, config = self.inputs.config.model.consistency, self.inputs.config.train
        missing, mixed = self.modality_dropout.of_batch(indices), config.precision == "bf16"
        with torch.autocast(self.inputs.device.type, torch.bfloat16, enabled=mixed):
            if not config.unimodal_loss:
                return objective(self.model(features), targets, weights, self.class_weights)
            output = self.model(features, unimodal=True)
            loss = objective(output, targets, weights, self.class_weights)
            own = unimodal_loss(output, targets, self.class_weights, missing)
        loss.unimodal = config.unimodal_loss * own
        return loss

    def _no_totals(self) -> EpochTotals:
        return EpochTotals(at_once=self.inputs.device.type == "cpu")

    def _best(self) -> int:
        """Select the best epoch by `best_by`, ties by the lower loss, then the earlier one."""
        if self.inputs.selection == "last":
            return len(self.history)
        by = self.inputs.config.train.best_by
        best = [row["valid_loss"] if by == "loss" else -row[f"valid_{by}"] for row in self.history]
        keys = [(value, row["valid_loss"]) for value, row in zip(best, self.history, strict=True)]
        return keys.index(min(keys)) + 1

    def _out_of_patience(self) -> bool:
        if self.inputs.selection == "last" or not self.history:
            return False
        return len(self.history) - self._best() >= self.inputs.config.train.patience

    def _report(self, seconds: float, left: float) -> None:
        row = self.history[-1]
        scores = ""
        if self.inputs.select is not None:
            by = self.inputs.config.train.best_by
            scores = f"{columns_in_words(row, self.inputs)}  best {_WORDS[by]} at epoch "
            scores += f"{self._best()}  "
        log.info(
            "epoch %d/%d  loss %.4f  consistency %.1e of the gradient  %s%.1f s an epoch, at most "
            "%s left",
            row["epoch"], self.inputs.config.train.epochs, row["train_loss"], row["con_grad_ratio"],
            scores, seconds, tqdm.format_interval(left),
        )  # fmt: skip

    def _outcome(self) -> str:
        """Say which epoch was taken, and how good it was on what selected it."""
        if self.inputs.select is None:
            return f"epoch {len(self.history)}, the last, is taken; no part validated"
        best = self.history[self._best() - 1]
        epoch = f"best epoch {best['epoch']} of {len(self.history)} by {self.inputs.selection}"
        return f"{epoch}: {scores_in_words(best, self.inputs)}"

    def _write(self) -> None:
        best = self._best()
        if best == len(self.history):
            state = {
                key: value.to("cpu", copy=True) for key, value in self.model.state_dict().items()
            }
            self.unsaved = checkpoint.Network(epoch=best, model=state, classes=self.inputs.classes)
        if self._is_due():
            self._save(CHECKPOINT, self._state())
            (self.inputs.directory / WITHIN_EPOCH).unlink(missing_ok=True)
        write_history(self.inputs.directory / HISTORY, self.history, best)

    def _is_due(self) -> bool:
        """Whether to write a checkpoint at the end of an epoch."""
        if len(self.history) == self.inputs.config.train.epochs or self._out_of_patience():
            return True
        least = self.size / BYTES_A_SECOND if self.size > SMALL else 0
        return time.monotonic() - self.written >= min(least, self.inputs.checkpoint_seconds)

    def _write_within_epoch(self) -> None:
        state = self._state()
        state["totals"], state["random"] = self.totals.state(), random_state(self.inputs.device)
        self._save(WITHIN_EPOCH, state)

    def _save(self, name: str, state: checkpoint.State) -> None:
        """Write best.pt, then a checkpoint: killed between the two, a job repeats what is since."""
        if self.unsaved:
            checkpoint.save(self.inputs.directory / NETWORK, self.unsaved)
            self.unsaved = None
        path = self.inputs.directory / name
        checkpoint.save(path, state)
        self.written, self.size = time.monotonic(), path.stat().st_size

    def _state(self) -> checkpoint.State:
        return {
            "training": self.inputs.identity,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
        }

    def _load(self, path: Path) -> checkpoint.State:
        """Read a checkpoint of this training.

        Raises:
            UserError: it is damaged, or of another training.
        """
        state = checkpoint.load(path, checkpoint.State, self.inputs.device)
        if state["training"] != self.inputs.identity:
            raise UserError(
                f"{path} is of another training; run stage 5 (training) with --force true"
            )
        return state

    def _restore(self, state: checkpoint.State, path: Path) -> None:
        load_state(self.model, state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.history = state["history"]

    def _resume(self) -> None:
        checkpoint.remove_unfinished(self.inputs.directory)
        path = self.inputs.directory / CHECKPOINT
        if path.exists():
            self._restore(self._load(path), path)
            log.info("%s: going on after epoch %d", self.inputs.directory, len(self.history))
        self._resume_within_epoch()
        if self.history:  # the job may have been killed before it was written, or long after
            write_history(self.inputs.directory / HISTORY, self.history, self._best())

    def _resume_within_epoch(self) -> None:
        path = self.inputs.directory / WITHIN_EPOCH
        if not path.exists():
            return
        state = self._load(path)
        if len(state["history"]) < len(self.history):  # of an epoch that was finished since
            path.unlink()
            return
        self._restore(state, path)
        self.totals = replace(self._no_totals(), **state["totals"])
        restore_random_state(state["random"], self.inputs.device)
        log.info(
            "%s: going on after batch %d of epoch %d",
            self.inputs.directory, self.totals.batches, len(self.history) + 1,
        )  # fmt: skip


def build_model(inputs: TrainerInputs) -> nn.Module:
    """Build the network for the features of a training, with weights drawn from its seed."""
    seed_epoch(inputs.seed, 0)
    model = registry.build(
        inputs.train.dims(), len(inputs.classes), inputs.config.model, inputs.layers
    )
    if inputs.config.model.normalisation == "global":
        for name, features in inputs.train.features.items():
            mean, std = global_statistics(features)
            normaliser = model.get_submodule(f"encoders.{name}.normaliser")
            normaliser.load_state_dict({"mean": mean, "std": std})
    return model


def columns_in_words(row: Row, inputs: TrainerInputs) -> str:
    """Show the scores of a row of history.csv in a line of progress, under what they are of."""
    part = f"test ({ORACLE})" if inputs.selection == "test" else "valid"
    loss, wa, ua = (row[f"valid_{name}"] for name in ("loss", "wa", "ua"))
    return f"{part} loss {loss:.4f} WA {wa:.2f} UA {ua:.2f}"


def scores_in_words(row: Row, inputs: TrainerInputs) -> str:
    """Say how good a row of history.csv is on the utterances that select, and whose these are."""
    part = "validation"
    if inputs.selection == "test":
        part = f"the test fold ({ORACLE})"
    elif inputs.validation_shared:
        part += f", which {SHARES_SPEAKERS}, as the test does not"
    return f"WA {row['valid_wa']:.2f}, UA {row['valid_ua']:.2f} on {part}"
