"""posteriors.tsv: a classifier's probabilities for each utterance, from any toolkit.

Tab-separated, UTF-8. The first line is `utt`, `ref` and the names of the classes; each other line
is an utterance id, its reference class, and one probability per class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.files import atomic_write
from cfia.metrics import Counts, grouped_confusion

# A row may be off by the rounding of K probabilities to two decimals.
ROUNDING = 0.005


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of N utterances over K classes, in the order of the utterance ids.

    Attributes:
        source: the file that they come from, for messages.
        classes: names of the classes, in the order of the columns.
        utts: utterance ids, (N,), sorted.
        refs: indices of the reference classes, (N,).
        probs: probabilities, (N, K).
    """

    source: str
    classes: list[str]
    utts: list[str]
    refs: npt.NDArray[np.int64]
    probs: npt.NDArray[np.float64]

    @property
    def hyps(self) -> npt.NDArray[np.int64]:
        """Indices of the most probable classes, (N,); the first of equals."""
        best: npt.NDArray[np.int64] = self.probs.argmax(axis=1)
        return best

    def confusion(self, groups: npt.ArrayLike, n_groups: int) -> Counts:
        """Count the confusions (G, K, K) of groups of utterances, `groups` (N,) from 0 to G-1."""
        return grouped_confusion(self.refs, self.hyps, groups, len(self.classes), n_groups)


def write_posteriors(
    path: str | os.PathLike[str],
    classes: Sequence[str],
    utts: Sequence[str],
    refs: Sequence[str],
    probs: npt.ArrayLike,
) -> None:
    """Write posteriors.tsv, rows sorted by utterance id, `probs` (N, K) in nine digits.

    Raises:
        UserError: a probability is not a number.
    """
    values = np.asarray(probs, float)
    if not np.isfinite(values).all():
        utt = utts[int(np.argmin(np.isfinite(values).all(axis=1)))]
        raise UserError(f"{path}: a posterior of {utt} is not finite; look for NaN in its features")
    with atomic_write(path) as handle:
        handle.write("\t".join(["utt", "ref", *classes]) + "\n")
        for i in sorted(range(len(utts)), key=lambda i: utts[i]):
            numbers = [f"{value:.9g}" for value in values[i]]
            handle.write("\t".join([utts[i], refs[i], *numbers]) + "\n")


def read_posteriors(path: str | os.PathLike[str]) -> Posteriors:
    """Read posteriors.tsv; the rows may be in any order.

    Raises:
        UserError: the file is missing, empty or not UTF-8; the header is wrong; a row has too few
            columns, a reference that is no class, a value that is not a probability, or a sum far
            from 1; an utterance has two rows. The message names the line.
    """
    lines = _lines(path)
    classes = _header(path, lines[0])
    index = {name: i for i, name in enumerate(classes)}
    rows: dict[str, tuple[int, list[float]]] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}, line {number}"
        utt, ref, values = _row(where, line, classes)
        if utt in rows:
            raise UserError(f"{where}: {utt} stands there twice; delete one of its lines")
        if ref not in index:
            raise UserError(
                f"{where}: the reference {ref!r} of {utt} is none of the classes "
                f"{', '.join(classes)} of line 1; correct the line or the header"
            )
        rows[utt] = (index[ref], values)
    if not rows:
        raise UserError(f"{path} holds no utterance; make it again")
    utts = sorted(rows)
    refs = np.array([rows[utt][0] for utt in utts])
    return Posteriors(str(path), classes, utts, refs, np.array([rows[utt][1] for utt in utts]))


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """Read lines without their ends; a byte order mark and CR LF, as of other tools, may occur."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name another file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; convert it with iconv") from None
    if not text:
        raise UserError(f"{path} is empty; make it again")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _header(path: str | os.PathLike[str], line: str) -> list[str]:
    columns = line.split("\t")
    classes = columns[2:]
    if columns[:2] != ["utt", "ref"] or len(classes) < 2 or not all(classes):
        raise UserError(
            f"{path}, line 1: the header must be `utt`, `ref` and two or more class names, "
            f"separated by tabs, not {line[:80]!r}"
        )
    if len(set(classes)) < len(classes):
        raise UserError(f"{path}, line 1: a class stands there twice; rename it")
    return classes


def _row(where: str, line: str, classes: list[str]) -> tuple[str, str, list[float]]:
    columns = line.split("\t")
    if len(columns) != len(classes) + 2 or not columns[0]:
        raise UserError(
            f"{where}: expected {len(classes) + 2} columns separated by tabs, as in line 1, "
            f"found {len(columns) if columns[0] else 'no utterance id'}"
        )
    values = [_probability(where, columns[0], text) for text in columns[2:]]
    if abs(sum(values) - 1) > ROUNDING * len(values) + 1e-9:  # 0.49 + 0.52 is a bit above 1.01
        raise UserError(
            f"{where}: the probabilities of {columns[0]} sum to {sum(values):.6g}, not 1; "
            "apply a softmax first"
        )
    return columns[0], columns[1], values


def _probability(where: str, utt: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    # Not the other way round: NaN fails every comparison.
    if not -1e-6 <= value <= 1 + 1e-6:
        raise UserError(f"{where}: {text!r} of {utt} is not a probability; make the file again")
    return value


def select(posteriors: Posteriors, utts: Sequence[str]) -> Posteriors:
    """Select some of the utterances, `utts` sorted; `KeyError` if one is missing."""
    index = {utt: i for i, utt in enumerate(posteriors.utts)}
    rows = [index[utt] for utt in utts]
    return replace(
        posteriors, utts=list(utts), refs=posteriors.refs[rows], probs=posteriors.probs[rows]
    )


def in_order(posteriors: Posteriors, classes: Sequence[str]) -> Posteriors:
    """Reorder the columns to the order of `classes`, unless the classes are others."""
    if sorted(classes) != sorted(posteriors.classes):
        return posteriors
    columns = [posteriors.classes.index(name) for name in classes]
    refs = np.argsort(columns)[posteriors.refs]
    return replace(posteriors, classes=list(classes), refs=refs, probs=posteriors.probs[:, columns])


def average(members: Sequence[Posteriors]) -> Posteriors:
    """Average the posteriors of several networks, of the same utterances: their ensemble.

    Raises:
        UserError: they differ in classes, utterances or references; the message names the first
            utterance at fault.
    """
    first, *others = members
    for other in others:
        same_utterances(first, other)
    return replace(first, probs=np.mean([member.probs for member in members], axis=0))


def same_utterances(a: Posteriors, b: Posteriors) -> None:
    """Check that two sets of posteriors are of the same classes, utterances and references.

    Raises:
        UserError: they are not.
    """
    if a.classes != b.classes:
        raise UserError(
            f"{b.source} has the classes {', '.join(b.classes)}, but {a.source} has "
            f"{', '.join(a.classes)}; they cannot be taken together"
        )
    for here, there in ((a, b), (b, a)):
        missing = sorted(set(here.utts) - set(there.utts))
        if missing:
            raise UserError(
                f"{there.source} lacks {missing[0]}, which {here.source} has (one of "
                f"{len(missing)}); make both from the same list"
            )
    for i in np.flatnonzero(a.refs != b.refs)[:1]:
        raise UserError(
            f"{a.utts[i]} is {a.classes[a.refs[i]]} in {a.source}, but {b.classes[b.refs[i]]} in "
            f"{b.source}; make both from the same labels"
        )


def concatenate(folds: Sequence[Posteriors]) -> Posteriors:
    """Put the posteriors of all folds together.

    Raises:
        UserError: the classes differ, or an utterance is in two folds.
    """
    first = folds[0]
    sources: dict[str, str] = {}
    for fold in folds:
        if fold.classes != first.classes:
            raise UserError(
                f"{fold.source} has other classes than {first.source}; make both from the same data"
            )
        for utt in fold.utts:
            if utt in sources:
                raise UserError(
                    f"{utt} is in both {sources[utt]} and {fold.source}; test folds must not "
                    "overlap"
                )
            sources[utt] = fold.source
    utts = list(sources)
    order = sorted(range(len(utts)), key=lambda i: utts[i])
    refs = np.concatenate([fold.refs for fold in folds])[order]
    probs = np.concatenate([fold.probs for fold in folds])[order]
    return Posteriors(first.source, first.classes, [utts[i] for i in order], refs, probs)
