"""Training on a GPU: a pretended one everywhere, and a real one where there is one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cfia.bin import train
from cfia.config import load
from cfia.experiment import read
from cfia.training.determinism import set_up
from cfia.training.evaluate import logits
from cfia.training.feature_cache import Room
from cfia.training.feeding import feeding
from cfia.training.trainer import WITHIN_EPOCH, Trainer, TrainerInputs
from cfia.training.training import Training, trained_network
from tests.support import networks
from tests.support.absent_device import pretended
from tests.support.experiment import SMALL, SYSTEMS, command, fitted, make, plan

NGPU = "1"
SIZES = (
    "channels=4 features=3 batch_size=8 lr=5e-3 normalisation=global layers=1 reduction=1 epochs=2"
)
# One system of each network that is trained by steps.
EACH = {
    load([path]).model.network: path
    for path in sorted(SYSTEMS.glob("*.yaml"))
    if path.stem != "probe"
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("an experiment"))


def bytes_of(training: Path) -> dict[str, bytes]:
    """What must not depend on where features are kept, or on how often a training was killed."""
    names = ("best.pt", "checkpoint.pt", "history.csv", "posteriors.tsv")
    return {name: (training / name).read_bytes() for name in names}


def test_a_pretended_gpu_trains_to_the_same_bytes(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    args = f"{SMALL} epochs=2 modality_dropout=0.4 unimodal_loss=0.5"
    wanted = bytes_of(fitted(plan(experiment, tmp_path / "ram", args, feature_cache="ram")))
    for cache in ("auto", "none"):
        with pretended(monkeypatch):
            training = plan(experiment, tmp_path / cache, args, feature_cache=cache)
            assert bytes_of(fitted(training)) == wanted
    assert "feature_cache auto: gpu, for 0.00 GB of features are at most 33%" in caplog.text
    assert "0.00 GB on the GPU" in caplog.text


def test_jobs_on_one_gpu_are_recorded_where_there_are_several(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    args = f"{SMALL} epochs=1"
    assert "jobs_per_gpu" not in read(plan(experiment, tmp_path / "one", args).parent).run
    several = plan(experiment, tmp_path / "several", args, jobs_per_gpu="3")
    assert read(several.parent).run["jobs_per_gpu"] == 3
    with pretended(monkeypatch):
        train.main(command(several))
    assert "33% of the 1.00 GB that are free on the GPU / 3 jobs" in caplog.text
    plan(experiment, tmp_path / "several", args)  # another number changes no result
    train.main(command(several))
    assert "already trained, skipping" in caplog.text


def on_gpu(experiment: Path, directory: Path, path: Path) -> Path:
    """Plan a training of a system on the GPU."""
    network = load([path]).model.network
    dumps = networks.inputs(network)[0]
    args = f"{SIZES} hidden={networks.hidden(network, 8)}"
    return plan(experiment, directory, args, config=path, dumps=dumps, ngpu=NGPU)


@pytest.mark.gpu
@pytest.mark.parametrize("network", EACH)
def test_a_gpu_gives_the_same_bytes_twice(experiment: Path, tmp_path: Path, network: str) -> None:
    """And nothing that is computed lacks a deterministic form, which would be an error."""
    first, second = (
        bytes_of(fitted(on_gpu(experiment, tmp_path / name, EACH[network]))) for name in "ab"
    )
    assert first == second


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_where_features_are_kept_changes_no_bit_on_a_gpu(
    experiment: Path, tmp_path: Path, precision: str
) -> None:
    args = f"{SMALL} epochs=2 precision={precision}"
    found = {
        cache: bytes_of(
            fitted(plan(experiment, tmp_path / cache, args, ngpu=NGPU, feature_cache=cache))
        )
        for cache in ("gpu", "ram", "mmap", "none")
    }
    assert found == dict.fromkeys(found, found["ram"])


def written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@pytest.mark.gpu
def test_a_killed_training_goes_on_to_the_same_bytes_on_a_gpu(
    experiment: Path, tmp_path: Path
) -> None:
    args = f"{SMALL} epochs=20 modality_dropout=0.4 unimodal_loss=0.5"
    wanted = bytes_of(fitted(plan(experiment, tmp_path / "a", args, ngpu=NGPU)))
    training = plan(experiment, tmp_path / "b", args, ngpu=NGPU)
    program = [sys.executable, "-m", "cfia.bin.train", *command(training)]
    for _ in range(2):
        begun = written(training / WITHIN_EPOCH)
        process = subprocess.Popen([*program, "--checkpoint_seconds", "0"])
        while written(training / WITHIN_EPOCH) in (0, begun) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -9
    assert bytes_of(fitted(training)) == wanted


@pytest.mark.gpu
@pytest.mark.parametrize("network", EACH)
def test_a_gpu_gives_the_posteriors_of_the_processor(
    experiment: Path, tmp_path: Path, network: str
) -> None:
    trained = fitted(on_gpu(experiment, tmp_path, EACH[network]))
    training = Training(read(trained.parent), fold=1, seed=1)
    data = training.dataset("test")
    model = trained_network(training, data.dims())
    size = training.config.train.batch_size
    here, there = (
        torch.softmax(logits(model.to(device), data, size, device), dim=1)
        for device in (torch.device("cpu"), set_up(1, int(NGPU)))
    )
    torch.testing.assert_close(there, here, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("network", EACH)
@pytest.mark.parametrize("cache", ["gpu", "ram"])
def test_no_step_waits_for_the_gpu(
    experiment: Path, tmp_path: Path, network: str, cache: str
) -> None:
    from cfia.training.dataset import keep_together

    device = set_up(1, int(NGPU))
    planned = on_gpu(experiment, tmp_path / "a", EACH[network])
    training = Training(read(planned.parent), fold=1, seed=1)
    parts = {"train": training.dataset("train", "none")}
    data = keep_together(parts, cache, Room.on(device, 1))["train"]
    trainer = Trainer(
        TrainerInputs(
            directory=tmp_path, identity="", config=training.config, seed=1, selection="last",
            classes=list(training.experiment.classes), train=data, select=None, device=device,
        )
    )  # fmt: skip
    trainer.modality_dropout.begin(1)
    batches = trainer._plan(1)
    trainer.model.train()
    mode = torch.cuda.get_sync_debug_mode()
    with feeding(data, batches, device) as features:
        try:
            for place, (indices, batch) in enumerate(zip(batches, features, strict=True)):
                trainer._train_batch(indices, batch)
                if place == 0:  # the first step may let libraries begin
                    torch.cuda.set_sync_debug_mode("error")
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    trainer.totals.read()
