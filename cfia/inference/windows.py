"""Cut a recording into what a network takes at once: the whole of it, or overlapping windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cfia.errors import UserError
from cfia.kaldi import audio
from cfia.kaldi.stream import Samples, Stream

WINDOW = 8.0  # seconds, where none is asked for and a recording is too long
_SLACK = 0.1  # seconds behind a window that are read with it, rather than in one of their own


@dataclass(frozen=True)
class Windows:
    """How recordings are cut.

    Attributes:
        length, hop: of windows, in seconds.
        longest: seconds of the longest recording that is read at once.
        asked: whether windows were asked for.
    """

    length: float
    hop: float
    longest: float
    asked: bool


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording.

    Attributes:
        start, end: in seconds.
        samples: (samples,), the mean of the channels, at the recording's own rate.
        whole: whether it is all of the recording.
    """

    start: float
    end: float
    samples: Samples
    whole: bool


def windows(limit: float, length: float | None = None, hop: float | None = None) -> Windows:
    """Decide how recordings are cut.

    Args:
        limit: seconds that the network takes at once.
        length: of a window that is asked for (default: none is; what is longer than the limit is
            read in windows of 8 s, or of about the limit).
        hop: from the beginning of one window to that of the next (default: half a window).

    Raises:
        UserError: the window is longer than the limit, or the hop longer than the window.
    """
    if length is not None and length > limit:
        raise UserError(
            f"a window of {length:g} s is longer than the {limit:.2f} s that this model takes at "
            "once; give a shorter --window"
        )
    size = min(WINDOW, math.floor(10 * limit) / 10 or limit) if length is None else length
    step = size / 2 if hop is None else hop
    if not 0 < step <= size:
        raise UserError(
            f"with a --hop of {step:g} s windows of {size:g} s would leave something out; give a "
            "hop that is no longer than the window"
        )
    return Windows(size, step, limit if length is None else length, length is not None)


def pieces(stream: Stream, how: Windows) -> Iterator[Piece]:
    """Read a recording piece by piece; no more than about two windows are in memory.

    The last window ends where the recording ends: it begins earlier than a hop after the one
    before, or is a little longer than the others.

    Raises:
        UserError: as `Stream.read` and `cfia.kaldi.audio.mono`.
    """
    rate = stream.rate

    def piece(samples: Samples, first: int, *, whole: bool = False) -> Piece:
        mean = audio.mono(stream.spec, samples)
        return Piece(first / rate, (first + len(samples)) / rate, mean, whole)

    longest, size, slack = (round(s * rate) for s in (how.longest, how.length, _SLACK))
    if how.hop * rate > size:  # rounded down: there would be a sample between two windows
        size += 1
    held = stream.read(longest + 1)
    if len(held) <= longest:
        yield piece(held, 0, whole=True)
        return
    first = 0  # of the samples that are held
    for number in itertools.count():
        start = round(number * how.hop * rate)
        wanted = start + size + slack + 1
        if (lacking := wanted - first - len(held)) > 0:
            held = np.concatenate([held, stream.read(lacking)])
        end = first + len(held)
        if end < wanted:
            start = min(start, end - size)
            yield piece(held[start - first :], start, whole=start == 0)
            return
        held, first = held[start - first :], start
        yield piece(held[:size], start)
