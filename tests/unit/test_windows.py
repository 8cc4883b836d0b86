"""Windows of recordings, read from files of any length in little memory."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.inference.windows import Piece, pieces, windows
from cfia.kaldi import stream
from cfia.kaldi.stream import InMemory

LIMIT = 10.0


def cut(samples: np.ndarray, rate: int, window: float | None, hop: float | None) -> list[Piece]:
    return list(pieces(InMemory(samples, rate), windows(LIMIT, window, hop)))


@settings(max_examples=30)
@example(445, 99, 1.5, 1.0, 1)
@example(231, 50, 0.90625, 1.0, 1)
@given(
    st.integers(1, 2000),
    st.sampled_from([50, 64, 99]),
    st.floats(0.2, 10),
    st.floats(0.1, 1),
    st.integers(1, 2),
)
def test_windows_cover_a_recording(
    count: int, rate: int, window: float, share: float, channels: int
) -> None:
    samples = np.random.default_rng(0).uniform(0.1, 0.2, (count, channels)).astype(np.float32)
    size, slack = round(window * rate), round(0.1 * rate)
    size += share * window * rate > size  # as long as the hop
    cuts = cut(samples, rate, window, share * window)
    spans = [(round(piece.start * rate), round(piece.end * rate)) for piece in cuts]
    for piece, (start, end) in zip(cuts, spans, strict=True):
        expected = samples[start:end].mean(axis=1, dtype=np.float32)
        np.testing.assert_allclose(piece.samples, expected, rtol=1e-6)
        assert piece.whole == (len(cuts) == 1)
    assert spans[0][0] == 0
    assert spans[-1][1] == count
    assert all(later[0] <= earlier[1] for earlier, later in itertools.pairwise(spans))
    if count > size:
        assert all(end - start == size for start, end in spans[:-1])
        assert size <= spans[-1][1] - spans[-1][0] <= size + slack
        for number, (start, _) in enumerate(spans[:-1]):
            assert abs(start - number * share * window * rate) < 0.51


def test_what_a_network_takes_at_once_is_read_at_once() -> None:
    rate = 100
    samples = np.ones(2001, np.float32) / 2
    assert [piece.end for piece in cut(samples[:1000], rate, None, None)] == [10.0]
    spans = [(piece.start, piece.end) for piece in cut(samples[:1001], rate, None, None)]
    assert spans == [(0, 8), (2.01, 10.01)]
    spans = [(piece.start, piece.end) for piece in cut(samples, rate, None, None)]
    assert spans == [(0, 8), (4, 12), (8, 16), (12, 20.01)]
    assert [piece.end for piece in cut(samples[:805], rate, 8, 4)] == [8.05]


def test_windows_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"longer than the 10\.00 s that this model takes"):
        windows(LIMIT, 10.5)
    with pytest.raises(UserError, match="would leave something out"):
        windows(LIMIT, 2, 3)
    with pytest.raises(UserError, match="would leave something out"):
        windows(LIMIT, None, 9)


def test_two_hours_take_no_more_memory_than_a_few_windows(tmp_path: Path) -> None:
    rate, seconds = 4000, 7200
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as sound:
        sound.write(np.zeros(1))
    size = 2 * rate * seconds
    with path.open("r+b") as file:  # a file with a hole takes no room on the disk
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(44 + size)
    tracemalloc.start()
    try:
        with stream.opened(path) as source:
            ends = [piece.end for piece in pieces(source, windows(LIMIT))]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(ends), ends[-1]) == (1799, seconds)
    assert peak < 10 * 4 * rate * LIMIT
