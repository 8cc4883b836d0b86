"""Load the batches of a job: waveforms or transcripts, and what other dumps have, one batch ahead.

While the encoder works on a batch, a thread loads the next one, and no more than that one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from cfia.errors import UserError, fault
from cfia.kaldi.data_dir import DataDir
from cfia.upstream.base import Upstream
from cfia.upstream.decoding import Decode, Recording
from cfia.upstream.dump_plan import Plan
from cfia.upstream.items import check_length
from cfia.upstream.take_over import Taken

T = TypeVar("T")


@dataclass
class Batch:
    """A batch, ready for the encoder: waveforms or transcripts by utterance, and what is taken."""

    number: int
    origins: dict[str, str]
    taken: dict[str, Taken]
    items: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # utterance -> why
    remarks: dict[str, str] = field(default_factory=dict)  # utterance -> what is odd


class Loading:
    """From where the batches of a job are loaded, and for which encoder.

    Attributes:
        stop: once it is set, nothing more is loaded.
    """

    def __init__(self, plan: Plan, data: DataDir, upstream: Upstream, decode: Decode) -> None:
        self.stop = threading.Event()
        self._plan, self._data, self._upstream, self._decode = plan, data, upstream, decode
        self._is_text = plan.settings.choice.modality == "text"

    def load(self, utterances: Sequence[str], batch: Batch) -> Batch:
        """Load the waveforms or transcripts that a batch lacks, until `stop` is set.

        Raises:
            UserError: an utterance cannot be read, and bad audio is not skipped.
        """
        begun = {u: self._begin(u) for u in utterances if u not in batch.taken}
        for utterance in utterances:
            if self.stop.is_set():
                break
            if utterance in batch.taken:
                if remark := batch.taken[utterance].remark:
                    batch.remarks[utterance] = remark
                continue
            try:
                item, clause = begun.pop(utterance)()  # so that samples are kept in one place
                if not self._is_text:
                    check_length(item, self._upstream)
                batch.items[utterance] = item
                if clause:
                    batch.remarks[utterance] = clause
            except UserError as error:
                if not self._plan.settings.skip_bad:
                    raise UserError(f"utterance {utterance}: {error}") from None
                batch.skipped[utterance] = fault(error)
        if batch.skipped and not self._upstream.independent:
            batch.origins = {}  # other utterances than these were encoded together
        return batch

    def _begin(self, utterance: str) -> Callable[[], tuple[Any, str | None]]:
        """Begin to load an utterance; what is given returns it, and what is odd about it."""
        if self._is_text:
            return partial(self._transcript, utterance)
        rate = self._upstream.sample_rate
        return self._decode(Recording(*self._data.audio(utterance), rate))

    def _transcript(self, utterance: str) -> tuple[str, None]:
        if utterance not in self._data.text:
            raise UserError(
                f"{self._data.path / self._plan.settings.text} lacks it, for its audio is bad; "
                "leave it out with --skip_bad true"
            )
        return self._data.text[utterance], None


def ahead(
    load: Callable[[int], T], numbers: Sequence[int], stop: threading.Event | None = None
) -> Generator[T, None, None]:
    """Yield `load(number)` for each number, while a thread loads the next one.

    At most two results are alive: the one that was yielded, and the next. An exception of `load`
    is raised where its result would be yielded. When the generator is closed, by an error or an
    interrupt too, `stop` is set, and the thread has ended before `close` returns.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
    try:
        pending = [pool.submit(load, number) for number in numbers[:1]]
        for following in [*numbers[1:], None]:
            if not pending:
                return
            loaded = [pending.pop().result()]
            if following is not None:
                pending.append(pool.submit(load, following))
            yield loaded.pop()
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
