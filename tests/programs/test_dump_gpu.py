"""Dumps on a GPU: a pretended one everywhere, and a real one where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfia.kaldi.table import read_table, write_table
from cfia.training import device as devices
from cfia.training.device import Device
from cfia.upstream import build, checkpoint, dump
from cfia.upstream.base import Upstream
from cfia.upstream.batches import make_batches
from cfia.upstream.choice import Choice
from cfia.upstream.dump_plan import ALL_LAYERS_TIMES, GPU_TIMES, Plan
from cfia.upstream.encoding import encode
from tests.support import tiny_emotion2vec, tiny_models
from tests.support.absent_device import META, pretended_encoders, watched
from tests.support.dump_data import contents, features, noise, plan, run_dump, write_data

ENCODERS = ["whisper", "bert", "emotion2vec", "wav2vec2", "wavlm"]
GPU = "--ngpu=1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny models under the names of their upstreams."""
    directory = tmp_path_factory.mktemp("models")
    for name in ("whisper", "bert", "wav2vec2", "wavlm"):
        getattr(tiny_models, f"save_{name}")(directory / name)
    tiny_emotion2vec.save(directory / "emotion2vec")
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Utterances of 0.3 to 2.3 s, and one of 31 s; three batches are one for a GPU."""
    waves = {f"s0-{i:02d}": noise(0.3 + 0.1 * i, seed=i) for i in range(20)}
    waves["s0-long"] = noise(31, seed=99)
    directory = write_data(tmp_path_factory.mktemp("corpus") / "data", waves)
    words = {u: f"the {'cat ' * (i % 9)}sat" for i, u in enumerate(waves)}
    write_table(directory / "text", words)
    return directory


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_SECONDS", 4)
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_CHARACTERS", 60)


def flags_of(models: Path, upstream: str) -> list[str]:
    return ["--model", str(models / upstream)]


def made(directory: Path, data: Path, models: Path, upstream: str, *ngpu: str) -> Path:
    """A dump, planned and made with these flags."""
    jobs = plan(directory, data, *flags_of(models, upstream), *ngpu, upstream=upstream, nj=2)
    run_dump(directory, data, jobs, *ngpu)
    return directory


def difference(first: Path, second: Path) -> float:
    one, other = features(first), features(second)
    assert {u: m.shape for u, m in one.items()} == {u: m.shape for u, m in other.items()}
    return max(float(np.abs(one[u] - other[u]).max()) for u in one)


@pytest.mark.parametrize("upstream", ENCODERS)
def test_a_pretended_gpu_gives_what_the_processor_gives(
    data: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str
) -> None:
    here = made(tmp_path / "cpu", data, models, upstream)
    with pretended_encoders(monkeypatch):
        there = made(tmp_path / "gpu", data, models, upstream, GPU)
        again = made(tmp_path / "elsewhere" / "gpu", data, models, upstream, GPU)
    assert contents(there) == contents(again)
    assert difference(here, there) < 1e-4
    origins = [read_table(directory / "utt2origin") for directory in (here, there)]
    assert not set(origins[0].values()) & set(origins[1].values())


@pytest.mark.parametrize("upstream", ["wavlm", "bert"])
def test_batches_of_a_gpu_are_larger_and_those_that_were_begun_stay(
    data: Path, models: Path, tmp_path: Path, upstream: str
) -> None:
    def batches(name: str, *flags: str) -> list[list[str]]:
        model = flags_of(models, upstream)
        plan(tmp_path / name, data, *model, *flags, upstream=upstream)
        return Plan.load(tmp_path / name).batches

    small, large, all_layers = (
        batches("cpu"),
        batches("gpu", GPU),
        batches("all", GPU, "--layer=all"),
    )
    lengths = {u: float(seconds) for u, seconds in read_table(data / "utt2dur").items()}
    budget = 4.0
    if upstream == "bert":
        lengths, budget = {u: len(x) for u, x in read_table(data / "text").items()}, 60.0
    for found, times in ((small, 1), (large, GPU_TIMES), (all_layers, ALL_LAYERS_TIMES)):
        assert found == make_batches(lengths, times * budget)
    assert len(small) > len(all_layers) > len(large)
    assert batches("cpu", GPU) == small


def test_without_a_network_batches_are_the_processors(data: Path, tmp_path: Path) -> None:
    plan(tmp_path / "cpu", data)
    plan(tmp_path / "gpu", data, GPU)
    assert (tmp_path / "cpu" / "plan.json").read_bytes() == (
        tmp_path / "gpu" / "plan.json"
    ).read_bytes()


@pytest.mark.parametrize("upstream", ["emotion2vec", "wavlm"])
def test_a_batch_waits_for_the_gpu_once_when_its_features_come_back(
    models: Path, monkeypatch: pytest.MonkeyPatch, upstream: str
) -> None:
    """The other encoders have masks that transformers looks at, once in a batch."""
    fetched: list[int] = []

    class Absent(Device):
        apart = True

        def fetch(self, tensors: Sequence[Tensor]) -> list[Tensor]:
            fetched.append(len(tensors))
            return [torch.zeros(x.shape) for x in tensors]

    monkeypatch.setattr(devices, "of", Absent)
    monkeypatch.setattr(checkpoint, "place", lambda model, device: model.to(META))
    encoder = build(Choice("audio", upstream, str(models / upstream)), device="cuda")
    with watched(monkeypatch) as found:
        shapes = [matrix.shape for matrix in encoder.extract([noise(2), noise(1)])]
    assert shapes == [(99, encoder.description.dim), (49, encoder.description.dim)]
    assert fetched == [2]
    assert sum(found.counts.values()) > 50


# A GPU without the memory for a batch.


class Small(Upstream):
    """An encoder on a GPU that has no memory for more than a few items."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def extract(self, batch: Sequence[Any]) -> list[NDArray[np.float32]]:
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return [np.full((1, 1), item, np.float32) for item in batch]


@pytest.mark.parametrize(
    ("most", "sizes"), [(9, [9]), (5, [9, 5, 4]), (2, [9, 5, 3, 2, 1, 2, 4, 2, 2])]
)
def test_a_batch_is_halved_until_there_is_memory(most: int, sizes: list[int]) -> None:
    upstream = Small(most)
    found, together = encode(upstream, list(range(9)))
    assert [float(matrix[0, 0]) for matrix in found] == list(range(9))
    assert together == (most >= 9)
    assert upstream.sizes == sizes


def test_what_has_no_memory_for_one_is_an_error_and_so_is_another_error() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        encode(Small(0), [1, 2, 3])

    class Faulty(Small):
        def extract(self, batch: Sequence[Any]) -> list[NDArray[np.float32]]:
            self.sizes.append(len(batch))
            raise RuntimeError("shapes do not fit")

    faulty = Faulty(0)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        encode(faulty, [1, 2])
    assert faulty.sizes == [2]


def test_halves_have_no_origin_for_others_to_take(
    data: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bits are those of other batches than the plan says."""
    given: Callable[..., Upstream] = build

    def small(*arguments: Any) -> Upstream:
        upstream = given(*arguments)
        extract = upstream.extract

        def few(batch: Sequence[Any]) -> list[NDArray[np.float32]]:
            if len(batch) > 8:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return extract(batch)

        upstream.extract = few  # type: ignore[method-assign]
        return upstream

    whole = made(tmp_path / "whole", data, models, "wavlm")
    monkeypatch.setattr(dump, "build", small)
    with pretended_encoders(monkeypatch):
        halved = made(tmp_path / "halved", data, models, "wavlm", GPU)
    assert difference(whole, halved) < 1e-4
    rows = read_table(halved / "utt2origin")
    together = [batch for batch in Plan.load(halved).batches if len(batch) <= 8]
    assert sorted(rows) == sorted(u for batch in together for u in batch)
    assert len(rows) < len(features(halved))


@pytest.mark.gpu
@pytest.mark.parametrize("upstream", ENCODERS)
def test_a_gpu_gives_what_the_processor_gives(
    data: Path, models: Path, tmp_path: Path, upstream: str
) -> None:
    here = made(tmp_path / "cpu", data, models, upstream)
    there, again = (made(tmp_path / n / "gpu", data, models, upstream, GPU) for n in "ab")
    assert contents(there) == contents(again)
    assert difference(here, there) < 1e-3


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_is_given_halves(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    upstream = build(Choice("audio", "wavlm", str(models / "wavlm")), device="cuda")
    items = [noise(20, seed=i) for i in range(64)]
    upstream.extract(items[:4])
    needed = torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(2 * needed)
        found, together = encode(upstream, items)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(found) == 64
    assert not together
    assert "takes half of them" in caplog.text
