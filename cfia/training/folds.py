"""Folds: which utterances train, validate and test, for every scheme that a corpus has.

A scheme holds out one session, or one speaker, per fold. Its lists are in
`<scheme>/<k>/{train,valid,test}`, one utterance id a line; k runs from 1 in C-locale order of
what is held out.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cfia import marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.experiment import PARTS
from cfia.files import sha256
from cfia.kaldi.data_dir import DataDir, speakers_known
from cfia.kaldi.table import read_lines, split_row
from cfia.training.fold_check import check

log = logging.getLogger(__name__)

RANDOM_SHARE = 0.2  # of the training utterances that `random20` takes for validation
SEED = 1  # of `random20`
RANDOM = "random20"
USE_RANDOM = f"use --validation {RANDOM}"


class ImpossibleError(UserError):
    """The corpus does not have what a scheme or its validation needs."""


class MissingClassError(UserError):
    """A class is missing from the training part of a fold."""


@dataclass(frozen=True)
class Fold:
    """One fold: utterance ids in C-locale order."""

    train: list[str]
    valid: list[str]
    test: list[str]


def make_folds(data: DataDir, cv: str, validation: str) -> dict[str, Fold]:
    """Make the folds of one scheme.

    Args:
        cv: `session` or `speaker`, what is held out for the test.
        validation: `random20`, `partner`, `next_speaker` or `next_session`
            (conf/README.md, section 4).

    Returns:
        What is held out -> its fold, in C-locale order.

    Raises:
        ImpossibleError: the corpus has no sessions, a speaker in several of them, or too few
            speakers or sessions for the validation.
        MissingClassError: a class is missing from the training part of a fold.
        UserError: the corpus has no labels.
    """
    if not data.table("utt2emo"):
        raise UserError(f"no such file {data.path}/utt2emo; run stage 1 on a labelled corpus")
    groups = _held_out(data, cv)
    folds = {}
    for number, name in enumerate(sorted(set(groups.values())), start=1):
        test = {u for u, group in groups.items() if group == name}
        rest = set(groups) - test
        valid = _validation(data, validation, name, test, rest)
        fold = Fold(sorted(rest - valid), sorted(valid), sorted(test))
        where = f"fold {number} ({name} is tested)"
        for part in PARTS:
            if not getattr(fold, part):
                raise ImpossibleError(
                    f"--cv {cv} --validation {validation} leaves the {part} list of {where} empty; "
                    + ("the corpus is too small for it" if validation == RANDOM else USE_RANDOM)
                )
        _check_classes(data, fold, where)
        folds[name] = fold
    return folds


def make_scheme(
    data: DataDir, directory: Path, cv: str, validation: str, *, force: bool = False
) -> None:
    """Write the folds of one scheme to `directory`, with a marker, and check what was written.

    Folds that are there already are checked again, for somebody may have edited a list.

    Raises:
        UserError: as `make_folds` and `cfia.training.fold_check.check`, or the directory was
            made differently and `force` is false.
    """
    options = {"cv": cv, "validation": validation}
    tables = [data.path / name for name in ("utt2spk", "utt2emo", "utt2session")]
    inputs = {path.name: sha256(path) for path in tables if path.exists()}
    if marker.check(directory, options, inputs, force=force) is marker.State.DONE:
        check(data.path, directory, cv, validation)
        log.info("%s: already made, skipping", directory)
        return
    folds = make_folds(data, cv, validation)
    with atomic_directory(directory) as temporary:
        _write(temporary, folds.values())
        reports = check(data.path, temporary, cv, validation, shown=directory)
        marker.finish(temporary, options, inputs)
    for report in reports:
        log.info("%s %s", directory, report)


def read_folds(directory: Path) -> dict[int, Fold]:
    """Read the folds of a scheme, by their number.

    Raises:
        UserError: there are none, or a list is missing or damaged.
    """
    n_folds = sum(1 for path in directory.glob("[0-9]*") if path.is_dir())
    if n_folds == 0:
        raise UserError(f"there are no folds in {directory}; run stage 2 (folds)")
    return {
        number: Fold(*(_read(directory / str(number) / part) for part in PARTS))
        for number in range(1, n_folds + 1)
    }


def _read(path: Path) -> list[str]:
    """Read the utterance ids of a list, the first word of each line."""
    return [split_row(line)[0] for line in read_lines(path)]


def _write(directory: Path, folds: Iterable[Fold]) -> None:
    for number, fold in enumerate(folds, start=1):
        where = directory / str(number)
        where.mkdir()
        for part in PARTS:
            utterances = getattr(fold, part)
            (where / part).write_text("".join(f"{u}\n" for u in utterances), encoding="utf-8")


def _held_out(data: DataDir, cv: str) -> Mapping[str, str]:
    """Map each utterance to the session or speaker whose fold tests it."""
    if not speakers_known(data.utt2spk):
        raise ImpossibleError(
            f"{data.path} knows no speakers (in utt2spk each utterance is its own), so --cv {cv} "
            "cannot keep those who are tested out of training; use --cv given or utterance10"
        )
    if cv == "session" and not data.table("utt2session"):
        raise ImpossibleError(f"{data.path} has no sessions (utt2session); use --cv speaker")
    groups = data.table("utt2session") if cv == "session" else data.utt2spk
    if len(set(groups.values())) < 2:
        way_out = "; use --cv speaker" if len(set(data.utt2spk.values())) > 1 else ""
        raise ImpossibleError(
            f"{data.path} has one {cv} only, so none can be held out for a test{way_out}"
        )
    if cv == "session":
        _check_speaker_sessions(data)
    return groups


def _check_speaker_sessions(data: DataDir) -> None:
    sessions: dict[str, str] = {}
    for utterance, speaker in data.utt2spk.items():
        session = data.table("utt2session")[utterance]
        if sessions.setdefault(speaker, session) != session:
            raise ImpossibleError(
                f"{data.path}: {speaker} speaks in {sessions[speaker]} and in {session}, so "
                "sessions do not keep speakers apart; use --cv speaker --validation random20"
            )


def _validation(
    data: DataDir, validation: str, name: str, test: set[str], rest: set[str]
) -> set[str]:
    """Choose the utterances of `rest` that validate the fold that tests `name`, all of `test`."""
    if validation == RANDOM:
        return _random20(data, name, rest)
    if validation == "next_speaker":
        return _next(data.utt2spk, test, rest)
    sessions = data.table("utt2session")
    if not sessions:
        raise ImpossibleError(
            f"--validation {validation} needs sessions, and {data.path} has none; {USE_RANDOM}"
        )
    _check_speaker_sessions(data)
    if validation == "next_session":
        tested = _values(sessions, test)
        return _next(sessions, test, {u for u in rest if sessions[u] not in tested})
    return _partner(data, name, test, rest)


def _next(table: Mapping[str, str], test: set[str], rest: set[str]) -> set[str]:
    """Choose the utterances of the first speaker or session of `rest` after the last of `test`.

    After the last of all comes the first.
    """
    last, others = max(_values(table, test)), sorted(_values(table, rest))
    following = next((other for other in others if other > last), others[0] if others else None)
    return {u for u in rest if table[u] == following}


def _values(table: Mapping[str, str], utterances: set[str]) -> set[str]:
    return {table[utterance] for utterance in utterances}


def _partner(data: DataDir, name: str, test: set[str], rest: set[str]) -> set[str]:
    """Choose the utterances of the other speaker of the session of `test`."""
    sessions = _values(data.table("utt2session"), test)
    partner = {u for u in rest if data.table("utt2session")[u] in sessions}
    if not partner and len(_values(data.utt2spk, test)) > 1:
        raise ImpossibleError(
            "--validation partner needs --cv speaker: with --cv session both speakers are tested"
        )
    if len(_values(data.utt2spk, partner)) != 1:
        raise ImpossibleError(
            f"--validation partner needs two speakers in each session; in {data.path} that of "
            f"{name} has {1 + len(_values(data.utt2spk, partner))}; {USE_RANDOM}"
        )
    return partner


def _random20(data: DataDir, name: str, rest: set[str]) -> set[str]:
    """Draw a fifth of `rest`, of each class in proportion, and never all of a class.

    Utterances are ranked by a hash of their id, the fold and a fixed seed: the draw depends on
    no library's generator. What rounding leaves goes to the classes with the largest remainders,
    as in sklearn's StratifiedShuffleSplit, which refuses a class of one utterance; here such an
    utterance stays in training.
    """
    ranked: dict[str, list[str]] = {}
    for utterance in sorted(rest, key=lambda u: _hash(f"{SEED} {name} {u}")):
        ranked.setdefault(data.table("utt2emo")[utterance], []).append(utterance)
    quota = {label: int(RANDOM_SHARE * len(utts)) for label, utts in ranked.items()}
    missing = max(1, round(RANDOM_SHARE * len(rest))) - sum(quota.values())
    by_remainder = sorted(
        (label for label in ranked if quota[label] + 1 < len(ranked[label])),
        key=lambda label: (quota[label] - RANDOM_SHARE * len(ranked[label]), label),
    )
    for label in by_remainder[:missing]:
        quota[label] += 1
    return {utterance for label, utts in ranked.items() for utterance in utts[: quota[label]]}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def class_advice(missing: set[str], valid: set[str]) -> str:
    """Say what helps where training has no utterance of a class.

    Args:
        missing: the classes; valid: those of the validation part, which may have taken them.
    """
    if missing <= valid:
        return f"{USE_RANDOM}, which takes no class whole"
    return (
        "the speakers that are not tested never say it, so another --validation would not help: "
        "give --labels NAME with a label set conf/labels/NAME.yaml that leaves it out ('-') or "
        "joins it to another class"
    )


def _check_classes(data: DataDir, fold: Fold, where: str) -> None:
    utt2emo = data.table("utt2emo")
    for part in PARTS:
        present = {utt2emo[utterance] for utterance in getattr(fold, part)}
        absent = set(utt2emo.values()) - present
        missing = ", ".join(sorted(absent))
        if missing and part == "train":
            raise MissingClassError(
                f"{where} of {data.path} has no training utterance of the class {missing}; "
                f"{class_advice(absent, {utt2emo[utterance] for utterance in fold.valid})}"
            )
        if missing:
            log.warning("%s: its %s part has no utterance of the class %s", where, part, missing)
