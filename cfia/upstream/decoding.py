"""Decode recordings for an encoder: in this process, or for a GPU in processes of their own.

A GPU encodes some thousand seconds of audio in one, and what it waits for is the one Python that
reads, resamples and checks them. On a processor the encoder needs the others itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from cfia.kaldi import audio
from cfia.options import processors
from cfia.processes import pool_of
from cfia.upstream.base import Features
from cfia.upstream.items import at_rate

# A process decodes some hundred seconds in one, out of films, and thousands of WAV.
MOST = 8


class Recording(NamedTuple):
    """What is to be decoded: `DataDir.audio` of an utterance, and the rate that is wanted."""

    spec: str
    start: float | None
    end: float | None
    rate: int | None


class Decoded(NamedTuple):
    """A waveform at the wanted rate, and what is odd about it, if anything."""

    samples: Features
    remark: str | None


Decode = Callable[[Recording], Callable[[], Decoded]]
"""Begins to decode; what it gives waits for the end, and raises what went wrong."""


def processes(device: str, modality: str) -> int:
    """Count the processes that decode for a network on a device; 0: this one does it.

    On a GPU that is as many as the job has processors, less the one that keeps the GPU busy.
    """
    if device == "cpu" or modality == "text":
        return 0
    return min(MOST, processors() - 1)


@contextlib.contextmanager
def decoding(number: int) -> Iterator[Decode]:
    """Let so many processes decode in the block, in which this one may load what it likes.

    Without any, a recording is decoded by whoever asks for the result, and not before.

    Raises:
        UserError: a process was killed.
    """
    if number == 0:
        yield lambda recording: partial(decode, recording)
        return
    with pool_of(decode, number) as begin:
        yield lambda recording: begin(recording).result


def decode(recording: Recording) -> Decoded:
    """Decode a recording.

    Raises:
        UserError: as `audio.load`.
    """
    samples, rate = audio.load(recording.spec, recording.start, recording.end)
    return Decoded(at_rate(samples, rate, recording.rate), audio.remark(samples))
