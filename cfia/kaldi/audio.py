"""Read the audio of wav.scp entries: files, and commands ending in `|` as in Kaldi."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from cfia.errors import UserError

# How far a segment may reach beyond the end of its recording, in seconds: Kaldi's
# extract-segments has the same default, for times that were rounded.
OVERSHOOT = 0.5

# What libsndfile notes where the data chunk of a WAV promises more bytes than there are.
_CUT = re.compile(r"^data\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
# A program that writes WAV into a pipe cannot know the length, and promises about this much.
_LENGTH_UNKNOWN = 0x7F000000
# A size that is off by a few bytes is a careless header; this share of the data, a lost end.
_CUT_TOLERANCE = 0.01


def load(
    spec: str, start: float | None = None, end: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Read one wav.scp entry, or from `start` to `end` seconds of it.

    Several channels are averaged. Nothing is resampled.

    Returns:
        Samples in [-1, 1], float32 of shape (samples,), and the sampling rate in Hz.

    Raises:
        UserError: the file is missing, empty or unreadable, the command fails, there are no
            samples, a sample is not finite, or the segment lies outside the recording.
    """
    with _open(spec) as sound:
        rate = int(sound.samplerate)
        first, last = _bounds(spec, sound.frames, rate, start, end)
        try:
            sound.seek(first)
            samples = sound.read(last - first, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _unreadable(spec, error.error_string) from None
    if len(samples) < last - first:
        raise _unreadable(spec, "it ends before its header says")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise _unreadable(spec, "a sample is not a finite number")
    return np.ascontiguousarray(mono), rate


class Header(NamedTuple):
    """The facts in front of the samples."""

    seconds: float
    rate: int  # Hz
    channels: int
    subtype: str  # of libsndfile, such as PCM_16


def header(spec: str) -> Header:
    """Read the header of one wav.scp entry; a pipe is run for it.

    Raises:
        UserError: as `load`, but damage behind the header is noticed only where a WAV is cut short.
    """
    with _open(spec) as sound:
        rate = int(sound.samplerate)
        return Header(float(sound.frames / rate), rate, int(sound.channels), str(sound.subtype))


def duration(spec: str) -> float:
    """Read the length of one wav.scp entry in seconds; see `header`."""
    return header(spec).seconds


def is_pipe(spec: str) -> bool:
    """Whether a wav.scp entry is a command."""
    return spec.rstrip().endswith("|")


@contextlib.contextmanager
def _open(spec: str) -> Iterator[soundfile.SoundFile]:
    source = _run(spec) if is_pipe(spec) else _existing(spec)
    try:
        sound = soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        raise _unreadable(spec, error.error_string) from None
    with sound:
        if sound.frames <= 0:
            raise _unreadable(spec, "it holds no samples")
        if _is_cut(sound):
            raise _unreadable(spec, "it ends before its header says")
        yield sound


def _is_cut(sound: soundfile.SoundFile) -> bool:
    """Whether a WAV's end is missing, which libsndfile does not report."""
    noted = _CUT.search(sound.extra_info)
    if noted is None:
        return False
    promised, present = map(int, noted.groups())
    return promised < _LENGTH_UNKNOWN and promised - present > _CUT_TOLERANCE * promised


def _existing(spec: str) -> str:
    path = Path(spec)
    try:
        if path.stat().st_size == 0:
            raise _unreadable(spec, "the file is empty")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such audio file {spec}; correct wav.scp or the corpus") from None
    if path.is_dir():
        raise UserError(f"{spec} is a directory, not an audio file; correct wav.scp")
    return spec


def _run(spec: str) -> io.BytesIO:
    """Run a wav.scp command; its standard output is WAV, as in Kaldi."""
    command = spec.rstrip()[:-1]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else "it printed no message"
        raise UserError(
            f"the wav.scp command `{spec}` failed with code {done.returncode} ({last}); run it by "
            "hand and correct wav.scp"
        )
    if not done.stdout:
        raise _unreadable(spec, "it gave no output")
    return io.BytesIO(done.stdout)


def _bounds(
    spec: str, frames: int, rate: int, start: float | None, end: float | None
) -> tuple[int, int]:
    """Compute the first sample of a segment and the one after its last."""
    first = 0 if start is None else round(start * rate)
    last = frames if end is None else round(end * rate)
    if last > frames + OVERSHOOT * rate or not 0 <= first < min(last, frames):
        until = "its end" if end is None else f"{end} s"
        raise UserError(
            f"{spec}: the segment from {start or 0} s to {until} "
            f"does not lie in the recording of {frames / rate:.3f} s; correct the file segments"
        )
    return first, min(last, frames)


def _unreadable(spec: str, why: str) -> UserError:
    source = f"the wav.scp command `{spec}`" if is_pipe(spec) else f"the audio file {spec}"
    return UserError(
        f"{source} cannot be read ({why.rstrip('.')}); replace it, or leave it out with "
        "--skip_bad true"
    )
