"""Run one job of a dump: decode, encode and archive the batches that the plan gives it.

While the encoder works on a batch, a thread decodes the next one, and no more than that one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cfia.errors import UserError, fault
from cfia.kaldi import archive, audio
from cfia.kaldi.data_dir import DataDir
from cfia.upstream import journal, origin
from cfia.upstream.base import Upstream
from cfia.upstream.dump_plan import Plan
from cfia.upstream.items import check_features, resampled
from cfia.upstream.origin import Origins
from cfia.upstream.progress import progress
from cfia.upstream.registry import build
from cfia.upstream.take_over import Sources, Taken

# Utterances that a job encodes again before it takes any over.
COMPARED = 2

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class _Batch:
    """A batch, ready for the encoder: waveforms or transcripts by utterance, and what is taken."""

    number: int
    origins: dict[str, str]
    taken: dict[str, Taken]
    items: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # utterance -> why
    remarks: dict[str, str] = field(default_factory=dict)  # utterance -> what is odd


def run_job(directory: Path, data: DataDir, job: int, device: str = "cpu") -> None:
    """Encode a job's batches, going on behind the last one that is finished.

    What another dump has is taken from there (`cfia.upstream.take_over`).
    `device`, "cpu" or "cuda", is where a network runs.

    Raises:
        UserError: no plan, or no such job in it; the data directory lacks a planned utterance;
            an utterance's audio is unreadable or shorter than a frame and bad audio is not
            skipped; features that are not finite; a full disk.
    """
    plan = Plan.load(directory)
    if not 1 <= job <= len(plan.jobs):
        raise UserError(f"--job {job}: {directory} has the jobs 1 to {len(plan.jobs)}")
    files = journal.JobFiles(directory, plan.settings.name, job)
    if journal.finished(files, plan.digest):
        _log.info("%s: job %d is finished, skipping", directory, job)
        return
    planned = {u for number in plan.jobs[job - 1] for u in plan.batches[number]}
    if lost := planned - data.utt2spk.keys():
        raise UserError(
            f"{data.path} lacks {min(lost)}, which the dump was planned with; run the stage again "
            "with --force true"
        )
    s = plan.settings
    upstream = build(s.choice, s.num_threads, device, s.checkpoint())
    with journal.opened(files, plan.digest, upstream.description.values()) as begun:
        if begun is None:
            _log.info("%s: job %d is finished, skipping", directory, job)
            return
        origins = Origins(upstream, s, device)
        _run_batches(plan, job, data, upstream, begun, origins)
        begun.finish()


def _run_batches(
    plan: Plan,
    job: int,
    data: DataDir,
    upstream: Upstream,
    begun: journal.Journal,
    origins: Origins,
) -> None:
    """Load, encode and write the batches of a job that are left."""
    numbers, done = plan.jobs[job - 1], len(begun.done)
    modality, stop = plan.settings.choice.modality, threading.Event()
    of = {n: origins.of(origin.read(data, modality, plan.batches[n])) for n in numbers[done:]}
    wanted, whole = {at for batch in of.values() for at in batch.values()}, not upstream.independent
    with Sources(begun.files.directory, upstream.description, wanted, whole=whole) as sources:
        if not _agrees(plan, of, sources, data, upstream):
            sources.forget()
            of = {number: {} for number in of}

        def load(number: int) -> _Batch:
            batch = _Batch(number, of[number], sources.take(of[number]))
            return _load_batch(plan, plan.batches[number], batch, data, upstream, stop)

        with contextlib.closing(ahead(load, numbers[done:], stop)) as batches:
            title = f"{plan.settings.name}, job {job}"
            for batch in progress(batches, done, len(numbers), title, "batch"):
                _dump_batch(plan, batch, upstream, begun)


def _agrees(
    plan: Plan,
    of: Mapping[int, Mapping[str, str]],
    sources: Sources,
    data: DataDir,
    upstream: Upstream,
) -> bool:
    """Encode some of what would be taken over, and compare every bit.

    A processor or a library may differ in what nobody thought of.
    """
    number, taken = next(((n, t) for n, at in of.items() if (t := sources.take(at))), (0, {}))
    compared = list(taken)[: COMPARED if upstream.independent else None]
    batch = _load_batch(plan, compared, _Batch(number, {}, {}), data, upstream, threading.Event())
    encoded = upstream.extract(list(batch.items.values())) if batch.items else []
    again = dict(zip(batch.items, encoded, strict=True))
    for utterance in compared:
        if utterance not in again or not np.array_equal(again[utterance], taken[utterance].matrix):
            _log.warning(
                "%s has other features of %s than %s gives now, so none are taken over",
                taken[utterance].dump, utterance, upstream.description.name,
            )  # fmt: skip
            return False
    return True


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


def _dump_batch(plan: Plan, batch: _Batch, upstream: Upstream, begun: journal.Journal) -> None:
    """Encode one batch and write it to the archive and the journal."""
    # The thread that loads says nothing itself, so that warnings come in the order of batches.
    for utterance, reason in batch.skipped.items():
        _log.warning("skipping %s: %s", utterance, reason)
    for utterance, item in batch.items.items():
        if clause := upstream.left_out(item):
            batch.remarks.setdefault(utterance, clause)
    for utterance, clause in batch.remarks.items():
        _log.warning("%s: %s", utterance, clause)
    encoded = upstream.extract(list(batch.items.values())) if batch.items else []
    matrices = dict(zip(batch.items, encoded, strict=True))
    matrices |= {utterance: taken.matrix for utterance, taken in batch.taken.items()}
    entries, offsets, frames = b"", {}, {}
    for utterance in (u for u in plan.batches[batch.number] if u in matrices):
        matrix = matrices[utterance]
        check_features(f"utterance {utterance}", matrix, upstream)
        entry, offset = archive.entry(utterance, matrix, plan.settings.compression_method)
        offsets[utterance] = begun.end + len(entries) + offset
        frames[utterance] = len(matrix)
        entries += entry
    end = begun.end + len(entries)
    begun.append(
        entries,
        journal.Batch(
            batch.number,
            end,
            offsets,
            frames,
            batch.skipped,
            batch.remarks,
            origins={u: at for u, at in batch.origins.items() if u in frames},
            taken={utterance: taken.dump for utterance, taken in batch.taken.items()},
        ),
    )


def _load_batch(
    plan: Plan,
    utterances: Iterable[str],
    batch: _Batch,
    data: DataDir,
    upstream: Upstream,
    stop: threading.Event,
) -> _Batch:
    """Load the waveforms or transcripts that a batch lacks, until `stop` is set."""
    for utterance in utterances:
        if stop.is_set():
            break
        if utterance in batch.taken:
            if remark := batch.taken[utterance].remark:
                batch.remarks[utterance] = remark
            continue
        try:
            if plan.settings.choice.modality == "text":
                batch.items[utterance] = _transcript(utterance, plan, data)
                continue
            samples, rate = audio.load(*data.audio(utterance))
            batch.items[utterance] = resampled(samples, rate, upstream)
            if clause := audio.remark(samples):
                batch.remarks[utterance] = clause
        except UserError as error:
            if not plan.settings.skip_bad:
                raise UserError(f"utterance {utterance}: {error}") from None
            batch.skipped[utterance] = fault(error)
    if batch.skipped and not upstream.independent:
        batch.origins = {}  # other utterances than these were encoded together
    return batch


def _transcript(utterance: str, plan: Plan, data: DataDir) -> str:
    if utterance not in data.text:
        raise UserError(
            f"{data.path / plan.settings.text} lacks it, for its audio is bad; leave it out with "
            "--skip_bad true"
        )
    return data.text[utterance]
