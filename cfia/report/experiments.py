"""List the experiments under an experiment directory, in whatever state, and remove one."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from cfia import directories, lock
from cfia.errors import UserError
from cfia.experiment import NAME, SCORES, Experiment, read, results_held
from cfia.files import read_json
from cfia.report.table import Column, Table, plain
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.significance import INDEPENDENT, UTTERANCE
from cfia.training.tested import POSTERIORS_MARKER

COLUMNS = [
    Column("experiment", "experiment"), Column("seeds", "seeds"), Column("trained", "begun"),
    Column("tested", "tested"), Column("ua", "UA"), Column("note", "note"),
]  # fmt: skip

log = logging.getLogger(__name__)


def listing(expdir: Path) -> str:
    """Describe all experiments in a table for the screen; UA is that of stage 7, if it has run.

    Raises:
        UserError: there is none.
    """
    rows = [_row(name, expdir / name) for name in _names(expdir)]
    if not rows:
        raise UserError(f"{expdir} holds no experiment; run stage 5 (training) first")
    return plain(Table(f"Experiments under {expdir}", COLUMNS, rows))


def _names(expdir: Path) -> list[str]:
    # Names that begin with a dot are of directories that a killed process was removing.
    paths = expdir.glob(f"[!.]*/[!.]*/{NAME}")
    return sorted(path.parent.relative_to(expdir).as_posix() for path in paths)


def _row(name: str, directory: Path) -> dict[str, Cell]:
    try:
        experiment = read(directory)
    except UserError:
        return {"experiment": name, "note": f"{NAME} was cut or edited, or is of another version"}
    begun = experiment.trainings()
    tested = sum((experiment.training(f, s) / POSTERIORS_MARKER).exists() for s, f in begun)
    seeds = sorted({seed for seed, _ in begun})
    total = len(experiment.fold_numbers) * len(seeds)
    return {
        "experiment": name,
        "seeds": " ".join(map(str, seeds)) if experiment.seeded else "none",
        "trained": f"{len(begun)} of {total}",
        "tested": f"{tested} of {total}",
        **_scored(experiment),
    }


def _scored(experiment: Experiment) -> dict[str, Cell]:
    words = experiment.words
    ua: Cell = None
    with contextlib.suppress(FileNotFoundError, UserError, KeyError, TypeError):
        scores = read_json(experiment.directory / SCORES)
        ua = Estimate.of(scores["pooled"], "ua")
        words += ["partial"] * scores["protocol"]["partial"]
        words += [INDEPENDENT] * (scores["protocol"]["clusters"] == UTTERANCE)
    return {"ua": ua, "note": ", ".join(words)}


def remove(expdir: Path, name: str) -> None:
    """Remove an experiment, all its folds and seeds, at once.

    Args:
        name: `<system>/<scheme>`, as `listing` has it.

    Raises:
        UserError: there is none of that name.
    """
    names = _names(expdir)
    if name not in names:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise UserError(f"there is no experiment {name} under {expdir}; {known}")
    with results_held(expdir), lock.alone(expdir / name, wait=False):
        directories.remove(expdir / name)
        lock.file_of(expdir / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the system may have other schemes
            (expdir / name).parent.rmdir()
    log.info("%s: removed; stage 8 makes the tables without it", expdir / name)
