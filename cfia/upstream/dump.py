"""Run one job of a dump: decode, encode and archive the batches that the plan gives it.

While the encoder works on a batch, the next one is loaded (`loading`). Where it works on a GPU,
other processes decode (`decoding`), and a thread archives what is encoded (`writing`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfia.errors import UserError
from cfia.kaldi import archive
from cfia.kaldi.data_dir import DataDir
from cfia.upstream import journal, origin
from cfia.upstream.base import Features, Upstream
from cfia.upstream.decoding import decoding, processes
from cfia.upstream.dump_plan import Plan
from cfia.upstream.encoding import encode
from cfia.upstream.items import check_features
from cfia.upstream.loading import Batch, Loading, ahead
from cfia.upstream.origin import Origins
from cfia.upstream.progress import progress
from cfia.upstream.registry import build
from cfia.upstream.take_over import Sources
from cfia.upstream.writing import beside

# Utterances that a job encodes again before it takes any over.
COMPARED = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A job at work.

    Attributes:
        numbers: of all of its batches, finished or not.
    """

    plan: Plan
    numbers: list[int]
    upstream: Upstream
    loading: Loading
    journal: journal.Journal


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
    # Before there is an encoder, of whose GPU a process that parts from this one must know nothing.
    with decoding(processes(device, s.choice.modality)) as decode:
        upstream = build(s.choice, s.num_threads, device, s.checkpoint())
        with journal.opened(files, plan.digest, upstream.description.values()) as begun:
            if begun is None:
                _log.info("%s: job %d is finished, skipping", directory, job)
                return
            loading = Loading(plan, data, upstream, decode)
            inputs = _Job(plan, plan.jobs[job - 1], upstream, loading, begun)
            _run_batches(inputs, _origins(inputs, data, device), apart=device != "cpu")
            begun.finish()


def _origins(job: _Job, data: DataDir, device: str) -> dict[int, dict[str, str]]:
    """Give the origins of the utterances of each batch that is left."""
    settings = job.plan.settings
    origins, modality = Origins(job.upstream, settings, device), settings.choice.modality
    return {
        number: origins.of(origin.read(data, modality, job.plan.batches[number]))
        for number in job.numbers[len(job.journal.done) :]
    }


def _run_batches(job: _Job, of: dict[int, dict[str, str]], *, apart: bool) -> None:
    """Load, encode and write the batches that are left, of which `of` has the origins.

    Args:
        apart: the encoder works on a device of its own, so there is a processor for the rest.
    """
    plan, upstream, loading = job.plan, job.upstream, job.loading
    wanted, whole = {at for batch in of.values() for at in batch.values()}, not upstream.independent
    directory, numbers = job.journal.files.directory, list(of)
    with contextlib.ExitStack() as stack:
        sources = Sources(directory, upstream.description, wanted, whole=whole)
        stack.enter_context(sources)
        if not _agrees(job, of, sources):
            sources.forget()
            of = {number: {} for number in of}

        def load(number: int) -> Batch:
            batch = Batch(number, of[number], sources.take(of[number]))
            return loading.load(plan.batches[number], batch)

        def write(encoded: tuple[Batch, dict[str, Features]]) -> None:
            _write(job, *encoded)

        put = stack.enter_context(beside(write)) if apart else write
        batches = stack.enter_context(contextlib.closing(ahead(load, numbers, loading.stop)))
        title, done = f"{plan.settings.name}, job {job.journal.files.job}", len(job.journal.done)
        for batch in progress(batches, done, len(job.numbers), title, "batch"):
            put((batch, _encode(batch, upstream)))


def _agrees(job: _Job, of: Mapping[int, Mapping[str, str]], sources: Sources) -> bool:
    """Encode some of what would be taken over, and compare every bit.

    A processor or a library may differ in what nobody thought of.
    """
    number, taken = next(((n, t) for n, at in of.items() if (t := sources.take(at))), (0, {}))
    compared = list(taken)[: COMPARED if job.upstream.independent else None]
    batch = job.loading.load(compared, Batch(number, {}, {}))
    encoded, _ = encode(job.upstream, list(batch.items.values()))
    again = dict(zip(batch.items, encoded, strict=True))
    for utterance in compared:
        if utterance not in again or not np.array_equal(again[utterance], taken[utterance].matrix):
            _log.warning(
                "%s has other features of %s than %s gives now, so none are taken over",
                taken[utterance].dump, utterance, job.upstream.description.name,
            )  # fmt: skip
            return False
    return True


def _encode(batch: Batch, upstream: Upstream) -> dict[str, Features]:
    """Encode what a batch has to be encoded, and let go of that."""
    # The thread that loads says nothing itself, so that warnings come in the order of batches.
    for utterance, reason in batch.skipped.items():
        _log.warning("skipping %s: %s", utterance, reason)
    for utterance, item in batch.items.items():
        if clause := upstream.left_out(item):
            batch.remarks.setdefault(utterance, clause)
    for utterance, clause in batch.remarks.items():
        _log.warning("%s: %s", utterance, clause)
    encoded, together = encode(upstream, list(batch.items.values()))
    if not together and not upstream.independent:
        batch.origins = {}  # fewer utterances than these were encoded together
    matrices = dict(zip(batch.items, encoded, strict=True))
    batch.items.clear()
    return matrices


def _write(job: _Job, batch: Batch, matrices: Mapping[str, Features]) -> None:
    """Write an encoded batch, and what was taken over, to the archive and the journal."""
    plan, begun = job.plan, job.journal
    matrices = {**matrices, **{u: taken.matrix for u, taken in batch.taken.items()}}
    entries: list[bytes] = []
    offsets, frames, end = {}, {}, begun.end
    for utterance in (u for u in plan.batches[batch.number] if u in matrices):
        matrix = matrices[utterance]
        check_features(f"utterance {utterance}", matrix, job.upstream)
        entry, offset = archive.entry(utterance, matrix, plan.settings.compression_method)
        offsets[utterance] = end + offset
        frames[utterance] = len(matrix)
        entries.append(entry)
        end += len(entry)
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
