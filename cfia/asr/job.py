"""Run one job of recognising a corpus, going on behind the last utterance that it has done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from cfia.asr import registry
from cfia.asr.plan import Plan, lines
from cfia.asr.recogniser import Recogniser
from cfia.errors import UserError
from cfia.kaldi import audio
from cfia.kaldi.data_dir import DataDir
from cfia.shapes import ShapeError, fit
from cfia.upstream import json_lines
from cfia.upstream.origin import read
from cfia.upstream.progress import progress

_log = logging.getLogger(__name__)


class Line(TypedDict):
    """What a job writes of an utterance: its text, or why there is none.

    `audio` is the digest of path, size and time of its file; None where a pipe is read.
    """

    utt: str
    audio: str | None
    text: NotRequired[str]
    skipped: NotRequired[str]


def run_job(directory: Path, data: DataDir, job: int, device: str = "cpu") -> None:
    """Recognise the utterances of a job that are left.

    Args:
        device: "cpu" or "cuda", where a network runs.

    Raises:
        UserError: no plan, or no such job in it; an utterance's audio is unreadable and bad audio
            is not skipped; the recogniser cannot be loaded; a full disk.
    """
    plan = Plan.load(directory)
    if not 1 <= job <= len(plan.jobs):
        raise UserError(f"--job {job}: {directory} has the jobs 1 to {len(plan.jobs)}")
    utterances, settings = plan.jobs[job - 1], plan.settings
    path = lines(directory, job)
    with json_lines.locked(path, job) as handle:
        written = read_lines(path, plan)
        json_lines.keep(handle, [plan.digest, *written] if written else [])
        if not written:
            json_lines.append(handle, plan.digest)
        left = left_over(written, utterances, data, skip_bad=settings.skip_bad)
        if not left:
            _log.info("%s: job %d is finished, skipping", directory, job)
            return
        recogniser = registry.from_record(settings.recogniser).build(settings.num_threads, device)
        found = _recognised(recogniser, left, data, skip_bad=settings.skip_bad)
        done, title = len(utterances) - len(left), f"{directory.name}, job {job}"
        for line in progress(found, done, len(utterances), title, "utterance"):
            with json_lines.writing(path):
                json_lines.append(handle, line)


def _recognised(
    recogniser: Recogniser, utterances: list[str], data: DataDir, *, skip_bad: bool
) -> Iterator[Line]:
    for utterance in utterances:
        line: Line = {"utt": utterance, "audio": read(data, "audio", [utterance])[utterance]}
        try:
            samples, rate = audio.load(*data.audio(utterance))
        except UserError as error:
            if not skip_bad:
                raise UserError(f"utterance {utterance}: {error}") from None
            reason = str(error).rpartition("; ")[0] or str(error)
            _log.warning("skipping %s: %s", utterance, reason)
            yield {**line, "skipped": reason}
        else:
            yield {**line, "text": recogniser.recognise(samples, rate)}


def left_over(
    written: Sequence[Line], utterances: Sequence[str], data: DataDir, *, skip_bad: bool
) -> list[str]:
    """List the utterances that have no line, or whose file has changed since.

    Without `skip_bad` one that was skipped is left, too.
    """
    done = {line["utt"]: line for line in written if skip_bad or "text" in line}
    now = read(data, "audio", utterances)
    return [utt for utt in utterances if utt not in done or done[utt]["audio"] != now[utt]]


def read_lines(path: Path, plan: Plan) -> list[Line]:
    """Read what a job of a plan has written; nothing where another plan's job wrote the file.

    Of several lines of one utterance the last holds.

    Raises:
        UserError: a line is not as a job writes it.
    """
    try:
        found = json_lines.read(path)
        if not found or found[0] != plan.digest:
            return []
        return [fit(Line, line, f"line {n}") for n, line in enumerate(found[1:], 2)]
    except (ValueError, RecursionError, ShapeError) as error:
        raise UserError(
            f"{path} was cut or edited ({error}); run the stage again with --force true"
        ) from None
