"""Make utterances of the columns of rows: ids, speakers, times, official splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

from cfia.corpus.columns import UNKNOWN, Columns, one_word
from cfia.corpus.corpus_conf import TEXT
from cfia.corpus.decode import read_text
from cfia.corpus.prepare import Corpus
from cfia.corpus.rows import Row, RowError
from cfia.corpus.splits import check_split, splits_of_folds
from cfia.corpus.utterances import Utterance
from cfia.errors import UserError

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")
OF_SPEAKERS = ("gender", "age")


def _legal(name: str) -> str:
    """Make a name that may be part of an id: blanks and other characters become `_`."""
    return _NOT_IN_ID.sub("_", name)


def _id(speaker: str, name: str) -> str:
    """Give the id `<speaker>-<name>`; the name alone where it begins with the speaker."""
    name = _legal(name)
    return name if name.startswith(speaker) else f"{speaker}-{name}"


@dataclass(frozen=True, slots=True)
class _Said:
    value: str
    row: Row


class Builder:
    """Collects the rows of a corpus, then makes a `Corpus` of them."""

    def __init__(self, root: Path, columns: Columns, ignore: Sequence[str]) -> None:
        """Begin with none.

        Args:
            root: the directory below which audio is.
            ignore: globs of audio that is left out, below `root`.
        """
        self.audio: dict[str, set[str]] = {}  # folder -> names, also of what is left out
        self._root, self._columns, self._ignore = root, columns, ignore
        self._utterances: list[Utterance] = []
        self._folds: list[str] = []
        self._speakers: dict[str, str] = {}  # id -> as the corpus has it
        self._of_speakers: dict[str, dict[str, _Said]] = {
            f"spk2{column}": {} for column in OF_SPEAKERS if column in columns
        }
        self._bad: dict[str, str] = {}
        self._files: list[Path] = []

    def add(self, row: Row) -> None:
        """Take a row; one that cannot be used is remembered, with its fault.

        Raises:
            UserError: what it says cannot be so.
        """
        try:
            values = self._columns.read(row)
            file = values["audio"]
            folder, _, name = file.rpartition("/")
            self.audio.setdefault(folder, set()).add(name)
            if not self.ignores(file):
                self._utterances.append(self._utterance(row, values))
                self._folds.append(values.get("fold", ""))
        except RowError as error:
            self._bad[f"row-{len(self._bad) + 1}"] = str(error)

    def ignores(self, file: str) -> bool:
        """Whether audio is left out, given its path below the root."""
        return any(fnmatch(file, pattern) for pattern in self._ignore)

    def _utterance(self, row: Row, values: Mapping[str, str]) -> Utterance:
        audio = self._root / values["audio"]
        name = values.get("name") or audio.stem
        speaker = self._speaker(values.get("speaker", UNKNOWN), row)
        start, end = _seconds(values.get("start", ""), row), _seconds(values.get("end", ""), row)
        if end is not None and end <= (start or 0):
            raise RowError(f"{row.source}: the end, {end:g} s, is not behind the start")
        utterance = Utterance(
            id=_id(speaker, name),
            name=name,
            speaker=speaker,
            label=values["label"],
            source=row.source,
            audio=audio,
            transcript=self._transcript(values, row),
            session=one_word(values.get("session", "")),
            type=one_word(values.get("type", "")),
            dialogue=one_word(values.get("dialogue", "")),
            split=check_split(values["split"], row) if "split" in values else "",
            start=start,
            end=end,
            columns={column: _known(values[column]) for column in self._columns.further},
        )
        self._say_of_speaker(speaker or utterance.id, values, row)
        return utterance

    def _speaker(self, speaker: str, row: Row) -> str:
        """Make an id of a speaker's name; "" of one that nobody knows."""
        if speaker == UNKNOWN:
            return ""
        name = _legal(speaker)
        other = self._speakers.setdefault(name, speaker)
        if other != speaker:
            raise UserError(
                f"{row.source}: the speakers {other!r} and {speaker!r} become one id, {name}; "
                "rename one of them (codes: speaker in corpus.yaml)"
            )
        return name

    def _transcript(self, values: Mapping[str, str], row: Row) -> str | None:
        if "text_file" not in values:
            return values.get("text")
        path = self._root / values["text_file"]
        if not path.is_file():
            return None
        self._files.append(path)
        return read_text(path)

    def _say_of_speaker(self, speaker: str, values: Mapping[str, str], row: Row) -> None:
        """Note what a row says of its speaker.

        Raises:
            UserError: a gender is not m or f, or another row says otherwise.
        """
        for name, table in self._of_speakers.items():
            column = name.removeprefix("spk2")
            value = _known(values[column])
            if not value:
                continue
            if column == "gender" and value not in ("m", "f"):
                raise UserError(
                    f"{row.source}: the gender is {value!r}, not m or f, or {UNKNOWN} where it is "
                    f"not known; say in corpus.yaml what it is, codes: {{gender: {{{value}: m}}}}"
                )
            said = table.setdefault(speaker, _Said(value, row))
            if said.value != value:
                raise UserError(
                    f"{row.source}: the {column} of the speaker {speaker} is {value!r}, and "
                    f"{said.value!r} by {said.row.source}; correct one of them"
                )

    def corpus(self, files: Sequence[Path], inputs: Mapping[str, str]) -> Corpus:
        """Give the corpus.

        Args:
            files: that were read apart from the audio; inputs: digests of others.

        Raises:
            UserError: two speakers cannot be kept apart by the order of ids.
        """
        utterances = _in_order_of_speakers(self._utterances)
        if "fold" in self._columns:
            splits = splits_of_folds(set(self._folds))
            folds = zip(utterances, self._folds, strict=True)
            utterances = [replace(utterance, split=splits[fold]) for utterance, fold in folds]
        return Corpus(
            utterances=utterances,
            speakers=self._tables_of_speakers(),
            has_text=any(column in self._columns for column in TEXT),
            files=[*files, *self._files],
            inputs=inputs,
            bad=self._bad,
        )

    def _tables_of_speakers(self) -> dict[str, dict[str, str]]:
        return {
            name: {speaker: of.value for speaker, of in said.items()}
            for name, said in self._of_speakers.items()
        }


def _known(value: str) -> str:
    """Make a value one word; "" where nobody knows it."""
    return "" if value == UNKNOWN else one_word(value)


def _seconds(value: str, row: Row) -> float | None:
    """Parse a time: seconds, or a clock's `1:02:03,456`; None where there is none."""
    if not value:
        return None
    clock = _CLOCK.fullmatch(value)
    try:
        if clock is None:
            return float(value)
        hours, minutes, seconds = clock.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    except ValueError:
        raise UserError(
            f"{row.source}: {value!r} is no time; write seconds, or h:mm:ss,mmm"
        ) from None


def _in_order_of_speakers(utterances: Sequence[Utterance]) -> Sequence[Utterance]:
    """Give utterances ids that sort by speaker, as Kaldi needs them.

    Where names begin with the speakers `1` and `10`, they do not: then all ids have the speaker and
    a hyphen in front.

    Raises:
        UserError: that does not help, as of `A` and `A-B`.
    """
    if _misplaced(utterances) is None:
        return utterances
    prefixed = [
        replace(u, id=f"{u.speaker}-{_legal(u.name)}") if u.speaker else u for u in utterances
    ]
    pair = _misplaced(prefixed)
    if pair is not None:
        raise UserError(
            f"ids that begin with the speakers {pair[0]} and {pair[1]} do not sort by speaker, as "
            "Kaldi needs them; rename one of them (codes: speaker in corpus.yaml)"
        )
    return prefixed


def _misplaced(utterances: Sequence[Utterance]) -> tuple[str, str] | None:
    """Find two speakers whose order is not that of their utterances' ids."""
    speakers = [speaker for _, speaker in sorted((u.id, u.speaker or u.id) for u in utterances)]
    return next((pair for pair in pairwise(speakers) if pair[0] > pair[1]), None)
