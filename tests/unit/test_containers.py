"""The sound of films and other containers, through the real ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from cfia.errors import UserError
from cfia.kaldi.audio import duration, header, load

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE = 8000


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of 5.1 sound, 0.1 in the first channel and 0.2 in the third, in containers."""
    directory = tmp_path_factory.mktemp("films: 'é'")
    sound = f"aevalsrc='0.1*sin(2500*t)|0|0.2*sin(2500*t)|0|0|0':s={RATE}:d=0.5:c=5.1"
    picture = "color=s=32x32:r=10:d=0.7"
    inputs = ["-f", "lavfi", "-i", sound, "-f", "lavfi", "-i", picture]
    both = ["-map", "0:a", "-map", "1:v", "-c:v", "mpeg4"]
    outputs = [
        *both, "-c:a", "aac", "-movflags", "+faststart", str(directory / "a.MP4"),
        "-map", "0:a", "-c:a", "aac", str(directory / "a.m4a"),
        *both, "-c:a", "pcm_s16le", str(directory / "a.avi"),
        "-map", "1:v", "-c:v", "mpeg4", str(directory / "picture.mp4"),
    ]  # fmt: skip
    subprocess.run([FFMPEG, "-v", "error", *inputs, *outputs], check=True)
    whole = (directory / "a.MP4").read_bytes()
    (directory / "cut.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    (directory / "words.webm").write_text("no film\n")
    return directory


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize(("name", "slack"), [("a.MP4", 1200), ("a.m4a", 1200), ("a.avi", 0)])
def test_the_sound_of_a_container_is_mixed_down(films: Path, name: str, slack: int) -> None:
    said = header(str(films / name))
    assert (said.rate, said.channels) == (RATE, 6)
    samples, rate = load(str(films / name))
    assert (len(samples), rate) == (round(said.seconds * RATE), RATE)
    assert 4000 <= len(samples) <= 4000 + slack  # AAC fills its last frame up
    expected = 0.3 / 6 * np.sin(2500 * np.arange(4000) / RATE)
    assert np.corrcoef(samples[:4000], expected)[0, 1] > 0.95
    assert np.abs(samples).max() == pytest.approx(0.05, rel=0.2)
    np.testing.assert_array_equal(load(str(films / name), 0.1, 0.3)[0], samples[800:2400])
    assert duration(str(films / name)) == said.seconds


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("picture.mp4", r"cannot be read \(there is no sound in it\); replace it, or leave it out"),
        ("cut.mp4", r"cannot be read \(ffmpeg: [^\[]*\); replace it, or"),
        ("words.webm", r"cannot be read \(ffmpeg: [^\[]*\); replace it, or"),
        ("nothing.mp4", "no such audio file"),
    ],
)
def test_a_container_without_whole_sound(films: Path, name: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        load(str(films / name))
    assert "\n" not in str(caught.value)


def test_without_ffmpeg_it_is_said_what_to_install(
    films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(films))
    with pytest.raises(UserError, match=r"a\.avi is read by ffmpeg, .* \(apt-get.*; install it"):
        header(str(films / "a.avi"))
