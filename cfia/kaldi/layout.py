"""List the tables of a Kaldi data directory and what keys each; parse values, write tables.

`cfia.kaldi.validate`, `fix`, `subset`, `combine` and `copy` all go by it.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from cfia import marker
from cfia.kaldi.table import write_table


class Key(enum.Enum):
    """The things that the first column of a table can name."""

    UTTERANCE = "utterance"
    RECORDING = "recording"  # which is the utterance where there are no segments
    SPEAKER = "speaker"


class Table(NamedTuple):
    """The kind of a table.

    Attributes:
        one_value: its lines have two columns and no more.
        whole: it must have a row for each key; what it lacks is a fault, not merely unknown.
    """

    key: Key
    one_value: bool = False
    whole: bool = True


FURTHER = ("utt2emo", "utt2session", "utt2type", "utt2dialogue", "utt2split")
"""Tables that Kaldi does not know, of all utterances; callers know their meaning."""

TABLES = {
    "utt2spk": Table(Key.UTTERANCE, one_value=True),
    "segments": Table(Key.UTTERANCE),
    "text": Table(Key.UTTERANCE),
    "feats.scp": Table(Key.UTTERANCE),
    "vad.scp": Table(Key.UTTERANCE),
    "utt2dur": Table(Key.UTTERANCE, one_value=True),
    "utt2num_frames": Table(Key.UTTERANCE, one_value=True),
    **dict.fromkeys(FURTHER, Table(Key.UTTERANCE, one_value=True)),
    "utt2split": Table(Key.UTTERANCE),  # a word for each fold
    "utt2uniq": Table(Key.UTTERANCE, one_value=True),
    "wav.scp": Table(Key.RECORDING),
    "reco2file_and_channel": Table(Key.RECORDING),
    "reco2dur": Table(Key.RECORDING, one_value=True),
    "spk2gender": Table(Key.SPEAKER, one_value=True),
    "cmvn.scp": Table(Key.SPEAKER),
}
"""File name -> its kind. spk2utt is not among them: it is always made from utt2spk."""

_COLUMNS = {
    re.compile(r"utt2\w+"): Table(Key.UTTERANCE, whole=False),
    re.compile(r"spk2(?!utt$)\w+"): Table(Key.SPEAKER, whole=False),
}
"""Names of what else a corpus says of utterances and speakers, such as their age, where it does."""

COPIED = ("frame_shift",)
"""Files without keys, which hold for any subset of a data directory."""

BACKUP = ".backup"
"""Where utils/fix_data_dir.sh keeps the tables as they were."""

# Other files of a data directory, which are replaced together with its tables.
_SIDE_FILES = {"spk2utt", "skipped", marker.NAME, BACKUP, *COPIED}
_LIKE_A_TABLE = re.compile(r"(utt|spk|reco)2\w+|\w+\.scp")


def kind(name: str) -> Table | None:
    """Tell the kind of a table by its name; None of another file."""
    columns = (table for pattern, table in _COLUMNS.items() if pattern.fullmatch(name))
    return TABLES.get(name) or next(columns, None)


def kinds(
    *directories: Path, utterance_files: Iterable[str] = (), speaker_files: Iterable[str] = ()
) -> dict[str, Key]:
    """Map file names to what keys them.

    Args:
        directories: data directories, of which the tables with further columns are added to those
            of TABLES.
        utterance_files, speaker_files: further tables that a user names.
    """
    extra = dict.fromkeys(utterance_files, Key.UTTERANCE)
    extra |= dict.fromkeys(speaker_files, Key.SPEAKER)
    found = {path.name for directory in directories for path in directory.glob("???2*")}
    columns = {name: table.key for name in sorted(found) if (table := kind(name))}
    return {**extra, **columns, **{name: table.key for name, table in TABLES.items()}}


def belongs(name: str, further: Iterable[str] = ()) -> bool:
    """Whether a file of this name is one of a data directory, as `further` files are."""
    known = name in TABLES or name in _SIDE_FILES or name in further
    return known or _LIKE_A_TABLE.fullmatch(name) is not None


class Segment(NamedTuple):
    """A piece of a recording, in seconds; an `end` of -1 is the recording's end, as in Kaldi."""

    recording: str
    start: float
    end: float

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Parse `<recording> <start> <end>`, a value of segments; None where it is not that."""
        try:
            recording, start, end = value.split()
            segment = cls(recording, float(start), float(end))
        except ValueError:
            return None
        until = math.inf if segment.end == -1 else segment.end
        return segment if 0 <= segment.start < until else None


def positive(value: str) -> float | None:
    """Parse a positive number; None where it is none."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def spk2utt(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Invert utt2spk: speaker -> its utterances in C-locale order, separated by spaces."""
    utterances: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        utterances.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(ids) for speaker, ids in utterances.items()}


def write_tables(directory: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Write the tables that have rows, and spk2utt.

    Raises:
        UserError: a row cannot be written to a table (`cfia.kaldi.table.write_table`).
    """
    for name, rows in {**tables, "spk2utt": spk2utt(tables["utt2spk"])}.items():
        if rows:
            write_table(directory / name, rows)
