"""Trainings that are killed at random moments: they end with the bytes of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cfia import marker
from cfia.bin import train
from cfia.training import checkpoint, trainer
from cfia.training.trainer import WITHIN_EPOCH, Trainer
from tests.support.experiment import SYSTEMS, command, history, make, plan
from tests.support.killed import Killed

# What a training imports when it runs; an optimiser imports torch's compiler.
PRELOADED = [
    "cfia.training.trainer",
    "cfia.provenance",
    "torch._dynamo",
    "torch.utils.tensorboard",
]
KILLS = 20


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("an experiment"), n=72)


def planned(experiment: Path, directory: Path, more: str = "", **options: str) -> Path:
    """A training in `directory`; all that draws random numbers or has a state of its own is on."""
    args = (
        "hidden=8 channels=4 features=3 batch_size=4 lr=5e-3 dropout=0.2 normalisation=global "
        "schedule=plateau patience=12 epochs=14 modality_dropout=0.4 unimodal_loss=0.5"
    )
    place, config = directory / "cfia_net_a_t" / "session", SYSTEMS / "cfia_net.yaml"
    return plan(experiment, place, f"{args} {more}", force=False, config=config, **options)


@pytest.fixture(scope="module")
def undisturbed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = planned(experiment, tmp_path_factory.mktemp("undisturbed"))
    train.main(command(training))
    return training


def contents(directory: Path) -> dict[str, bytes]:
    """The bytes of all files but of those that say when they were made."""
    names = {path.name for path in directory.iterdir() if path.is_file()}
    dated = {"provenance.yaml", marker.NAME}  # a marker holds the digest of the other
    return {name: (directory / name).read_bytes() for name in names - dated}


def changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def started(arguments: list[str]) -> Any:
    """Start a training in a process of its own."""
    # A server that has the imports behind it starts one in milliseconds.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, *PRELOADED])
    process = processes.Process(target=train.main, args=(arguments,))
    process.start()
    return process


def kill(process: Any) -> None:
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kill_at_a_random_moment(process: Any, directory: Path, rng: np.random.Generator) -> None:
    """Kill a training after a few more batches, and somewhere in the next one."""
    path = directory / WITHIN_EPOCH
    for _ in range(rng.integers(1, 5)):
        before = changed(path)
        while changed(path) in (before, 0):
            assert process.is_alive()
            time.sleep(0.0002)
    time.sleep(float(rng.uniform(0, 0.01)))
    kill(process)


def position(directory: Path) -> tuple[int, int]:
    """The finished epochs and, of the next one, the finished batches."""
    found = []
    for name in ("checkpoint.pt", WITHIN_EPOCH):
        if (directory / name).exists():
            state = checkpoint.load(directory / name, checkpoint.State)
            found.append((len(state["history"]), state.get("totals", {}).get("batches", 0)))
    return max(found)


def test_twenty_kills_change_no_byte(experiment: Path, undisturbed: Path, tmp_path: Path) -> None:
    directory, rng = planned(experiment, tmp_path), np.random.default_rng(5)
    arguments = [*command(directory), "--checkpoint_seconds", "0"]
    positions = []
    for _ in range(KILLS):
        process = started(arguments)
        kill_at_a_random_moment(process, directory, rng)
        positions.append(position(directory))
    assert positions == sorted(positions), "finished batches were lost"
    assert sum(batches > 0 for _, batches in positions) > KILLS // 2, "few kills within an epoch"
    train.main(arguments)
    assert contents(directory) == contents(undisturbed)


@pytest.mark.parametrize(("within", "expected"), [(False, (1, 0)), (True, (5, 3))])
def test_a_network_too_large_for_a_checkpoint_an_epoch_goes_on_from_the_last(
    experiment: Path, undisturbed: Path, tmp_path: Path, within: bool, expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """That of the first epoch, or one within the sixth, in which it is killed."""
    directory, train_batch = planned(experiment, tmp_path), Trainer._train_batch

    def die_in_the_sixth_epoch(self: Trainer, *batch: Any) -> None:
        train_batch(self, *batch)
        if len(self.history) == 5 and self.totals.batches == 3 and within:
            self._write_within_epoch()
        if len(self.history) == 5 and self.totals.batches == 5:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(trainer, "SMALL", 0)
        patch.setattr(trainer, "BYTES_A_SECOND", 1)  # so that none is due for hours
        patch.setattr(Trainer, "_train_batch", die_in_the_sixth_epoch)
        train.main([*command(directory), "--checkpoint_seconds", "3600"])
    assert position(directory) == expected
    assert len(history(directory)) == 5
    train.main(command(directory))
    assert contents(directory) == contents(undisturbed)


def test_kills_while_settings_are_tried_and_after_one_was_chosen(
    experiment: Path, tmp_path: Path
) -> None:
    more, options = "schedule=constant epochs=3 batch_size=16", {"tune": "2", "refit": "true"}
    whole, directory = (
        planned(experiment, tmp_path / name, more, **options) for name in ("whole", "killed")
    )
    train.main(command(whole))
    for name in ("tune1/checkpoint.pt", "tune2/best.pt", "tuned.yaml", "checkpoint.pt"):
        assert not (directory / name).exists()
        process = started(command(directory))
        while not (directory / name).exists():
            assert process.is_alive()
            time.sleep(0.0002)
        kill(process)
    train.main(command(directory))
    for place in (".", "selection", "tune1", "tune2"):
        assert contents(directory / place) == contents(whole / place)


def test_a_kill_before_the_epochs_file_was_removed(
    experiment: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The state of an epoch that checkpoint.pt has already: it must not be trained again."""
    directory = planned(experiment, tmp_path)
    shutil.copytree(undisturbed, directory)
    state = checkpoint.load(directory / "checkpoint.pt", checkpoint.State)
    early = {**state, "history": state["history"][:-1], "totals": {}, "random": {}}
    checkpoint.save(directory / WITHIN_EPOCH, early)
    (directory / f".{WITHIN_EPOCH}.tmp.1").write_bytes(b"half")
    recorded = marker.read(directory)
    assert recorded is not None
    marker.start(directory, recorded.options, recorded.inputs)
    train.main(command(directory))
    assert contents(directory) == contents(undisturbed)
