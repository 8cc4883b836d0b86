"""Stage 7: a scores.json for every finished run under an experiment directory."""

from __future__ import annotations

import logging
from pathlib import Path

from cfia.errors import UserError
from cfia.scoring.cells import Estimate, show
from cfia.scoring.scores_file import remove_scores, score_run, write_scores
from cfia.scoring.trained import find_runs, load

log = logging.getLogger(__name__)


def score_all(expdir: Path) -> None:
    """Score all finished runs; say which are not finished, and leave them out.

    Raises:
        UserError: no run is finished, or a file of one is broken.
    """
    runs = find_runs(expdir)
    for run in runs:
        if run.missing:
            log.warning("%s: %s", run.directory, run.lacks)
        if not run.finished:
            remove_scores(run)
            continue
        found = score_run(run, load(run))
        changed = write_scores(run, found)
        pooled = found["pooled"]
        log.info(
            "%s%s: UA %s, WA %.2f, %d utterances%s",
            run.directory, " (oracle)" if run.oracle else "",
            show(Estimate.of(pooled, "ua")), pooled["wa"], pooled["n"],
            "" if changed else " (nothing changed)",
        )  # fmt: skip
    if not any(run.finished for run in runs):
        raise UserError(
            f"no run under {expdir} has the posteriors of all its folds; run stage 6 again"
        )
