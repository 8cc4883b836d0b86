"""Stage 7: a scores.json for every finished run under an experiment directory."""

from __future__ import annotations

import logging
from pathlib import Path

from cfia.errors import UserError
from cfia.scoring.cells import Estimate, show
from cfia.scoring.scores_file import remove_scores, score_experiment, write_scores
from cfia.scoring.trained import find_trained, load

log = logging.getLogger(__name__)


def score_all(expdir: Path) -> None:
    """Score all finished runs; say which are not finished, and leave them out.

    Raises:
        UserError: no run is finished, or a file of one is broken.
    """
    experiments = find_trained(expdir)
    for trained in experiments:
        if trained.missing:
            log.warning("%s: %s", trained.directory, trained.lacks)
        if not trained.finished:
            remove_scores(trained)
            continue
        found = score_experiment(trained, load(trained))
        changed = write_scores(trained, found)
        pooled = found["pooled"]
        log.info(
            "%s%s: UA %s, WA %.2f, %d utterances%s",
            trained.directory, " (oracle)" if trained.oracle else "",
            show(Estimate.of(pooled, "ua")), pooled["wa"], pooled["n"],
            "" if changed else " (nothing changed)",
        )  # fmt: skip
    if not any(trained.finished for trained in experiments):
        raise UserError(
            f"no run under {expdir} has the posteriors of all its folds; run stage 6 again"
        )
