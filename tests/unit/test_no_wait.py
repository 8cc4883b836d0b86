"""A step on a GPU never waits for what the GPU computes, nor reads what nobody has written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfia.config import Config, load
from cfia.model import registry
from cfia.training.dataset import Dataset
from cfia.training.feeding import feeding
from cfia.training.loss import objective
from cfia.training.trainer import Trainer, TrainerInputs
from tests.support import networks
from tests.support.absent_device import META, WaitsError, Watched, watched
from tests.support.drawn_features import Drawn

SYSTEMS = sorted((Path(__file__).resolve().parents[2] / "conf" / "systems").glob("*.yaml"))
DIMS = {"audio": 5, "text": 7}

# One system of each network that is trained by steps, and what takes other branches of it.
NETWORKS = {load([path]).model.network: path for path in SYSTEMS if path.stem != "probe"}
MORE = ("cfia_net_paper", "cfia_net_mended", "merbench_attention", "superb")
ONE_TOO = ("cfia_net_paper",)  # systems that are looked at on one modality, too
CASES = [
    pytest.param(path, names, id=f"{path.stem}_{'_'.join(names)}")
    for path in sorted({*NETWORKS.values(), *(path for path in SYSTEMS if path.stem in MORE)})
    for names in networks.inputs(load([path]).model.network)[: 1 + (path.stem in ONE_TOO)]
]


def small(path: Path, names: tuple[str, ...]) -> Config:
    hidden = networks.hidden(load([path]).model.network, 6)
    sizes = [f"hidden={hidden}", "channels=4", "features=3", "reduction=1", "max_frames=12"]
    sizes += ["layers=1", "class_weights=balanced", "optimizer=rmsprop"]
    alone = ["modality_dropout=0", "unimodal_loss=0"] if len(names) == 1 else []
    return load([path], [*sizes, *alone])


def dataset(names: tuple[str, ...]) -> Dataset:
    features = {name: Drawn(6, DIMS[name]) for name in names}
    return Dataset([f"u{i}" for i in range(6)], torch.arange(6) % 4, dict(features))


@pytest.mark.parametrize(("path", "names"), CASES)
def test_no_step_waits_for_the_device(
    path: Path, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = dataset(names), small(path, names)
    inputs = TrainerInputs(
        directory=tmp_path, identity="", config=config, seed=1, selection="last",
        classes=list("abcd"), train=data, select=None, device=META,
    )  # fmt: skip
    # The first batch of an epoch measures the gradients' ratio, which CFIA-Net alone has.
    trainer, plan = Trainer(inputs), [[5, 2, 0], [1, 3]][: 2 if "cfia" in path.stem else 1]
    trainer.modality_dropout.begin(1)
    with watched(monkeypatch) as found:
        with feeding(data, plan, META) as batches:
            for indices, batch in zip(plan, batches, strict=True):
                trainer._train_batch(indices, batch)
        trainer.model.eval()
        with torch.no_grad(), feeding(data, plan, META) as batches:
            for batch in batches:
                trainer.model(batch)
        with pytest.raises((WaitsError, RuntimeError)):  # what an epoch ends with does wait
            trainer.totals.read()
    assert trainer.totals.batches == len(plan)
    assert sum(found.counts.values()) > 40


def step(path: Path, names: tuple[str, ...]) -> list[Tensor]:
    """The loss of a batch, and its gradients."""
    config = small(path, names).model
    torch.manual_seed(0)
    model = registry.build({name: DIMS[name] for name in names}, 4, config)
    output = model(dataset(names).batch([5, 2, 0]))
    loss = objective(output, torch.tensor([1, 0, 2]), config.consistency, None).total()
    loss.backward()  # type: ignore[no-untyped-call]
    return [loss, *(weight.grad for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.parametrize(("path", "names"), CASES)
def test_no_step_reads_what_nobody_has_written(
    path: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `fill_uninitialized_memory`, which training does without, that is NaN."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        filled = step(path, names)
        monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
        for found, wanted in zip(step(path, names), filled, strict=True):
            assert torch.isfinite(wanted).all()
            assert torch.equal(found, wanted)
    finally:
        torch.set_deterministic_debug_mode(before)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).all()),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x + torch.ones(2).to(x.device),
        lambda x: x.copy_(torch.ones(2)),
    ],
)
def test_what_would_wait_is_seen(wait: object) -> None:
    assert callable(wait)
    with Watched(), pytest.raises((WaitsError, RuntimeError)):
        wait(torch.ones(2, device=META))
