"""One job of a dump: decode, encode and archive the batches that the plan gives it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from tqdm import tqdm

from cfia.errors import UserError
from cfia.kaldi import archive, audio
from cfia.kaldi.data_dir import DataDir
from cfia.upstream import journal
from cfia.upstream.base import Features, Upstream
from cfia.upstream.plan import Plan
from cfia.upstream.registry import build

# Seconds between two lines of progress in a log.
REPORT_EVERY = 30.0

_log = logging.getLogger(__name__)


def run_job(directory: Path, data: DataDir, job: int) -> None:
    """Encode a job's batches, going on behind the last one that an earlier run finished.

    Raises:
        UserError: no plan, or no such job in it; the data directory lacks a planned utterance;
            an utterance's audio is unreadable or shorter than a frame and bad audio is not
            skipped; features that are not finite; a full disk.
    """
    plan = Plan.load(directory)
    if not 1 <= job <= len(plan.jobs):
        raise UserError(f"--job {job}: {directory} has the jobs 1 to {len(plan.jobs)}")
    files = journal.JobFiles(directory, plan.settings.name, job)
    if journal.finished(files, plan.digest()):
        _log.info("%s: job %d is finished, skipping", directory, job)
        return
    _check_utterances(plan, data, job)
    s = plan.settings
    upstream = build(s.choice, s.num_threads)
    with journal.opened(files, plan.digest(), upstream.describe()) as begun:
        if begun is None:
            _log.info("%s: job %d is finished, skipping", directory, job)
            return
        numbers = plan.jobs[job - 1]
        for number in _progress(numbers, len(begun.done), f"{s.name}, job {job}"):
            _dump_batch(plan, number, data, upstream, begun)
        begun.finish()


def _check_utterances(plan: Plan, data: DataDir, job: int) -> None:
    for number in plan.jobs[job - 1]:
        for utterance in plan.batches[number]:
            if utterance not in data.utt2spk:
                raise UserError(
                    f"{data.path} lacks {utterance}, which the dump was planned with; run the "
                    "stage again with --force true"
                )


def _dump_batch(
    plan: Plan, number: int, data: DataDir, upstream: Upstream, begun: journal.Journal
) -> None:
    """Encode one batch and write it to the archive and the journal."""
    items, skipped = _load_batch(plan, number, data, upstream)
    for utterance, item in items.items():
        if clause := upstream.left_out(item):
            _log.warning("%s: %s", utterance, clause)
    matrices = upstream.extract(list(items.values())) if items else []
    entries, offsets, frames = b"", {}, {}
    for utterance, matrix in zip(items, matrices, strict=True):
        _check_features(utterance, matrix, upstream)
        entry, offset = archive.entry(utterance, matrix, plan.settings.compression_method)
        offsets[utterance] = begun.end + len(entries) + offset
        frames[utterance] = len(matrix)
        entries += entry
    end = begun.end + len(entries)
    begun.append(entries, journal.Batch(number, end, offsets, frames, skipped))


def _load_batch(
    plan: Plan, number: int, data: DataDir, upstream: Upstream
) -> tuple[dict[str, Any], dict[str, str]]:
    """The waveforms or transcripts of a batch, and the utterances that are skipped -> why."""
    batch = plan.batches[number]
    if plan.settings.choice.modality == "text":
        return {utterance: data.text[utterance] for utterance in batch}, {}
    items, skipped = {}, {}
    for utterance in batch:
        try:
            items[utterance] = load_audio(data, utterance, upstream)
        except UserError as error:
            if not plan.settings.skip_bad:
                raise UserError(f"utterance {utterance}: {error}") from None
            reason = str(error).rpartition("; ")[0] or str(error)
            _log.warning("skipping %s: %s", utterance, reason)
            skipped[utterance] = reason
    return items, skipped


def load_audio(data: DataDir, utterance: str, upstream: Upstream) -> Features:
    """An utterance's waveform, float32 (samples,) in [-1, 1], at the upstream's rate.

    Raises:
        UserError: as `cfia.kaldi.audio.load`; it is shorter than a frame of the upstream.
    """
    samples, rate = audio.load(*data.audio(utterance))
    wanted = upstream.sample_rate or rate
    if rate != wanted:
        samples = np.asarray(soxr.resample(samples, rate, wanted), dtype=np.float32)
    if len(samples) < upstream.shortest:
        raise UserError(
            f"the audio has {len(samples)} samples at {wanted} Hz, where one frame of "
            f"{upstream.description.name} needs {upstream.shortest}; leave it out of the data "
            "directory, or with --skip_bad true"
        )
    return samples


def _check_features(utterance: str, matrix: Features, upstream: Upstream) -> None:
    name = upstream.description.name
    if len(matrix) == 0 or matrix.shape[1] != upstream.description.dim:
        raise UserError(
            f"utterance {utterance}: {name} gave a matrix of the shape {matrix.shape}; check its "
            "audio or transcript"
        )
    if not np.isfinite(matrix).all():
        raise UserError(
            f"utterance {utterance}: {name} gave features that are not finite numbers; check its "
            "audio or transcript, and the model's weights"
        )


def _progress(numbers: list[int], done: int, what: str) -> Iterator[int]:
    """The batches that are left: with a bar on a terminal, with lines of the time left in a log."""
    if done:
        _log.info("%s: going on behind batch %d of %d", what, done, len(numbers))
    if sys.stderr.isatty():
        yield from tqdm(numbers[done:], desc=what, initial=done, total=len(numbers), unit="batch")
        return
    began = reported = time.monotonic()
    for count, number in enumerate(numbers[done:], start=1):
        yield number
        now = time.monotonic()
        if now - reported >= REPORT_EVERY or done + count == len(numbers):
            reported = now
            left = (now - began) / count * (len(numbers) - done - count)
            _log.info("%s: batch %d of %d, %d s left", what, done + count, len(numbers), left)
