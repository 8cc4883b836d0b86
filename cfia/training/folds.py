"""Folds: which utterances train, validate and test, for every scheme that a corpus has.

`cfia.training.schemes` says what each fold tests, `cfia.training.validation` what of the rest
validates. The lists of a scheme are in `<scheme>/<k>/{train,valid,test}`, one utterance id a line;
k runs from 1 in C-locale order of what is held out, and beside them `folds.log` describes them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import intern

from cfia import lock, marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.experiment import PARTS, SPEAKERS_SHARED
from cfia.files import sha256, write_if_changed
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_ids
from cfia.options import not_together, scheme_kind
from cfia.training.fold_check import check
from cfia.training.schemes import Division, ImpossibleError, divisions
from cfia.training.validation import USE_RANDOM, validation_part

log = logging.getLogger(__name__)

TABLES = ("utt2spk", "utt2emo", "utt2session", "utt2split")  # those that folds are made from
LOG = "folds.log"  # not among the files that the marker knows
TESTED = "tested "  # in a marker, before the tables of a data directory of test parts alone


class MissingClassError(UserError):
    """A class is missing from the training part of a fold."""


@dataclass(frozen=True)
class Fold:
    """One fold: utterance ids in C-locale order."""

    train: list[str]
    valid: list[str]
    test: list[str]


def make_folds(
    data: DataDir, cv: str, validation: str, tested: DataDir | None = None
) -> dict[str, Fold]:
    """Make the folds of one scheme.

    Args:
        cv: how they are made; validation: what validates (conf/README.md, section 4). Both are
            legal values of the options.
        tested: data of another corpus, which one fold tests; all of `data` is for training and
            validation.

    Returns:
        What is held out, or another name -> its fold, in the order of their numbers.

    Raises:
        ImpossibleError: the corpus has no sessions, speakers or official parts, a speaker in
            several sessions, or too few of them; or the validation does not go with `cv`.
        MissingClassError: a class is missing from the training part of a fold.
        UserError: the corpus has no labels, or broken official parts.
    """
    labels = data.table("utt2emo")
    if not labels:
        raise UserError(f"no such file {data.path}/utt2emo; run stage 1 on a labelled corpus")
    wrong = not_together(cv, validation)
    if wrong:
        raise ImpossibleError(wrong)
    folds, every, utterances = {}, set(labels.values()), data.utterances
    found = divisions(data, cv) if tested is None else [_across(data, tested, cv)]
    if tested is not None:
        utterances = sorted({*utterances, *tested.utterances})
    for number, division in enumerate(found, start=1):
        valid = validation_part(data, validation, division)
        parts = (division.rest - valid, valid, division.test)
        fold = Fold(*(list(filter(part.__contains__, utterances)) for part in parts))
        where = f"fold {number} ({division.words})"
        for part in PARTS:
            if not getattr(fold, part) and (part, validation) != ("valid", "none"):
                random = validation.startswith("random")
                raise ImpossibleError(
                    f"--cv {cv} --validation {validation} leaves the {part} list of {where} empty; "
                    + ("the corpus is too small for it" if random else USE_RANDOM)
                )
        missing = _missing(every, labels, fold.train)
        if missing:
            advice = class_advice(missing, set(map(labels.__getitem__, fold.valid)))
            raise MissingClassError(
                f"{where} of {data.path} has no training utterance of the class "
                f"{', '.join(sorted(missing))}; {advice}"
            )
        folds[division.name] = fold
    return folds


def _across(data: DataDir, tested: DataDir, cv: str) -> Division:
    """Divide two corpora; what is drawn for validation does not depend on the tested one."""
    return Division(cv, f"{tested.path} is tested", set(tested.utt2spk), set(data.utt2spk))


def make_scheme(
    data: DataDir,
    directory: Path,
    cv: str,
    validation: str,
    *,
    tested: DataDir | None = None,
    force: bool = False,
) -> None:
    """Write the folds of one scheme to `directory`, with a marker, and check what was written.

    `tested` is as for `make_folds`.

    Folds that are there already are checked again, for somebody may have edited a list. One line
    says what they are, and `folds.log` in the directory each fold.

    Raises:
        UserError: as `make_folds` and `cfia.training.fold_check.check`, or the directory was
            made differently and `force` is false.
    """
    with lock.making(directory, force=force):
        _make_scheme(data, directory, cv, validation, tested, force=force)


def _make_scheme(
    data: DataDir,
    directory: Path,
    cv: str,
    validation: str,
    tested: DataDir | None,
    *,
    force: bool,
) -> None:
    options = {"cv": cv, "validation": validation}
    names = [name for name in TABLES if name != "utt2split" or cv == "given"]
    places = {"": data.path} | ({TESTED: tested.path} if tested else {})
    inputs = {
        f"{prefix}{name}": sha256(place / name)
        for prefix, place in places.items()
        for name in names
        if (place / name).exists()
    }
    checked = partial(check, data.path, tested=tested.path if tested else None)
    if marker.check(directory, options, inputs, force=force) is marker.State.DONE:
        checked(directory, cv, validation)
        log.info("%s: already made, skipping", directory)
        return
    folds = list(make_folds(data, cv, validation, tested).values())
    with atomic_directory(directory) as temporary:
        _write(temporary, folds)
        lines = checked(temporary, cv, validation, shown=directory)
        balance = _balance(data, folds) if scheme_kind(cv) == "kfold" else []
        lacking = _lacking(data.table("utt2emo") | (tested or data).table("utt2emo"), folds)
        lines += [*balance, *lacking]
        write_if_changed(temporary / LOG, "".join(f"{line}\n" for line in lines))
        marker.finish(temporary, options, inputs)
    words = [_tested(folds), *_of_scheme(cv, validation), *balance[:1]]
    if lacking:
        words.append(f"{lacking[0]}{f' (and {len(lacking) - 1} more)' if lacking[1:] else ''}")
    level = logging.WARNING if lacking else logging.INFO
    log.log(level, "%s: %s; %s has more", directory, "; ".join(words), LOG)


def _tested(folds: Sequence[Fold]) -> str:
    sizes = [len(fold.test) for fold in folds]
    n = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{sizes[0]}"
    return f"1 fold, which tests {n}" if len(folds) == 1 else f"{len(folds)} folds, each tests {n}"


def _of_scheme(cv: str, validation: str) -> list[str]:
    """Say what a user of some schemes may not expect."""
    if scheme_kind(cv) == "utterance":
        return [SPEAKERS_SHARED]
    if cv == "given" and validation != "given":
        return ["an official validation part goes into training first (but --validation given)"]
    return []


def _balance(data: DataDir, folds: Sequence[Fold]) -> list[str]:
    """Say which share of each class, and of all utterances, the folds test."""
    labels = data.table("utt2emo")
    tested = [Counter(map(labels.__getitem__, fold.test)) for fold in folds]
    counts = {"all utterances": [count.total() for count in tested]}
    counts |= {name: [count[name] for count in tested] for name in sorted(set(labels.values()))}
    return [
        f"of {name} a fold tests {100 * min(n) / sum(n):.1f} to {100 * max(n) / sum(n):.1f} % "
        f"(evenly: {100 / len(folds):.1f} %)"
        for name, n in counts.items()
    ]


def read_folds(directory: Path) -> dict[int, Fold]:
    """Read the folds of a scheme, by their number.

    Raises:
        UserError: there are none, or a list is missing or damaged.
    """
    return {number: read_fold(directory, number) for number in range(1, count_folds(directory) + 1)}


def count_folds(directory: Path) -> int:
    """Count the folds of a scheme.

    Raises:
        UserError: there are none.
    """
    n_folds = sum(1 for path in directory.glob("[0-9]*") if path.is_dir())
    if n_folds == 0:
        raise UserError(f"there are no folds in {directory}; run stage 2 (folds)")
    return n_folds


def read_fold(directory: Path, number: int) -> Fold:
    """Read one fold of a scheme.

    Raises:
        UserError: a list is missing or damaged.
    """
    return Fold(*(_read(directory / str(number) / part) for part in PARTS))


def _read(path: Path) -> list[str]:
    """Read the utterance ids of a list, the first word of each line; validation may have none."""
    if path.name == "valid" and path.exists() and not path.stat().st_size:
        return []
    return list(map(intern, read_ids(path)))  # of all folds, one copy of each


def _write(directory: Path, folds: Iterable[Fold]) -> None:
    for number, fold in enumerate(folds, start=1):
        where = directory / str(number)
        where.mkdir()
        for part in PARTS:
            lines = "\n".join([*getattr(fold, part), ""])
            (where / part).write_text(lines, encoding="utf-8")


def class_advice(missing: set[str], valid: set[str]) -> str:
    """Say what helps where training has no utterance of a class.

    Args:
        missing: the classes; valid: those of the validation part, which may have taken them.
    """
    if missing <= valid:
        return f"{USE_RANDOM}, which takes no class whole"
    return (
        "no utterance that is not tested has it, so another --validation would not help: "
        "give --labels NAME with a label set conf/labels/NAME.yaml that leaves it out ('-') or "
        "joins it to another class"
    )


def _missing(
    classes: Iterable[str], labels: Mapping[str, str], utterances: Iterable[str]
) -> set[str]:
    """Find the classes that none of some utterances has; mostly the first few have all."""
    missing = set(classes)
    for utterance in utterances:
        missing.discard(labels[utterance])
        if not missing:
            break
    return missing


def _lacking(labels: Mapping[str, str], folds: Sequence[Fold]) -> list[str]:
    """List the validation and test parts that lack a class, each in a sentence."""
    every = set(labels.values())
    return [
        f"fold {number}: its {part} part has no utterance of the class {', '.join(sorted(missing))}"
        for number, fold in enumerate(folds, start=1)
        for part in ("valid", "test")
        for missing in [_missing(every, labels, getattr(fold, part))]
        if missing and getattr(fold, part)
    ]
