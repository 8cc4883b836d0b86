"""The interface of all recognisers, whatever library runs them."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from cfia.corpus.transcripts import NO_WORDS, tidy
from cfia.errors import UserError
from cfia.kaldi import audio
from cfia.upstream.checkpoint import Checkpoint

Samples = NDArray[np.float32]


class Recogniser(abc.ABC):
    """A recogniser of speech. One subclass per library, in a file of its own.

    What it makes of a recording does not depend on what it heard before: it neither samples nor
    adapts.

    Attributes:
        sample_rate: in Hz, of the waveforms for `transcribe`.
        shortest: the fewest samples at that rate that it takes; in less there is no word.
    """

    sample_rate: int = 16000
    shortest: int = 400

    def recognise(self, samples: Samples, rate: int) -> str:
        """Recognise the words of a recording.

        Args:
            samples: float32 of shape (samples,), in [-1, 1].
            rate: of the samples, in Hz.

        Returns:
            One line of text with single blanks; "" where there are no words. Silence has none,
            and is not asked for, since recognisers make up words for it.

        Raises:
            UserError: a sample is not a finite number.
        """
        if not np.isfinite(samples).all():
            raise UserError("the audio has a sample that is not a finite number; replace it")
        if rate != self.sample_rate:
            samples = np.asarray(soxr.resample(samples, rate, self.sample_rate), np.float32)
        if len(samples) < self.shortest or audio.remark(samples):
            return ""
        text = tidy(self.transcribe(samples), strip=False)
        return "" if text == NO_WORDS else text

    @abc.abstractmethod
    def transcribe(self, samples: Samples) -> str:
        """Recognise a waveform (samples,) at `sample_rate`, which is not silent."""


@dataclass(frozen=True)
class Kind:
    """A library that runs recognisers: `KIND` of its module.

    Attributes:
        check: refuses what is no recogniser, without loading it.
        build: loads one, for a number of threads and the device "cpu" or "cuda".
        files: the class of a model's files.
    """

    check: Callable[[Any], object]
    build: Callable[[Any, int, str], Recogniser]
    files: type[Checkpoint] = Checkpoint


def missing(package: str, recogniser: str) -> UserError:
    """Word the error for a package that is not installed."""
    return UserError(
        f"{recogniser} needs the package {package}, which is not installed; install it with "
        f"`pip install {package}`"
    )
