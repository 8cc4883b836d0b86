"""Measure what the trainings of an experiment read: digests of data, dumps and fold lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

from cfia import marker
from cfia.errors import UserError
from cfia.experiment import NAME, Dump, Experiment, Folds, Part
from cfia.files import digest_each, sha256
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import check_unedited
from cfia.naming import ASR
from cfia.options import scheme_kind
from cfia.training import fold_check
from cfia.training.folds import TABLES, TESTED, class_advice, count_folds, read_fold
from cfia.upstream import imported

RECOGNISED = f"{ASR}/"  # the tables that recognisers have written, from the data directory
MADE_BY = {"audio": "stage 3", "text": "stage 4"}
FEATURE_TABLES = ("wav.scp", "segments", "utt2dur", "text")  # those that features are made from
SCORE_TABLES = ("utt2emo", "utt2spk")  # those that scores, too, are made from


def measure_part(data: Path, dumps: Mapping[str, Path], *, archives: bool = False) -> Part:
    """Describe one part of a fold by the digests of its tables and its features.

    Args:
        dumps: the dump directory of each modality.
        archives: compare the digests of their archives too.

    Raises:
        UserError: data or features are not there, or not as they were made; or features were made
            from other data than there is now.
    """
    check_unedited(data)
    measured = {}
    for modality, dump in dumps.items():
        made_by = imported.made_by(dump, modality, MADE_BY[modality])
        digest_now = marker.output_digest(dump, made_by, archives=archives)
        measured[modality] = Dump(dump, digest_now)
        # Features of other audio or transcripts than the data directory has now are of no use.
        _compare_tables(dump, data, FEATURE_TABLES, made_by)
    tables = [name for name in SCORE_TABLES if (data / name).exists()]
    return Part(data, {name: sha256(data / name) for name in tables}, measured)


def check_encoder(dump: Path, modality: str, upstream: str) -> None:
    """Refuse features of another encoder than the dump directory should have.

    Raises:
        UserError: they are of another one.
    """
    made = Frontend.read(dump)
    if (made.kind, made.name) != (modality, upstream):
        raise UserError(
            f"{dump} has {made.kind} features of {made.name}, not {modality} features of "
            f"{upstream}; move it away and run {MADE_BY[modality]} again"
        )


def _compare_tables(
    directory: Path, data: Path, tables: Collection[str], made_by: str, prefix: str = ""
) -> None:
    """Refuse a directory that was made from other tables than the data directory has now.

    Its marker names their digests behind the prefix.
    """
    recorded = marker.read(directory)
    for name, digest_then in recorded.inputs.items() if recorded else ():
        table = name.removeprefix(prefix) if name.startswith(prefix) else ""
        path = data / table
        if table not in tables and not table.startswith(RECOGNISED):
            continue
        if not (path.exists() and sha256(path) == digest_then):
            raise UserError(
                f"{directory} was made from another {table} than {path} is now; run {made_by} "
                "again with --force true"
            )


def measure_folds(directory: Path, data: Path, tested: Path | None = None) -> Folds:
    """Describe the fold lists of a scheme.

    Args:
        data: the data directory that they divide.
        tested: that of their test parts, where it is another.

    Raises:
        UserError: there are none, one is damaged, or they were made from other data than there is
            now.
    """
    number = count_folds(directory)
    # Each fold names all utterances: one is read after the other.
    lists = digest_each(vars(read_fold(directory, fold)) for fold in range(1, number + 1))
    check_unedited(data)
    marker.verify(directory, "stage 2 (folds)")
    _compare_tables(directory, data, TABLES, "stage 2 (folds)")
    if tested is not None and tested != data:
        check_unedited(tested)
        _compare_tables(directory, tested, TABLES, "stage 2 (folds)", TESTED)
    return Folds(directory, number, lists)


def check_unchanged(experiment: Experiment, *, archives: bool = False) -> None:
    """Refuse to go on where data, dumps or fold lists are not those that the experiment names.

    Args:
        archives: compare the digests of archives too, which takes a second for each GB.

    Raises:
        UserError: it names the first difference and the way out.
    """
    parts: dict[str, Part] = {}
    for name, part in experiment.parts.items():  # mostly all the same: digests of them once
        like = next((other for other in parts if experiment.parts[other] == part), None)
        if like:
            parts[name] = parts[like]
        else:
            parts[name] = measure_part(part.data, experiment.dumps(name), archives=archives)
    folds = _folds_of(experiment)
    difference = experiment.difference(dataclasses.replace(experiment, folds=folds, parts=parts))
    if difference:
        raise UserError(
            f"{experiment.directory / NAME} was written before a change ({difference}); run.sh "
            "with --force true trains again from stage 5 on"
        )


def _folds_of(experiment: Experiment) -> Folds:
    """Measure the fold lists of an experiment as they are now."""
    train, test = experiment.parts["train"], experiment.parts["test"]
    return measure_folds(experiment.folds.directory, train.data, test.data)


def check_tested(experiment: Experiment) -> None:
    """Refuse to score where labels, speakers or fold lists are not those that were trained with.

    Raises:
        UserError: it names the first difference and the way out.
    """
    part, folds = experiment.parts["test"], experiment.folds
    check_unedited(part.data)
    changed = [f"{part.data / name}" for name, then in part.tables.items()
               if not (part.data / name).exists() or sha256(part.data / name) != then]  # fmt: skip
    if _folds_of(experiment) != folds:
        changed.append(f"{folds.directory}")
    if changed:
        verb = "import" if experiment.imported else "train"
        raise UserError(
            f"{changed[0]} is not what {experiment.directory} was {verb}ed with; put it back, "
            f"{verb} again ({experiment.made_by('stage 5')} with --force true), or move the "
            "experiment away"
        )


def check_lists(experiment: Experiment) -> None:
    """Refuse fold lists that leak, or whose training part lacks a class.

    Lists may have been edited after stage 2: no speaker of the test may be in the training.

    Raises:
        UserError: it names the fold and the way out.
    """
    part, folds = experiment.parts["train"], experiment.folds.directory
    cv, validation = (str(experiment.protocol[key]) for key in ("cv", "validation"))
    fold_check.check(part.data, folds, cv, validation, tested=experiment.parts["test"].data)
    labels, left_out = read_table(part.data / "utt2emo"), skipped(experiment.dumps())
    for number in range(1, count_folds(folds) + 1):
        fold = read_fold(folds, number)
        present, valid = (
            {labels[utt] for utt in part if utt in labels and utt not in left_out}
            for part in (fold.train, fold.valid)
        )
        missing = set(experiment.classes) - present
        if missing:
            raise UserError(
                f"{folds / str(number) / 'train'} has no utterance of the class "
                f"{', '.join(sorted(missing))}; {class_advice(missing, valid)}"
            )


def speakers_shared(cv: str, data: Path, folds: Path) -> dict[str, bool]:
    """Give what the protocol says besides its options: whether test speakers stand in training.

    Of utterances at random they do, whoever they are; of official parts the fold lists tell; all
    other schemes keep them apart.
    """
    kind = scheme_kind(cv)
    shared = kind == "utterance" or (
        kind == "given" and fold_check.shares_speakers(data, folds, "train", "test")
    )
    return {"speakers_shared": True} if shared else {}


def validation_shared(experiment: Experiment) -> bool:
    """Whether validation parts have speakers of the training parts, and test parts have none.

    Scores on them, which select epochs, then stand above the test's.
    """
    if experiment.imported or experiment.scheme_words or not experiment.validated:
        return False
    data, folds = experiment.parts["train"].data, experiment.folds.directory
    return fold_check.shares_speakers(data, folds, "train", "valid")


def skipped(dumps: Mapping[str, Path]) -> dict[str, str]:
    """List utterances that `--skip_bad true` left without features in any dump, and why."""
    tables = [directory / "skipped" for directory in dumps.values()]
    return {utt: why for t in tables if t.exists() for utt, why in read_table(t).items()}


def classes(data: Path) -> tuple[str, ...]:
    """List the labels of a data directory in C-locale order, that of the network's outputs."""
    return tuple(sorted(set(read_table(data / "utt2emo").values())))
