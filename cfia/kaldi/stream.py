"""Read audio from its beginning to its end, however long it is, in little memory."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from cfia.kaldi import audio

Samples = NDArray[np.float32]


class Stream(Protocol):
    """Audio that is read once.

    Attributes:
        spec: what it is called in messages.
        rate: in Hz.
        channels: how many.
    """

    spec: str | Path
    rate: int
    channels: int

    def read(self, count: int) -> Samples:
        """Read the next samples, (count, channels), or fewer at the end.

        Raises:
            UserError: the audio is damaged there.
        """


class InMemory:
    """A waveform (samples,) or (samples, channels), such as a program has recorded."""

    spec: str | Path = "the array"

    def __init__(self, samples: Samples, rate: int):
        self._left = samples.reshape(len(samples), -1)
        self.rate, self.channels = rate, self._left.shape[1]

    def read(self, count: int) -> Samples:
        """Give the next samples; see `Stream`."""
        samples, self._left = self._left[:count], self._left[count:]
        return samples


class _File:
    """What libsndfile reads."""

    def __init__(self, spec: str | Path, sound: soundfile.SoundFile):
        self.spec, self._sound, self._left = spec, sound, sound.frames
        self.rate, self.channels = int(sound.samplerate), int(sound.channels)

    def read(self, count: int) -> Samples:
        try:
            samples: Samples = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise audio.unreadable(self.spec, error.error_string) from None
        self._left -= len(samples)
        if len(samples) < count and self._left > 0:
            raise audio.unreadable(self.spec, audio.CUT)
        return samples


class _Decoded:
    """What ffmpeg writes into a pipe; it says that it has failed behind the last sample."""

    def __init__(self, spec: str | Path, decoder: subprocess.Popen[bytes], said: IO[bytes]):
        assert decoder.stdout is not None
        self.spec, self._decoder, self._said, self._some = spec, decoder, said, False
        try:
            self._sound = soundfile.SoundFile(decoder.stdout.fileno(), closefd=False)
        except soundfile.LibsndfileError:
            raise self._failed() from None
        self.rate, self.channels = int(self._sound.samplerate), int(self._sound.channels)

    def read(self, count: int) -> Samples:
        samples: Samples = self._sound.read(count, dtype="float32", always_2d=True)
        self._some |= len(samples) > 0
        if len(samples) < count and (self._decoder.wait() != 0 or not self._some):
            raise self._failed()
        return samples

    def _failed(self) -> Exception:
        self._decoder.wait()
        self._said.seek(0)
        return audio.undecoded(str(self.spec), self._said.read())


@contextlib.contextmanager
def opened(spec: str | Path) -> Iterator[Stream]:
    """Open one wav.scp entry; a `Path` is never a command, whose output is kept in memory.

    Raises:
        UserError: as `cfia.kaldi.audio.load`; what is wrong behind the header, `read` finds.
    """
    if not audio.is_container(spec):
        with audio.opened(spec) as sound:
            yield _File(spec, sound)
        return
    command = audio.decoder(audio.existing(spec))
    with tempfile.TemporaryFile() as said:
        decoder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        with decoder:
            try:
                yield _Decoded(spec, decoder, said)
            finally:
                decoder.kill()
