"""Synthesise text by espeak-ng in this process, through ctypes.

The library of the package espeakng-loader is taken first, then the system's. The C interface is
that of espeak-ng's `speak_lib.h`; the seed, `espeak_ng_SetRandSeed`, came with version 1.52.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError

# Constants of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

# The library keeps the path of its data in 160 bytes, and the names of voices are added to it.
_LONGEST_DATA_PATH = 100

_INSTALL = "run 'pip install espeakng-loader', or install the system's libespeak-ng 1.52 or later"


class Espeak:
    """The synthesiser, which `engine` makes once in a process.

    The library keeps state from one utterance to the next that no call resets, not even its own
    termination. Its bytes repeat if, and only if, a fresh process says the same things in the
    same order, each after setting the seed.
    """

    _made = False

    def __init__(self, library: ctypes.CDLL, data: Path | None) -> None:
        if Espeak._made:
            raise RuntimeError("espeak-ng repeats its bytes only if a process starts it once")
        Espeak._made = True
        self._library = library
        self._chunks: list[bytes] = []
        self._callback = _CALLBACK(self._receive)
        path = None if data is None else os.fsencode(data)
        self.rate: int = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, path, _INITIALIZE_DONT_EXIT
        )
        if self.rate <= 0:
            raise UserError(f"espeak-ng cannot read its data files ({data}); {_INSTALL}")
        library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(
        self, text: str, voice: str, rate: int, pitch: int, span: int, seed: int
    ) -> npt.NDArray[np.float32]:
        """Speak one sentence.

        Args:
            text: what to say.
            voice: an espeak-ng voice with its variant, such as `en-us+f2`.
            rate: words a minute, 80 to 450.
            pitch: 0 to 99; 50 is the voice's own, and 50 steps are an octave.
            span: pitch range, 0 to 99; 50 is the voice's own.
            seed: of the library's random numbers (flutter, aspiration).

        Returns:
            Samples (n,) within [-1, 1) at `self.rate` Hz.

        Raises:
            UserError: the library has no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"this espeak-ng has no voice {voice}; {_INSTALL}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, span)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(seed)
        self._chunks.clear()
        data = text.encode()
        self._library.espeak_Synth(
            data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        samples = np.frombuffer(b"".join(self._chunks), dtype=np.int16).astype(np.float32)
        return samples / np.float32(32768)


@contextlib.contextmanager
def engine() -> Iterator[Espeak]:
    """Give the synthesiser to a block, once in a process.

    Raises:
        UserError: no library is installed, or it is too old to be seeded.
    """
    library, data = _load()
    with tempfile.TemporaryDirectory() as folder:
        if data is not None and len(os.fsencode(data)) > _LONGEST_DATA_PATH:
            link = Path(folder) / "data"
            link.symlink_to(data)
            data = link
        yield Espeak(library, data)


def _load() -> tuple[ctypes.CDLL, Path | None]:
    """Load the library and find its data directory; None where the library knows it itself."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
    except (ImportError, OSError):
        data = None
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            message = f"the synthetic corpus needs espeak-ng, which is missing; {_INSTALL}"
            raise UserError(message) from None
        library = ctypes.CDLL(name)
    if not hasattr(library, "espeak_ng_SetRandSeed"):
        raise UserError(f"this espeak-ng is too old to repeat its bytes; {_INSTALL}")
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    return library, data
