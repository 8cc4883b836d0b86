"""Make posteriors of another toolkit an experiment, which stages 7 and 8 score beside our own.

They must be of the utterances that the fold lists test, and of the labels of the data directory;
that the networks were trained on the other utterances alone is for their maker to know.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfia import marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.experiment import ELSEWHERE, NAME, PARTS, Experiment, read
from cfia.files import sha256, write_yaml
from cfia.kaldi.table import read_table
from cfia.naming import split_folds_scheme
from cfia.posteriors import (
    Posteriors,
    concatenate,
    in_order,
    read_posteriors,
    select,
    write_posteriors,
)
from cfia.provenance import commit
from cfia.scoring.outputs import check_utterances
from cfia.training.folds import read_folds
from cfia.training.inputs import classes, measure_folds, measure_part, speakers_shared
from cfia.training.record import record
from cfia.training.tested import POSTERIORS, POSTERIORS_MARKER, posteriors_marked
from cfia.training.training import Training

PROVENANCE = "provenance.yaml"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be imported, and from where.

    Attributes:
        directory: exp/<system>/<scheme>, to be written.
        data: the data directory, with labels and speakers.
        folds: the fold lists of the scheme.
        files: posteriors.tsv of one seed, of one fold, several or all.
        command: the command line, for the report.
    """

    directory: Path
    data: Path
    folds: Path
    files: Sequence[Path]
    seed: int
    corpus: str
    command: str


def import_posteriors(request: Request, *, force: bool) -> None:
    """Write the experiment, and for each fold the posteriors of one seed.

    Raises:
        UserError: a file is broken; data or fold lists are not there, or not as they were made;
            the files lack an utterance that a fold tests, have one that none tests, another label
            or other classes; the directory is of an experiment that was trained here, or holds what
            somebody put there; or the seed is there with other posteriors and `force` is false.
    """
    experiment = _experiment(request)
    by_fold = _split(request, experiment)
    _check_directory(request.directory)
    trainings = {fold: Training(experiment, fold, request.seed) for fold in by_fold}
    for training in trainings.values():
        marker.refuse_unknown(training.directory)
    if not force:
        for fold, training in trainings.items():
            _check_same(training, by_fold[fold])
    record(experiment, force=force, again=[(fold, request.seed) for fold in by_fold])
    for fold, training in trainings.items():
        _write(training, by_fold[fold], request)
    n = sum(len(posteriors.utts) for posteriors in by_fold.values())
    log.info(
        "%s: %d utterances in %d folds, seed %d; stages 7 and 8 score it",
        request.directory, n, len(by_fold), request.seed,
    )  # fmt: skip


def _experiment(request: Request) -> Experiment:
    made = marker.read(request.data)
    options = made.options if made else {}
    divided = marker.read(request.folds)  # a directory of a user's own tells by its name
    cv, validation = split_folds_scheme(request.folds.name)
    if divided:
        cv = str(divided.options.get("cv", cv))
        validation = str(divided.options.get("validation", validation))
    return Experiment(
        directory=request.directory,
        system=request.directory.parent.name,
        scheme=request.directory.name,
        corpus=request.corpus,
        protocol={
            "labels": str(options.get("labels", "")),
            "text_tags": str(options.get("text_tags", "strip")),
            "cv": cv,
            "validation": validation,
            "selection": ELSEWHERE,
            **speakers_shared(cv, request.data, request.folds),
        },
        run={},
        classes=classes(request.data),
        folds=measure_folds(request.folds, request.data),
        parts=dict.fromkeys(PARTS, measure_part(request.data, {})),
        trained_with=None,
    )


def _split(request: Request, experiment: Experiment) -> dict[int, Posteriors]:
    """Read the files, and deal their utterances out to the folds that test them."""
    whole = concatenate([_read(path, experiment.classes) for path in request.files])
    labels, folds = read_table(request.data / "utt2emo"), read_folds(request.folds)
    tested = {utt: labels[utt] for fold in folds.values() for utt in fold.test}
    check_utterances(whole, tested, "make the file from these labels and fold lists")
    return {number: select(whole, sorted(fold.test)) for number, fold in folds.items()}


def _read(path: Path, names: Sequence[str]) -> Posteriors:
    posteriors = read_posteriors(path)
    if sorted(posteriors.classes) != sorted(names):
        raise UserError(
            f"{path} has the classes {', '.join(posteriors.classes)}, and the data directory "
            f"{', '.join(names)}; rename them in its first line and in its second column"
        )
    return in_order(posteriors, names)


def _check_directory(directory: Path) -> None:
    if (directory / NAME).exists() and not read(directory).imported:
        raise UserError(
            f"{directory} was trained here, and nothing is imported into it; choose another "
            "--system"
        )


def _check_same(training: Training, posteriors: Posteriors) -> None:
    """Refuse to replace what was imported before by other posteriors."""
    path = training.directory / POSTERIORS
    if path.exists() and not _equal(read_posteriors(path), posteriors):
        raise UserError(
            f"{path} was imported from other posteriors; --force true replaces it, another --seed "
            "keeps both"
        )


def _equal(a: Posteriors, b: Posteriors) -> bool:
    same = (a.classes, a.utts) == (b.classes, b.utts) and (a.refs == b.refs).all()
    return bool(same and abs(a.probs - b.probs).max() < 1e-8)  # nine digits are written


def _write(training: Training, posteriors: Posteriors, request: Request) -> None:
    """Write one fold's directory, whole or not at all, unless it is there."""
    if (training.directory / marker.NAME).exists():
        log.info("%s: already imported, skipping", training.directory)
        return
    names, classes = posteriors.classes, [posteriors.classes[i] for i in posteriors.refs]
    with atomic_directory(training.directory) as directory:
        write_posteriors(directory / POSTERIORS, names, posteriors.utts, classes, posteriors.probs)
        write_yaml(directory / PROVENANCE, _provenance(request))
        options, inputs = posteriors_marked(training)
        marker.finish(directory, options, inputs, name=POSTERIORS_MARKER, files=[POSTERIORS])
        marker.finish(directory, *training.marked(), files=[PROVENANCE])


def _provenance(request: Request) -> Mapping[str, object]:
    files = {path.name: sha256(path) for path in request.files}
    return {"command": request.command, "commit": commit(), "imported": files}
