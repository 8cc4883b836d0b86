"""Finish the text of a recogniser: join what the jobs wrote, and count its errors."""

from __future__ import annotations

import logging
from pathlib import Path

from cfia import marker
from cfia.asr.job import Line, left_over, read_lines
from cfia.asr.plan import SKIPPED, Plan, lines
from cfia.asr.word_errors import update
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import write_table
from cfia.upstream.merge import LEAST_KEPT

_log = logging.getLogger(__name__)


def merge(directory: Path, data: DataDir) -> None:
    """Write `text`, sorted, an id alone where no word was heard; `skipped`, and the word errors.

    Raises:
        UserError: there is no plan; a job is not finished; under 95 % of the utterances could be
            recognised, or none has a word.
    """
    plan = Plan.load(directory)
    recorded = marker.read(directory)
    if recorded is None:
        raise UserError(f"{directory} was not begun; run `cfia asr_plan` first")
    if not recorded.done:
        _finish(directory, plan, recorded, data)
    for path in directory.glob(".text.*.jsonl"):
        path.unlink()
    update(directory, data)


def _finish(directory: Path, plan: Plan, recorded: marker.Marker, data: DataDir) -> None:
    done: dict[str, Line] = {}
    for job in range(1, len(plan.jobs) + 1):
        done |= _finished(directory, plan, job, data)
    text = {utt: line["text"] for utt, line in done.items() if "text" in line}
    skipped = {utt: line["skipped"] for utt, line in done.items() if "skipped" in line}
    _check_count(directory, text, skipped)
    write_table(directory / "text", text, allow_empty=True)
    if skipped:
        write_table(directory / SKIPPED, skipped)
    else:
        (directory / SKIPPED).unlink(missing_ok=True)
    marker.finish(directory, recorded.options, recorded.inputs)
    empty = sum(not words for words in text.values())
    _log.info("%s: %d utterances, %d of them without a word", directory, len(text), empty)
    if skipped:
        _log.warning("%s: skipped %s", directory, " ".join(sorted(skipped)))


def _finished(directory: Path, plan: Plan, job: int, data: DataDir) -> dict[str, Line]:
    """Read what a job has written of each utterance; it must be finished."""
    written = read_lines(lines(directory, job), plan)
    left = left_over(written, plan.jobs[job - 1], data, skip_bad=plan.settings.skip_bad)
    if left:
        raise UserError(
            f"job {job} of {directory} is not finished: {len(left)} utterances are missing, the "
            f"first is {left[0]}; read its log, then run the stage again"
        )
    return {line["utt"]: line for line in written}


def _check_count(directory: Path, text: dict[str, str], skipped: dict[str, str]) -> None:
    n = len(text) + len(skipped)
    if len(text) < LEAST_KEPT * n:
        raise UserError(
            f"{directory}: {len(skipped)} of {n} utterances had to be skipped (the first is "
            f"{min(skipped)}), more than 5 %; correct the corpus, then run the stage again with "
            "--force true"
        )
    if not any(text.values()):
        raise UserError(
            f"the recogniser {directory.name} heard no word in any of {n} utterances; give "
            "another one as --asr_model, of the language that is spoken"
        )
