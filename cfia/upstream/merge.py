"""Finish a dump: join the jobs' scp files into feats.scp, and check that none is missing."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.errors import UserError
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table, write_table
from cfia.shapes import ShapeError, fit
from cfia.upstream import journal
from cfia.upstream.dump_plan import Plan, remove_unfinished, with_facts
from cfia.upstream.take_over import ORIGINS, REMARKS, TAKEN

# The smallest share of the utterances that a dump with `--skip_bad true` must keep.
LEAST_KEPT = 0.95
# The tables of a finished dump that are there only if they have rows.
OPTIONAL = ("skipped", ORIGINS, TAKEN, REMARKS)

Tables = dict[str, dict[str, str]]

_log = logging.getLogger(__name__)


def merge(directory: Path) -> None:
    """Write feats.scp, utt2num_frames, frontend.yaml and those of OPTIONAL; finish the marker.

    Raises:
        UserError: there is no plan; a job is not finished; jobs used different encoders;
            utterances are missing, or were skipped and are not to be; under 95 % of them could
            be encoded.
    """
    plan = Plan.load(directory)
    recorded = marker.read(directory)
    if recorded is None:
        raise UserError(f"{directory} was not begun; run `cfia dump_plan` first")
    if recorded.done:
        remove_unfinished(directory)
        _log.info("%s: already made, skipping", directory)
        return
    tables, frontend = _collect(directory, plan)
    _check_count(directory, plan, tables)
    for name, rows in tables.items():
        if rows or name not in OPTIONAL:
            write_table(directory / name, rows)
        else:
            (directory / name).unlink(missing_ok=True)
    with_facts(frontend, plan.settings).write(directory)
    marker.finish(directory, recorded.options, recorded.inputs)
    remove_unfinished(directory)
    if remarks := tables[REMARKS]:
        first = min(remarks)
        more = f"; {len(remarks) - 1} more are in its logs" if len(remarks) > 1 else ""
        _log.warning("%s: %s: %s%s", directory, first, remarks[first], more)
    utterances = len(tables["feats.scp"])
    for dump, count in sorted(Counter(tables[TAKEN].values()).items()):
        _log.info("%s: took over %d of %d utterances from %s", directory, count, utterances, dump)
    _log.info("%s: %d utterances", directory, utterances)


def _collect(directory: Path, plan: Plan) -> tuple[Tables, Frontend]:
    """Join the rows of all jobs, by the file that they go to; check that they had one encoder."""
    tables: Tables = {name: {} for name in ("feats.scp", "utt2num_frames", *OPTIONAL)}
    frontends = []
    for job in range(1, len(plan.jobs) + 1):
        files = journal.JobFiles(directory, plan.settings.name, job)
        header, batches = _finished(files, plan)
        frontends.append(header["frontend"])
        if any(batch.offsets for batch in batches):
            tables["feats.scp"] |= read_table(files.scp)
        for batch in batches:
            tables["utt2num_frames"] |= {utterance: str(n) for utterance, n in batch.frames.items()}
            tables["skipped"] |= batch.skipped
            tables[REMARKS] |= batch.remarks
            tables[ORIGINS] |= batch.origins
            tables[TAKEN] |= batch.taken
    if any(not journal.same_encoder(frontend, frontends[0]) for frontend in frontends):
        raise UserError(
            f"the jobs of {directory} used different encoders; run the stage again with "
            "--force true"
        )
    try:
        frontend: Frontend = fit(Frontend, frontends[0])
    except ShapeError as error:
        raise UserError(
            f"the journal of job 1 of {directory} is of another version of cfia ({error}); run the "
            "stage again with --force true"
        ) from None
    return tables, frontend


def _finished(files: journal.JobFiles, plan: Plan) -> tuple[dict[str, Any], list[journal.Batch]]:
    """Read the journal of a job that must be finished."""
    header, batches = journal.read(files)
    if not journal.finished(files, plan.digest):
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


def _check_count(directory: Path, plan: Plan, tables: Tables) -> None:
    planned, skipped = plan.utterances(), sorted(tables["skipped"])
    encoded = tables["feats.scp"].keys() & tables["utt2num_frames"].keys()
    lost = sorted(set(planned) - encoded - set(skipped))
    if lost or len(encoded) + len(skipped) != len(planned):
        raise UserError(
            f"{directory} lacks the features of {len(lost)} of {len(planned)} utterances "
            f"({_some(lost)}); run the stage again with --force true"
        )
    if skipped and not plan.settings.skip_bad:
        raise UserError(
            f"{directory} lacks bad audio that was skipped ({_some(skipped)}); go on with "
            "--skip_bad true, or correct the corpus and give --force true"
        )
    if len(encoded) < LEAST_KEPT * len(planned):
        raise UserError(
            f"{directory}: {len(skipped)} of {len(planned)} utterances had to be skipped "
            f"({_some(skipped)}), more than 5 %; correct the corpus, then run the stage again with "
            "--force true"
        )
    if skipped:
        count = f"{len(skipped)} of {len(planned)} utterances"
        _log.warning("%s: skipped %s: %s", directory, count, " ".join(skipped))


def _some(utterances: list[str]) -> str:
    """List up to five utterances, for a message."""
    shown = ", ".join(utterances[:5])
    return shown if len(utterances) <= 5 else f"{shown}, ..."
