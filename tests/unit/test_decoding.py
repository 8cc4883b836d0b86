"""Recordings that other processes decode: the same samples, and the same sentences."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cfia.errors import UserError
from cfia.upstream import decoding as module
from cfia.upstream.decoding import MOST, Recording, decoding, processes
from tests.support.dump_data import noise


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Of several rates; the third has no file, and the fourth is silent."""
    found = []
    for i, rate in enumerate((16000, 8000, 16000, 44100, 22050)):
        path = tmp_path / f"{i}.wav"
        if i != 2:
            soundfile.write(path, noise(0.5 + i, rate, i) * (i != 3), rate)
        found.append(Recording(str(path), None if i else 0.1, None if i else 0.4, 16000))
    return found


def results(recordings: list[Recording], number: int) -> list[object]:
    """The samples and remark of each, or the sentence of its error."""
    found: list[object] = []
    with decoding(number) as decode:
        for wait in [decode(recording) for recording in recordings]:
            try:
                samples, remark = wait()
                assert samples.dtype == np.float32
                found.append((samples.tobytes(), remark))
            except UserError as error:
                found.append(str(error))
    return found


def test_processes_give_what_one_gives(recordings: list[Recording]) -> None:
    alone = results(recordings, 0)
    assert "no such audio file" in str(alone[2])
    assert "silent" in str(alone[3])
    assert results(recordings, 3) == alone
    assert not multiprocessing.active_children()


def test_without_processes_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "late.wav"
    with decoding(0) as decode:
        wait = decode(Recording(str(path), None, None, None))
        soundfile.write(path, noise(1), 8000)
        assert len(wait().samples) == 16000


@pytest.mark.parametrize(("free", "number"), [(1, 0), (2, 1), (MOST, MOST - 1), (64, MOST)])
def test_only_for_a_gpu_and_only_processors_that_are_left(
    monkeypatch: pytest.MonkeyPatch, free: int, number: int
) -> None:
    monkeypatch.setattr(module, "processors", lambda: free)
    assert processes("cuda", "audio") == number
    assert processes("cpu", "audio") == processes("cuda", "text") == 0
