"""Archives: what is written is read back; whatever is wrong with one is named."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.kaldi.archive import HEADER, Header, entry
from cfia.kaldi.archives import Archives
from cfia.kaldi.table import write_table
from tests.support.archives import load_features, read_matrices
from tests.support.payload import Payload

Matrices = dict[str, NDArray[np.float32]]


def matrices(n: int = 5, dim: int = 7) -> Matrices:
    rng = np.random.default_rng(0)
    return {
        f"sprecherin-ä{i}": rng.normal(size=(3 + 4 * i, dim)).astype(np.float32) for i in range(n)
    }


def write(directory: Path, values: Matrices, compression_method: int = 0) -> dict[str, str]:
    """An archive and a feats.scp in `directory`; returns the scp."""
    directory.mkdir(parents=True, exist_ok=True)
    archive, scp = b"", {}
    for utterance, matrix in values.items():
        data, offset = entry(utterance, matrix, compression_method)
        scp[utterance] = f"{directory / 'raw.1.ark'}:{len(archive) + offset}"
        archive += data
    (directory / "raw.1.ark").write_bytes(archive)
    write_table(directory / "feats.scp", scp)
    return scp


def test_float32_is_read_back_exactly_through_odd_paths(tmp_path: Path) -> None:
    values = matrices()
    directory = tmp_path / "mit Leerzeichen: [ü] {1}"
    write(directory, values)
    wanted = list(values)[::-1][:3]
    found = load_features(directory / "feats.scp", wanted)
    assert list(found) == wanted
    for utterance in wanted:
        assert found[utterance].dtype == np.float32
        assert np.array_equal(found[utterance], values[utterance])


def test_kaldiio_reads_our_archives(tmp_path: Path) -> None:
    values = matrices()
    write(tmp_path, values)
    loaded = dict(kaldiio.load_ark(str(tmp_path / "raw.1.ark")))
    assert loaded.keys() == values.keys()
    assert all(np.array_equal(loaded[u], values[u]) for u in values)


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=4),
    method=st.sampled_from([0, 2, 3]),
)
def test_any_shape_survives_every_compression(
    shapes: list[tuple[int, int]], method: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(1)
    values = {f"u{i}": rng.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}
    found = read_matrices(write(tmp_path_factory.mktemp("ark"), values, method))
    tolerance = {0: 0.0, 2: 0.05, 3: 1e-3}[method]
    for utterance, matrix in values.items():
        assert np.abs(found[utterance] - matrix).max() <= tolerance


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 9), method=st.sampled_from(range(8)))
def test_a_header_tells_the_size_of_each_kind_that_kaldi_writes(
    rows: int, columns: int, method: int
) -> None:
    """Kaldi's methods 1 to 7 of compression; 0 here: float64, as its programs write on request."""
    values = np.random.default_rng(2).normal(size=(rows, columns))
    buffer = io.BytesIO()
    matrix = values.astype(np.float32) if method else values
    kaldiio.save_ark(buffer, {"u": matrix}, compression_method=method or None)
    data = buffer.getvalue()[2:]
    header = Header.of(data[:HEADER])
    assert (header.rows, header.columns, header.size) == (rows, columns, len(data))


@pytest.mark.parametrize("mapped", [False, True])
def test_an_archive_may_be_larger_than_four_gib(tmp_path: Path, mapped: bool) -> None:
    values = matrices()
    data, at = b"", {}
    for utterance, matrix in values.items():
        encoded, offset = entry(utterance, matrix)
        at[utterance] = 5 * 2**30 + len(data) + offset
        data += encoded
    path = tmp_path / "raw.1.ark"
    with open(path, "wb") as handle:
        handle.seek(5 * 2**30)  # of which nothing is on the disk
        handle.write(data)
    with Archives({u: f"{path}:{offset}" for u, offset in at.items()}) as archives:
        archives.mapped = mapped
        for utterance, matrix in values.items():
            assert archives.shape(utterance) == matrix.shape
            assert np.array_equal(archives.read(utterance), matrix)
    utterance, offset = next(iter(at.items()))
    assert np.array_equal(kaldiio.load_mat(f"{path}:{offset}"), values[utterance])


def test_compression_makes_archives_smaller(tmp_path: Path) -> None:
    values = {"u": np.random.default_rng(0).normal(size=(400, 80)).astype(np.float32)}
    size = {}
    for method in (0, 2, 3):
        write(tmp_path / str(method), values, method)
        size[method] = (tmp_path / str(method) / "raw.1.ark").stat().st_size
    assert size[2] < 0.3 * size[0]
    assert size[3] < 0.6 * size[0]


def test_a_missing_utterance_is_named(tmp_path: Path) -> None:
    write(tmp_path, matrices())
    with pytest.raises(UserError, match=r"feats\.scp lacks nobody and 1 more"):
        load_features(tmp_path / "feats.scp", ["nobody", "sprecherin-ä0", "no-one"])


@pytest.mark.parametrize("method", [0, 2, 3])
def test_a_cut_archive_is_an_error_that_names_the_utterance(tmp_path: Path, method: int) -> None:
    values = matrices()
    scp = write(tmp_path, values, method)
    ark = tmp_path / "raw.1.ark"
    whole = ark.read_bytes()
    last = list(values)[-1]
    for size in range(int(scp[last].rpartition(":")[2]), len(whole), 11):
        ark.write_bytes(whole[:size])
        with pytest.raises(UserError, match=f"no whole matrix of {last}"):
            load_features(tmp_path / "feats.scp", values)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    write(tmp_path, matrices())
    (tmp_path / "raw.1.ark").unlink()
    with pytest.raises(UserError, match=r"raw\.1\.ark cannot be read"):
        load_features(tmp_path / "feats.scp", ["sprecherin-ä0"])


@pytest.mark.parametrize("value", ["/tmp/x.ark", "copy-feats scp:x ark:- |", "x.ark:7[0:3]"])
def test_an_entry_without_an_offset_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="scp entry of u is"):
        read_matrices({"u": value})


def test_a_pickle_in_an_archive_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.ark").write_bytes(
        b"u PKL" + pickle.dumps(Payload(open, str(tmp_path / "ran"), "w"))
    )
    with pytest.raises(UserError, match="holds no whole matrix of u"):
        read_matrices({"u": f"{tmp_path}/evil.ark:2"})
    assert not (tmp_path / "ran").exists()
