"""Audio of wav.scp entries: files, segments and commands."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cfia.errors import UserError
from cfia.kaldi.audio import duration, is_pipe, load, remark

RATE = 16000


@pytest.fixture
def samples() -> np.ndarray:
    """A second of noise, in steps that 16 bits can hold."""
    steps = np.random.default_rng(3).integers(-20000, 20000, RATE)
    return (steps / 32768).astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path, samples: np.ndarray) -> Path:
    path = tmp_path / "ein schöner Ton.wav"
    soundfile.write(path, samples, RATE)
    return path


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, samples: np.ndarray, ending: str) -> None:
    path = tmp_path / f"ein schöner Ton.{ending}"
    soundfile.write(path, samples, RATE)
    found, rate = load(str(path))
    assert rate == RATE
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, samples)
    assert duration(str(path)) == 1.0


def test_channels_are_averaged(tmp_path: Path, samples: np.ndarray) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([samples, 0 * samples], axis=1), 8000)
    found, rate = load(str(path))
    assert rate == 8000
    np.testing.assert_allclose(found, samples / 2, atol=1e-7)
    assert duration(str(path)) == 2.0


def test_a_segment_is_a_piece_of_its_recording(wav: Path, samples: np.ndarray) -> None:
    np.testing.assert_array_equal(load(str(wav), 0.25, 0.5)[0], samples[4000:8000])
    np.testing.assert_array_equal(load(str(wav), 0.75, None)[0], samples[12000:])
    # Times are rounded now and then: as in Kaldi, the end may lie a little beyond.
    np.testing.assert_array_equal(load(str(wav), 0.75, 1.4)[0], samples[12000:])


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.5, 0.2), (1.0, 1.2), (0.0, 2.0)])
def test_a_segment_outside_its_recording(wav: Path, start: float, end: float) -> None:
    with pytest.raises(UserError, match=r"does not lie in the recording of 1\.000 s"):
        load(str(wav), start, end)


def test_a_command_is_run(wav: Path, samples: np.ndarray) -> None:
    spec = f"cat '{wav}' | cat |"
    assert is_pipe(spec)
    assert not is_pipe(str(wav))
    np.testing.assert_array_equal(load(spec)[0], samples)
    np.testing.assert_array_equal(load(spec, 0.25, 0.5)[0], samples[4000:8000])
    assert duration(f"{spec} ") == 1.0


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0])
def test_a_command_need_not_know_the_length_of_its_output(
    wav: Path, samples: np.ndarray, length: int
) -> None:
    data = bytearray(wav.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = struct.pack("<I", length)
    wav.write_bytes(data)
    for spec in (f"cat '{wav}' |", str(wav)):
        np.testing.assert_array_equal(load(spec)[0], samples)
        np.testing.assert_array_equal(load(spec, 0.25, 0.5)[0], samples[4000:8000])
        assert duration(spec) == 1.0


def test_an_empty_recording_with_a_title_is_not_read_to_its_end(wav: Path) -> None:
    soundfile.write(wav, np.zeros(0, np.float32), RATE)
    title = b"LIST" + struct.pack("<I", 8) + b"INFOINAM"
    wav.write_bytes(wav.read_bytes() + title)
    with pytest.raises(UserError, match="it holds no samples"):
        load(str(wav))


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "NMS_ADPCM_16"])
def test_a_coding_that_cannot_be_sought_in(
    tmp_path: Path, samples: np.ndarray, subtype: str
) -> None:
    path = tmp_path / "telephone.wav"
    soundfile.write(path, samples, 8000, subtype=subtype)
    whole, rate = load(str(path))
    assert (len(whole), rate) == (round(duration(str(path)) * 8000), 8000)
    assert np.corrcoef(whole[:RATE], samples)[0, 1] > 0.5
    np.testing.assert_array_equal(load(str(path), 0.5, 0.75)[0], whole[4000:6000])


def test_floating_point_samples_that_were_not_scaled(tmp_path: Path, samples: np.ndarray) -> None:
    path = tmp_path / "float.wav"
    soundfile.write(path, 1.5 * samples, RATE, subtype="FLOAT")  # too loud, as mixes are
    np.testing.assert_array_equal(load(str(path))[0], 1.5 * samples)
    for subtype, factor in (("FLOAT", 32768), ("DOUBLE", 2**31), ("FLOAT", 128)):
        soundfile.write(path, factor * samples, RATE, subtype=subtype)
        with pytest.raises(UserError, match=r"as if they were integers.* or leave it out with"):
            load(str(path))


@pytest.mark.parametrize("rate", [1, 100, 4_000_000])
def test_a_rate_that_is_none(wav: Path, rate: int) -> None:
    data = bytearray(wav.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    wav.write_bytes(data)
    for function in (load, duration):
        with pytest.raises(UserError, match=f"its header says {rate} Hz, which is no sampling"):
            function(str(wav))


def test_channels_that_cancel_out(tmp_path: Path, samples: np.ndarray) -> None:
    path = tmp_path / "balanced.wav"
    soundfile.write(path, np.stack([samples, -samples], axis=1), RATE)
    with pytest.raises(UserError, match="its channels cancel out where they are averaged"):
        load(str(path))
    soundfile.write(path, np.zeros((100, 2)), RATE)  # silence, which is something else
    assert not load(str(path))[0].any()


@pytest.mark.parametrize(
    ("value", "noise", "said"),
    [(0, 0, "are 0"), (0, 1, "are 0"), (8192, 0, "are 0.25, a constant"), (0, 3, None)],
)
def test_silence_is_remarked(tmp_path: Path, value: int, noise: int, said: str | None) -> None:
    path = tmp_path / "silence.wav"
    steps = value + np.random.default_rng(0).integers(-noise, noise + 1, 1000)
    soundfile.write(path, steps.astype(np.int16), RATE)
    found = remark(load(str(path))[0])
    assert (said is None) == (found is None)
    assert said is None or said in str(found)


def test_a_file_that_may_not_be_read(wav: Path) -> None:
    wav.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody
    try:
        for function in (load, duration):
            with pytest.raises(UserError, match=r"you may not read the audio file .*permissions"):
                function(str(wav))
    finally:
        os.seteuid(user)


def test_names_that_the_system_refuses(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    for spec in (str(loop), str(tmp_path / ("x" * 300))):
        with pytest.raises(UserError, match="cannot be read"):
            load(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("echo first >&2; echo the reason >&2; exit 3 |", r"code 3 \(the reason\)"),
        ("false | cat |", r"code 1 \(it printed no message\)"),
        ("true |", "gave no output"),
        ("echo this is no audio |", "cannot be read"),
        ("read -r line || exit 5 |", "code 5"),  # it gets no input of ours to wait for
    ],
)
def test_a_command_that_fails_is_quoted(spec: str, message: str) -> None:
    for function in (load, duration):
        with pytest.raises(UserError, match=message) as error:
            function(spec)
        assert spec in str(error.value)


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("this is no audio\n")
    elif how == "header alone":
        path.write_bytes(data[:30])
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "no samples":
        soundfile.write(path, np.zeros(0, np.float32), RATE)
    elif how == "gone":
        path.unlink()
    elif how == "directory":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "the file is empty"),
        ("text", "cannot be read"),
        ("header alone", "cannot be read"),
        ("cut", "it ends before its header says"),
        ("no samples", "it holds no samples"),
        ("gone", "no such audio file"),
        ("directory", "is a directory"),
    ],
)
def test_a_damaged_file_is_named(wav: Path, how: str, message: str) -> None:
    damaged(wav, how)
    for function in (load, duration):
        with pytest.raises(UserError, match=message) as error:
            function(str(wav))
        assert str(wav) in str(error.value)


def test_damage_behind_a_sound_header_shows_when_the_samples_are_read(
    tmp_path: Path, samples: np.ndarray
) -> None:
    flac = tmp_path / "a.flac"
    soundfile.write(flac, samples, RATE)
    flac.write_bytes(flac.read_bytes()[:8000])
    with pytest.raises(UserError, match=r"a\.flac cannot be read"):
        load(str(flac))
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.array([0.0, np.nan], np.float32), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="not a finite number"):
        load(str(nan))
