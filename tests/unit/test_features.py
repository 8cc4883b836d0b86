"""Features as training reads them: the same values wherever they are kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cfia.errors import UserError
from cfia.kaldi.archive import entry
from cfia.kaldi.table import write_table
from cfia.training.dataset import Dataset, averaging, global_statistics
from cfia.training.feature_cache import Room, keep
from cfia.training.features import FeatureSet, InMemory, OnDevice, OnDisk, Shaping
from cfia.training.free_memory import Free

AS_THEY_ARE = Shaping(average=1, longest=512)


def write(directory: Path, matrices: Sequence[NDArray[np.float32]], method: int = 0) -> Path:
    """Two archives and a feats.scp of the utterances u0, u1, ..., the last one first."""
    archives, scp = {"a.ark": b"", "b.ark": b""}, {}
    for i, matrix in reversed(list(enumerate(matrices))):
        name = "a.ark" if i % 2 else "b.ark"
        data, offset = entry(f"u{i}", matrix, method)
        scp[f"u{i}"] = f"{directory / name}:{len(archives[name]) + offset}"
        archives[name] += data
    for name, data in archives.items():
        (directory / name).write_bytes(data)
    write_table(directory / "feats.scp", scp)
    return directory / "feats.scp"


def kept(scp: Path, utts: Sequence[str], shaping: Shaping, cache: str) -> FeatureSet:
    room = Room(torch.device("cpu"), Free(10**6, "on the GPU"), jobs=1)
    (features,) = keep([OnDisk(scp, utts, shaping)], cache, room=room)
    return features


def batch(features: FeatureSet, *indices: int) -> Tensor:
    filled = features.empty(indices)
    features.fill(filled, indices)
    return features.gather(filled)


def draw(*lengths: int, dim: int = 5) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=(length, dim)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("method", [0, 2, 3])
@pytest.mark.parametrize("shaping", [AS_THEY_ARE, Shaping(3, 4), Shaping(1, 6)])
def test_every_cache_gives_the_same_bytes(tmp_path: Path, method: int, shaping: Shaping) -> None:
    matrices = draw(7, 1, 12, 30)
    scp = write(tmp_path, matrices, method)
    utts = ["u2", "u0", "u3", "u1"]
    found = {cache: kept(scp, utts, shaping, cache) for cache in ("gpu", "ram", "mmap", "none")}
    assert isinstance(found["gpu"], OnDevice)
    assert isinstance(found["ram"], InMemory)
    assert isinstance(found["mmap"], OnDisk)
    assert len({features.kept for features in found.values()}) == 4
    for features in found.values():
        assert features.dim == 5
        assert features.lengths.tolist() == [shaping.length(n) for n in (12, 7, 30, 1)]
        assert torch.equal(batch(features, 3, 0), batch(found["ram"], 3, 0))
        assert [len(features[i]) for i in range(4)] == features.lengths.tolist()
        assert all(np.array_equal(features[i], found["ram"][i]) for i in range(4))
    if method == 0:
        for index, utt in enumerate(utts):
            wanted = shaping(matrices[int(utt[1:])])
            np.testing.assert_array_equal(found["mmap"][index], wanted)


def test_frames_are_averaged_then_cut() -> None:
    (matrix,) = draw(7, dim=2)
    np.testing.assert_allclose(
        Shaping(3, 9)(matrix), [matrix[:3].mean(0), matrix[3:6].mean(0), matrix[6]], rtol=1e-6
    )
    np.testing.assert_array_equal(Shaping(3, 2)(matrix), Shaping(3, 9)(matrix)[:2])
    assert Shaping(3, 2)(matrix).dtype == np.float32
    assert [Shaping(3, 4).length(n) for n in (1, 3, 4, 12, 13)] == [1, 1, 2, 4, 4]


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 40), average=st.integers(2, 9), longest=st.integers(1, 9),
    exponent=st.integers(-40, 37),
)  # fmt: skip
def test_means_keep_their_bits(frames: int, average: int, longest: int, exponent: int) -> None:
    """Published results were made with these."""
    rng = np.random.default_rng(frames)
    matrix = np.ldexp(rng.normal(size=(frames, 3)), exponent).astype(np.float32)
    matrix *= rng.integers(0, 2, size=matrix.shape)  # zeros of both signs
    shaped = Shaping(average, longest)(matrix)
    cut = matrix[: average * longest]
    starts = np.arange(0, len(cut), average)
    counts = np.diff(np.append(starts, len(cut)))[:, None]
    wanted = (np.add.reduceat(cut, starts, axis=0) / counts).astype(np.float32)
    assert shaped.tobytes() == wanted.tobytes()


def test_a_batch_is_zero_beyond_each_length(tmp_path: Path) -> None:
    matrices = draw(2, 5, 3)
    utts = ["u0", "u1", "u2"]
    features = kept(write(tmp_path, matrices), utts, AS_THEY_ARE, "mmap")
    data = Dataset(utts, torch.tensor([0, 1, 0]), {"audio": features})
    found = data.batch([2, 0])["audio"]
    assert found.data.shape == (2, 3, 5)
    assert found.lengths.tolist() == [3, 2]
    np.testing.assert_array_equal(found.data[0], matrices[2])
    np.testing.assert_array_equal(found.data[1, :2], matrices[0])
    assert not found.data[1, 2].any()


def test_statistics_over_all_frames(tmp_path: Path) -> None:
    matrices = draw(5, 2)
    for cache in ("gpu", "ram", "none"):
        features = kept(write(tmp_path, matrices), ["u0", "u1"], AS_THEY_ARE, cache)
        mean, std = global_statistics(features)
        together = np.concatenate(matrices)
        torch.testing.assert_close(mean, torch.from_numpy(together.mean(0)))
        torch.testing.assert_close(std, torch.from_numpy(together.std(0)))


@pytest.mark.parametrize("cache", ["gpu", "ram", "mmap", "none"])
def test_what_is_not_finite_is_named_when_it_is_read(tmp_path: Path, cache: str) -> None:
    good, bad = draw(4, 4)
    bad[2, 1] = np.nan
    scp = write(tmp_path, [good, bad])
    with pytest.raises(UserError, match=r"^u1: its features in .* hold NaN or infinity"):
        kept(scp, ["u0", "u1"], AS_THEY_ARE, cache).fill(torch.empty(2, 4, 5), [0, 1])


def test_another_width_and_a_cut_archive_are_named_at_once(tmp_path: Path) -> None:
    scp = write(tmp_path, [*draw(4), *draw(4, dim=6)])
    with pytest.raises(UserError, match="frames of u1 have 6 dimensions and those of u0 5"):
        kept(scp, ["u0", "u1"], AS_THEY_ARE, "mmap")
    with pytest.raises(UserError, match=r"feats\.scp lacks u7; run the stage"):
        kept(scp, ["u7"], AS_THEY_ARE, "mmap")
    (tmp_path / "b.ark").write_bytes((tmp_path / "b.ark").read_bytes()[:-1])
    with pytest.raises(UserError, match="holds no whole matrix of u0"):
        kept(scp, ["u0"], AS_THEY_ARE, "mmap")


@pytest.mark.parametrize("cache", ["mmap", "none"])
def test_an_archive_that_is_cut_while_it_is_read_is_named(tmp_path: Path, cache: str) -> None:
    """To touch what a mapped file no longer has would kill the process without a word."""
    scp = write(tmp_path, draw(4000, 4000))
    features = kept(scp, ["u0", "u1"], Shaping(1, 4000), cache)
    batch(features, 0, 1)
    os.truncate(tmp_path / "b.ark", 10)
    with pytest.raises(UserError, match=r"b\.ark holds no whole matrix of u0 at byte 3; run the"):
        batch(features, 0, 1)


def test_archives_that_vanish_while_they_are_read_are_read_on(tmp_path: Path) -> None:
    scp = write(tmp_path, draw(4, 4))
    features = kept(scp, ["u0", "u1"], AS_THEY_ARE, "mmap")
    before = batch(features, 0, 1)
    for archive in tmp_path.glob("*.ark"):
        archive.unlink()
    assert torch.equal(batch(features, 0, 1), before)


def test_frames_are_averaged_to_about_a_rate() -> None:
    assert [averaging(0.01, rate) for rate in (0, 25, 33, 100, 200)] == [1, 4, 3, 1, 1]
