"""The end of a dump: the jobs' scp files become feats.scp, with a check of the count."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.config import write_yaml
from cfia.errors import UserError
from cfia.files import read_json
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import journal
from cfia.upstream.plan import Plan, remove_unfinished

# With fewer of the utterances than this, `--skip_bad true` does not help.
LEAST_KEPT = 0.95

_log = logging.getLogger(__name__)


def merge(directory: Path) -> None:
    """Write feats.scp, utt2num_frames, frontend.yaml and, if any, skipped; finish the marker.

    Raises:
        UserError: there is no plan; a job is not finished; jobs used different encoders;
            utterances are missing; under 95 % of them could be encoded.
    """
    plan = Plan.load(directory)
    found = _marker(directory)
    if found["state"] == "done":
        remove_unfinished(directory)
        _log.info("%s: already made, skipping", directory)
        return
    scp: dict[str, str] = {}
    frames: dict[str, str] = {}
    skipped: dict[str, str] = {}
    frontends: list[dict[str, Any]] = []
    for job in range(1, len(plan.jobs) + 1):
        files = journal.JobFiles(directory, plan.settings.name, job)
        header, batches = _finished(files, plan)
        frontends.append(header["frontend"])
        scp |= read_table(files.scp) if any(batch.offsets for batch in batches) else {}
        for batch in batches:
            frames |= {utterance: str(count) for utterance, count in batch.frames.items()}
            skipped |= batch.skipped
    if any(frontend != frontends[0] for frontend in frontends):
        raise UserError(
            f"the jobs of {directory} used different encoders; run the stage again with "
            "--force true"
        )
    _check_count(directory, plan, scp, frames, skipped)
    write_table(directory / "feats.scp", scp)
    write_table(directory / "utt2num_frames", frames)
    (directory / "skipped").unlink(missing_ok=True)
    if skipped:
        write_table(directory / "skipped", skipped)
    write_yaml(directory / "frontend.yaml", frontends[0])
    marker.finish(directory, found["options"], found["inputs"])
    remove_unfinished(directory)
    _log.info("%s: %d utterances", directory, len(scp))


def _marker(directory: Path) -> dict[str, Any]:
    path = directory / marker.NAME
    if not path.exists():
        raise UserError(f"{directory} was not begun; run `cfia dump_plan` first")
    found: dict[str, Any] = read_json(path)
    return found


def _finished(files: journal.JobFiles, plan: Plan) -> tuple[dict[str, Any], list[journal.Batch]]:
    """The journal of a finished job."""
    header, batches = journal.read(files)
    if not journal.finished(files, plan.digest()):
        missing = [
            utterance
            for number in plan.jobs[files.job - 1][len(batches) :]
            for utterance in plan.batches[number]
        ]
        which = f"{len(missing)} utterances are missing ({_some(missing)})" if missing else "cut"
        raise UserError(
            f"job {files.job} of {files.directory} is not finished: {which}; read its log, then "
            "run the stage again"
        )
    return header, batches


def _check_count(
    directory: Path,
    plan: Plan,
    scp: dict[str, str],
    frames: dict[str, str],
    skipped: dict[str, str],
) -> None:
    planned = plan.utterances()
    lost = [u for u in planned if u not in skipped and not (u in scp and u in frames)]
    if lost or len(scp) + len(skipped) != len(planned):
        raise UserError(
            f"{directory} lacks the features of {len(lost)} of {len(planned)} utterances "
            f"({_some(lost)}); run the stage again with --force true"
        )
    if len(scp) < LEAST_KEPT * len(planned):
        raise UserError(
            f"{directory}: {len(skipped)} of {len(planned)} utterances had to be skipped "
            f"({_some(sorted(skipped))}), more than 5 %; mend the corpus, then run the stage again "
            "with --force true"
        )
    if skipped:
        _log.warning(
            "%s: skipped %d of %d utterances: %s",
            directory,
            len(skipped),
            len(planned),
            " ".join(sorted(skipped)),
        )


def _some(utterances: list[str]) -> str:
    """Up to five utterances, for a message."""
    shown = ", ".join(utterances[:5])
    return shown if len(utterances) <= 5 else f"{shown}, ..."
