"""The interface of all frozen encoders, whatever library runs them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from cfia.frontend import Frontend
from cfia.upstream.checkpoint import Checkpoint
from cfia.upstream.choice import Choice

Features = NDArray[np.float32]
F = TypeVar("F", bound=Checkpoint | None)


class Upstream(abc.ABC):
    """A frozen encoder. One subclass per family, in a file of its own.

    Attributes:
        description: what it is, for `frontend.yaml`.
        shortest: the fewest samples at `sample_rate` that give a frame.
        independent: whether an item's features are the same in any batch, to the last bit.
    """

    description: Frontend
    shortest: int = 1
    independent: bool = False

    @property
    def sample_rate(self) -> int | None:
        """Give the rate in Hz of the waveforms for `extract`; None for text."""
        return self.description.sample_rate

    @abc.abstractmethod
    def extract(self, batch: Sequence[Any]) -> list[Features]:
        """Encode waveforms (float32, shape (samples,), at `sample_rate`) or transcripts.

        Returns:
            One float32 matrix (frames, dim) per item, in the order of the batch. How items are
            grouped into batches changes no value by more than 1e-4.
        """

    def left_out(self, item: Any) -> str | None:
        """Say what `extract` would leave out of an item, in a clause for a warning, if anything."""
        return None


@dataclass(frozen=True)
class Loader(Generic[F]):
    """The functions that find and load the encoders of a family: `LOADER` of its module.

    Attributes:
        find: gives the files of a choice's model, at a commit of the hub or the newest; None for
            an encoder without weights.
        check: refuses a layer or a design that it has not, without loading the model.
        build: loads the encoder, for a number of threads and the device "cpu" or "cuda".
        files: the class of what `find` gives.
        survey: looks at the transcripts before they are encoded, and says what is remarkable;
            None for encoders of audio.
    """

    find: Callable[[Choice, str | None], F]
    check: Callable[[Choice, F], object]
    build: Callable[[Choice, F, int, str], Upstream]
    files: type[Checkpoint] = Checkpoint
    survey: Callable[[F, Iterable[str]], str | None] | None = None
