"""Read the audio of wav.scp entries: files, and commands ending in `|` as in Kaldi.

libsndfile reads the formats of sound; ffmpeg takes it out of films and what else has some.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from cfia.errors import UserError
from cfia.files import LFS_POINTER

# How far a segment may reach beyond the end of its recording, in seconds: Kaldi's
# extract-segments has the same default, for times that were rounded.
OVERSHOOT = 0.5

# What libsndfile notes where the data chunk of a WAV promises more bytes than there are.
_CUT = re.compile(r"^data\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
# A program that writes WAV into a pipe cannot know the length, and promises about this much.
_LENGTH_UNKNOWN = 0x7F000000
# A size that is off by a few bytes is a careless header; this share of the data, a lost end.
_CUT_TOLERANCE = 0.01

# Rates of speech and music, in Hz; others come from damaged headers.
_RATES = (4000, 768000)
# Floating-point audio lies in [-1, 1], or a little over it where it was mixed too loud. Beyond
# this it was written without being scaled, from integers say.
_LOUDEST = 10.0
# The mean of two channels that have nothing in common has half their power; of one and its
# inversion, as of a balanced line, none.
_CANCELLED = 0.01
CUT = "it ends before its header says"
# Two steps of 16 bits.
_SILENT = 2 / 32768

# What ffmpeg reads and libsndfile does not, by the endings of names.
CONTAINERS = frozenset(
    {
        ".3gp", ".aac", ".ac3", ".amr", ".avi", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv",
        ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wma", ".wv",
    }
)  # fmt: skip
# The endings by which audio is found in a folder.
ENDINGS = CONTAINERS | {
    ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".snd",
    ".sph", ".w64", ".wav",
}  # fmt: skip
# The first sound in a container, all of its channels at its own rate, as a WAV of floating-point
# samples, which clip nowhere. An error ends it (-xerror), where ffmpeg would go on with the rest.
_DECODE = (
    "-map", "0:a:0", "-c:a", "pcm_f32le", "-map_metadata", "-1", "-fflags", "+bitexact",
    "-f", "wav", "pipe:1",
)  # fmt: skip


def load(
    spec: str | Path, start: float | None = None, end: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Read one wav.scp entry, or from `start` to `end` seconds of it.

    Several channels are averaged. Nothing is resampled. A `Path` is never a command.

    Returns:
        Samples in [-1, 1], float32 of shape (samples,), and the sampling rate in Hz.

    Raises:
        UserError: the file is missing, empty or unreadable, the command fails, there are no
            samples, a sample is not finite or far out of range, channels cancel out, the rate is
            none of audio, or the segment lies outside the recording.
    """
    with opened(spec) as sound:
        rate = int(sound.samplerate)
        first, last = _bounds(spec, sound.frames, rate, start, end)
        # GSM and some others cannot be sought in, and are read from their beginning.
        skipped = 0 if sound.seekable() else first
        try:
            if not skipped and first:
                sound.seek(first)
            samples = sound.read(skipped + last - first, dtype="float32", always_2d=True)[skipped:]
        except soundfile.LibsndfileError as error:
            raise unreadable(spec, error.error_string) from None
    if len(samples) < last - first:
        raise unreadable(spec, CUT)
    return mono(spec, samples), rate


def mono(spec: str | Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels (samples, channels) to (samples,).

    Raises:
        UserError: a sample is not finite or far out of range, or the channels cancel out.
    """
    mean = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mean).all():
        raise unreadable(spec, "a sample is not a finite number")
    peak = float(np.abs(samples).max())
    if peak > _LOUDEST:
        raise unreadable(
            spec,
            f"it has floating-point samples of up to {peak:.6g}, where 1 is the loudest, as if "
            "they were integers: divide them by the largest integer, 32768 for 16 bits",
        )
    if samples.shape[1] > 1 and np.square(mean).mean() < _CANCELLED * np.square(samples).mean():
        raise unreadable(
            spec, "its channels cancel out where they are averaged: keep one of them alone"
        )
    return np.ascontiguousarray(mean)


def remark(samples: NDArray[np.float32]) -> str | None:
    """Say so, in a clause for a warning, if samples (samples,) are no sound at all."""
    if np.ptp(samples) > _SILENT:
        return None
    constant = float(np.median(samples))
    value = "0" if abs(constant) <= _SILENT else f"{constant:.3g}, a constant voltage"
    return f"the audio is silent: all of its samples are {value}"


class Header(NamedTuple):
    """The facts in front of the samples."""

    seconds: float
    rate: int  # Hz
    channels: int
    subtype: str  # of libsndfile, such as PCM_16


def header(spec: str) -> Header:
    """Read the header of one wav.scp entry; a pipe is run for it, and a container is decoded.

    What a container says of its length is that of its longest stream, or nothing.

    Raises:
        UserError: as `load`, but damage behind the header is noticed only where a WAV is cut short.
    """
    with opened(spec) as sound:
        rate = int(sound.samplerate)
        return Header(float(sound.frames / rate), rate, int(sound.channels), str(sound.subtype))


def duration(spec: str) -> float:
    """Read the length of one wav.scp entry in seconds; see `header`."""
    return header(spec).seconds


def is_pipe(spec: str | Path) -> bool:
    """Whether a wav.scp entry is a command; a `Path` is none, whatever its name."""
    return isinstance(spec, str) and spec.rstrip().endswith("|")


def is_container(spec: str | Path) -> bool:
    """Whether ffmpeg has to take the sound out of the file."""
    return not is_pipe(spec) and Path(spec).suffix.lower() in CONTAINERS


@contextlib.contextmanager
def opened(spec: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open one wav.scp entry; what is not a file that libsndfile reads is in memory.

    Raises:
        UserError: as `load`.
    """
    source: str | io.BytesIO = _run(str(spec)) if is_pipe(spec) else existing(spec)
    if is_container(spec):
        source = _decode(str(spec))
    try:
        # Encoded here, for soundfile itself refuses a name that is not UTF-8.
        sound = soundfile.SoundFile(os.fsencode(source) if isinstance(source, str) else source)
        if sound.frames == 0 and (whole := _streamed(source)):
            sound.close()
            sound = soundfile.SoundFile(whole)
    except soundfile.LibsndfileError as error:
        raise unreadable(spec, error.error_string) from None
    with sound:
        if not _RATES[0] <= sound.samplerate <= _RATES[1]:
            rate = f"its header says {sound.samplerate} Hz, which is no sampling rate of speech"
            raise unreadable(spec, rate)
        if sound.frames <= 0:
            raise unreadable(spec, "it holds no samples")
        if _is_cut(sound):
            raise unreadable(spec, CUT)
        yield sound


def _is_cut(sound: soundfile.SoundFile) -> bool:
    """Whether a WAV's end is missing, which libsndfile does not report."""
    noted = _CUT.search(sound.extra_info)
    if noted is None:
        return False
    promised, present = map(int, noted.groups())
    return promised < _LENGTH_UNKNOWN and promised - present > _CUT_TOLERANCE * promised


def _streamed(source: str | io.BytesIO) -> io.BytesIO | None:
    """Take for audio what follows a data chunk of size 0, to the end, as Kaldi does.

    A recorder that writes WAV into a pipe, or is killed, cannot go back to write the size. A
    chunk that is really empty has the end of the file, or other chunks, behind it.

    Returns:
        The file, with a size that libsndfile takes for unknown; None if it is not such a file.
    """
    data = bytearray(Path(source).read_bytes() if isinstance(source, str) else source.getvalue())
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at = 12
    while data[at : at + 4] != b"data":
        at = _next_chunk(data, at)
        if at >= len(data):
            return None
    behind = at + 8
    while behind < len(data) and data[behind : behind + 4].decode("latin-1").isprintable():
        behind = _next_chunk(data, behind)
    if any(data[at + 4 : at + 8]) or behind in (len(data), len(data) + 1):
        return None
    data[at + 4 : at + 8] = b"\xff" * 4
    return io.BytesIO(bytes(data))


def _next_chunk(data: bytearray, at: int) -> int:
    """Give the place of the chunk behind the one at `at`; sizes are even in the file."""
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    return at + 8 + size + size % 2


def existing(spec: str | Path) -> str:
    """Refuse a file that is none, is empty, or may not be read; return its name."""
    try:
        with open(spec, "rb") as file:
            begin = file.read(len(LFS_POINTER))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such audio file {spec}; correct wav.scp or the corpus") from None
    except IsADirectoryError:
        raise UserError(f"{spec} is a directory, not an audio file; correct wav.scp") from None
    except PermissionError:
        raise UserError(
            f"you may not read the audio file {spec}; change its permissions or its directory's"
        ) from None
    except OSError as error:
        raise unreadable(spec, error.strerror or str(error)) from None
    if not begin:
        raise unreadable(spec, "the file is empty")
    if begin == LFS_POINTER:
        raise UserError(
            f"{spec} is a pointer of Git LFS and no audio; run `git lfs pull` in the corpus, or "
            "leave it out with --skip_bad true"
        )
    return str(spec)


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
        raise unreadable(spec, "it gave no output")
    return io.BytesIO(done.stdout)


def _decode(path: str) -> io.BytesIO:
    """Take the sound out of a container, as WAV."""
    done = subprocess.run(decoder(path), capture_output=True, check=False)
    if done.returncode != 0 or not done.stdout:
        raise undecoded(path, done.stderr)
    return io.BytesIO(done.stdout)


def decoder(path: str) -> list[str]:
    """Make the command that writes the sound of a container to its standard output, as WAV.

    Raises:
        UserError: there is no ffmpeg.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise UserError(
            f"{path} is read by ffmpeg, which is not on the path (apt-get install ffmpeg, conda "
            "install ffmpeg); install it, or convert the file to WAV"
        )
    return [ffmpeg, "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", *_DECODE]


def undecoded(path: str, said: bytes) -> UserError:
    """Word why ffmpeg gave no sound, from what it said on standard error."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    # The place in ffmpeg that speaks, and its address, are in front: [mov,mp4 @ 0x55d3c0].
    why = re.sub(r"^(\[[^]]*\] *)+", "", lines[0] if lines else "")
    if not why or "matches no streams" in why:
        return unreadable(path, "there is no sound in it")
    return unreadable(path, f"ffmpeg: {why}")


def _bounds(
    spec: str | Path, frames: int, rate: int, start: float | None, end: float | None
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


def unreadable(spec: str | Path, why: str) -> UserError:
    """Word that audio cannot be read, and why."""
    source = f"the wav.scp command `{spec}`" if is_pipe(spec) else f"the audio file {spec}"
    return UserError(
        f"{source} cannot be read ({why.rstrip('.')}); replace it, or leave it out with "
        "--skip_bad true"
    )
