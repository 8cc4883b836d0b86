"""Check the fold lists on disk, by rules of its own.

Nothing is shared with `cfia.training.folds`, which writes them: a mistake there, or in a list
that somebody edited, must show here.
"""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from itertools import pairwise, starmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.kaldi.table import read_ids, read_table

PARTS = ("train", "valid", "test")
MOST_NAMES = 12  # that the description of a fold lists

Parts = dict[str, list[str]]
Tables = dict[str, dict[str, str]]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Values = Callable[[str, str], Mask]
"""Of a part of a fold and a table, which of the table's values its utterances have, (V,)."""


class Columns:
    """Tables of N utterances as arrays, in which parts of a million are compared in no time.

    Attributes:
        rows: utterance -> its place in the arrays.
        names: table -> its values, V.
        numbers: table -> the place in `names` of each utterance's value, (N,); -1 where it has
            none, for of two corpora one may know no such thing, dialogues, say.
    """

    def __init__(self, tables: Tables) -> None:
        self.rows = {utterance: i for i, utterance in enumerate(tables["utt2spk"])}
        self.names: dict[str, list[str]] = {}
        self.numbers: dict[str, Rows] = {}
        for name, table in tables.items():
            numbers: dict[str, int] = {}
            values = map(table.get, self.rows)
            found = [-1 if v is None else numbers.setdefault(v, len(numbers)) for v in values]
            self.numbers[name], self.names[name] = np.array(found), list(numbers)

    def values(self, rows: Mapping[str, Rows], part: str, table: str) -> Mask:
        """Give which values of a table the utterances of a part have, (V,)."""
        mask = np.zeros(len(self.names[table]) + 1, bool)
        mask[self.numbers[table][rows[part]]] = True
        return mask[:-1]  # the last is of those without a value

    def named(self, table: str, values: Mask) -> list[str]:
        """Give the names of some values of a table, sorted."""
        return sorted(self.names[table][i] for i in np.flatnonzero(values))


def check(
    data: Path,
    folds: Path,
    cv: str,
    validation: str,
    *,
    shown: Path | None = None,
    tested: Path | None = None,
) -> list[str]:
    """Check all folds of a scheme, and describe each in a line.

    Args:
        data: the data directory; folds: the scheme's directory, with 1/, 2/, ... in it.
        cv: `session`, `speaker`, `kfold<k>`, `given`, `utterance<k>` or `train-<corpus>`;
            validation: `random<percent>`, `partner`, `next_speaker`, `next_session`, `given` or
            `none`; shown: what messages call `folds`; tested: the data directory of test parts,
            where it is another.

    Raises:
        UserError: a fold shares an utterance, a speaker, a session or (with `partner`) a dialogue
            that it must not share, or is not the official one; a list is missing, unsorted or
            incomplete; or there are not as many folds as the scheme has.
    """
    names = ("utt2spk", "utt2session", "utt2dialogue", "text", "utt2split")
    places = [data] if tested in (None, data) else [data, tested]
    tables: Tables = {}
    for place in filter(None, places):
        for name in names:
            if (place / name).exists():
                tables.setdefault(name, {}).update(read_table(place / name))
    shown = shown or folds
    columns = Columns(tables)
    known = columns.rows.keys()
    tested_by: dict[str, int] = {}
    reports = []
    for number, parts in enumerate(_read_folds(folds), start=1):
        _check_sorted(parts, folds / str(number))
        where = f"fold {number} of {shown}"
        rows = _check_utterances(parts, columns.rows, where)
        if cv == "given":
            _check_official(parts, tables.get("utt2split", {}), number, validation, where)
        elif sum(map(len, parts.values())) < len(known):
            raise _wrong(where, f"no part has {min(set(known).difference(*parts.values()))}")
        if places[1:]:
            _check_sides(parts, data, where)
        values: Values = cache(partial(columns.values, rows))
        _check_disjoint(parts, columns, values, cv, validation, where)
        for utterance in filter(tested_by.__contains__, parts["test"]):
            first = tested_by[utterance]
            raise _wrong(shown, f"folds {first} and {number} both test {utterance}")
        tested_by |= dict.fromkeys(parts["test"], number)
        reports.append(_report(number, parts, columns, values, cv))
    untested = known - tested_by.keys()
    if untested and cv != "given" and not places[1:]:
        raise _wrong(shown, f"no fold tests {min(untested)}")
    _check_number(len(reports), tables, cv, shown)
    return reports


def shares_speakers(data: Path, folds: Path, part: str, other: str) -> bool:
    """Whether two parts of a fold, of any, have a common speaker, by the lists of a scheme.

    Where nobody knows the speakers, utt2spk names each utterance itself, and this is false.

    Raises:
        UserError: a list is missing or damaged.
    """
    utt2spk = read_table(data / "utt2spk")
    return any(
        not {utt2spk.get(utterance) for utterance in parts[part]}.isdisjoint(
            utt2spk[utterance] for utterance in parts[other] if utterance in utt2spk
        )
        for parts in _read_folds(folds)
    )


def _read_folds(folds: Path) -> Iterable[Parts]:
    n_folds = sum(1 for path in folds.glob("[0-9]*") if path.is_dir())
    if n_folds == 0:
        raise UserError(f"{folds} holds no folds; run stage 2 (folds)")
    for number in range(1, n_folds + 1):
        yield {part: _read(folds / str(number) / part) for part in PARTS}


def _read(path: Path) -> list[str]:
    if path.name == "valid" and path.is_file() and path.stat().st_size == 0:
        return []  # legal with `none`, which `_check_disjoint` knows
    return read_ids(path)


def _check_sorted(parts: Parts, directory: Path) -> None:
    for part, utterances in parts.items():
        if not all(starmap(operator.lt, pairwise(utterances))):
            raise _wrong(directory / part, "it is not sorted or has duplicates")


def _check_utterances(parts: Parts, known: Mapping[str, int], where: str) -> dict[str, Rows]:
    """Find the rows of each part; refuse an utterance in two, or that the data directory lacks."""
    with contextlib.suppress(KeyError):  # of an utterance that is not known
        rows = {
            part: np.fromiter(map(known.__getitem__, utterances), np.int64, len(utterances))
            for part, utterances in parts.items()
        }
        if np.bincount(np.concatenate(list(rows.values())), minlength=1).max() <= 1:
            return rows
    seen: dict[str, str] = {}
    for part, utterances in parts.items():
        for utterance in utterances:
            if utterance not in known:
                raise _wrong(where, f"{part} names {utterance}, which the data directory lacks")
            if utterance in seen:
                raise _wrong(where, f"{utterance} stands in {seen[utterance]} and in {part}")
            seen[utterance] = part
    raise AssertionError(where)  # one of both was the case


def _check_sides(parts: Parts, data: Path, where: str) -> None:
    """Refuse to train on what is to be tested, where both have a data directory of their own."""
    trained = set(read_table(data / "utt2spk"))
    for part, utterances in parts.items():
        for utterance in utterances:
            if (utterance in trained) != (part != "test"):
                raise _wrong(where, f"{part} names {utterance}, which is of another corpus")


def _check_official(
    parts: Parts, split: Mapping[str, str], number: int, validation: str, where: str
) -> None:
    """Compare a fold with the n-th words of utt2split; others than `given` divide what is trained.

    These draw the validation part from the official training and validation parts together.
    """
    one = {"train": "train", "valid": "valid" if validation == "given" else "train"}
    here = {u: one.get(part, part) for part, utterances in parts.items() for u in utterances}
    for utterance, words in sorted(split.items()):
        of_fold = words.split()[number - 1 : number]
        official = of_fold[0] if of_fold else "-"
        found = here.pop(utterance, "-")
        if found != one.get(official, official):
            raise _wrong(where, f"{utterance} stands in {found}, officially in {official}")
    if here:
        raise _wrong(where, f"{min(here)} has no official part (utt2split)")


def _check_number(n_folds: int, tables: Tables, cv: str, shown: Path) -> None:
    """Refuse other folds than the scheme's name, or the official split, says."""
    match = re.fullmatch("[a-z]+([0-9]+)", cv)
    wanted = int(match[1]) if match else n_folds
    if cv == "given":
        wanted = len(next(iter(tables["utt2split"].values())).split())
    if n_folds != wanted:
        raise _wrong(shown, f"it has {n_folds} folds where --cv {cv} has {wanted}")


def _check_disjoint(
    parts: Parts, columns: Columns, values: Values, cv: str, validation: str, where: str
) -> None:
    """Refuse a speaker or session in two parts that the scheme keeps apart."""
    if (validation == "none") != (not parts["valid"]):
        is_empty = "is not empty" if parts["valid"] else "is empty"
        raise _wrong(where, f"its validation part {is_empty}, with --validation {validation}")
    rules: list[tuple[str, str, str]] = []
    if cv != "given" and not cv.startswith("utterance"):
        rules += [("utt2spk", "test", "train"), ("utt2spk", "test", "valid")]
    if cv == "session":
        rules += [("utt2session", "test", "train"), ("utt2session", "test", "valid")]
    if validation in ("partner", "next_speaker", "next_session"):
        rules.append(("utt2spk", "valid", "train"))
    if validation == "next_session":
        rules += [("utt2session", "valid", "train"), ("utt2session", "test", "valid")]
    if validation == "partner":
        rules.append(("utt2session", "test", "train"))
        if "utt2dialogue" in columns.names:
            rules.append(("utt2dialogue", "test", "train"))
    nouns = {"utt2spk": "speaker", "utt2session": "session", "utt2dialogue": "dialogue"}
    for table, first, second in rules:
        common = values(first, table) & values(second, table)
        if common.any():
            shared = columns.named(table, common)[0]
            raise _wrong(where, f"{first} and {second} share the {nouns[table]} {shared}")


def _report(number: int, parts: Parts, columns: Columns, values: Values, cv: str) -> str:
    """Describe a sound fold in a line: who is tested, and what the test shares with other parts."""
    table = "utt2session" if cv == "session" else "utt2spk"
    tested = columns.named(table, values("test", table))
    unknown = columns.names["utt2spk"] == list(columns.rows)  # each utterance its own speaker
    noun = "utterances" if unknown else "speakers"
    names = ", ".join(tested) if len(tested) <= MOST_NAMES else f"{len(tested)} {noun}"
    sizes = ", ".join(f"{part} {len(utterances)}" for part, utterances in parts.items())
    counted = {"utt2dialogue": "dialogues", "text": "transcripts"}
    if (cv == "given" or cv.startswith("utterance")) and not unknown:
        counted = {"utt2spk": "speakers", **counted}
    shared = []
    for part in ("train", "valid"):
        counts = [
            f"{(values(part, table) & values('test', table)).sum()} {what}"
            for table, what in counted.items()
            if table in columns.names
        ]
        if counts:
            shared.append(f"{part} and test share {', '.join(counts)}")
    return "; ".join([f"fold {number} (tests {names}): {sizes}", *shared])


def _wrong(where: str | Path, what: str) -> UserError:
    return UserError(f"{where}: {what}; delete the scheme's directory and run stage 2 (folds)")
