"""The tables of a Kaldi data directory and what keys them: the one list of them.

`cfia.kaldi.validate`, `fix`, `subset`, `combine` and `copy` all go by it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import NamedTuple

from cfia import marker


class Key(enum.Enum):
    """What the first column of a table names."""

    UTTERANCE = "utterance"
    RECORDING = "recording"  # which is the utterance where there are no segments
    SPEAKER = "speaker"


class Table(NamedTuple):
    """The kind of a table; `one_value`: its lines have two columns and no more."""

    key: Key
    one_value: bool = False


FURTHER = ("utt2emo", "utt2session", "utt2type", "utt2dialogue")
"""Tables that are not Kaldi's own: one value for each utterance, what they mean is the caller's."""

TABLES = {
    "utt2spk": Table(Key.UTTERANCE, one_value=True),
    "segments": Table(Key.UTTERANCE),
    "text": Table(Key.UTTERANCE),
    "feats.scp": Table(Key.UTTERANCE),
    "vad.scp": Table(Key.UTTERANCE),
    "utt2dur": Table(Key.UTTERANCE, one_value=True),
    "utt2num_frames": Table(Key.UTTERANCE, one_value=True),
    **dict.fromkeys(FURTHER, Table(Key.UTTERANCE, one_value=True)),
    "utt2lang": Table(Key.UTTERANCE),
    "utt2uniq": Table(Key.UTTERANCE, one_value=True),
    "wav.scp": Table(Key.RECORDING),
    "reco2file_and_channel": Table(Key.RECORDING),
    "reco2dur": Table(Key.RECORDING, one_value=True),
    "spk2gender": Table(Key.SPEAKER, one_value=True),
    "cmvn.scp": Table(Key.SPEAKER),
}
"""File name -> its kind. spk2utt is not among them: it is always made from utt2spk."""

COPIED = ("frame_shift",)
"""Files without keys, which hold for any part of a data directory."""

BACKUP = ".backup"
"""Where utils/fix_data_dir.sh keeps the tables as they were."""

# What else may stand in a data directory, and is replaced together with its tables.
_SIDE_FILES = {"spk2utt", "skipped", marker.NAME, BACKUP, *COPIED}
_LIKE_A_TABLE = re.compile(r"(utt|spk|reco)2\w+|\w+\.scp")


def kinds(utterance_files: Iterable[str] = (), speaker_files: Iterable[str] = ()) -> dict[str, Key]:
    """File name -> what keys it: the tables above and further ones that a user names."""
    extra = dict.fromkeys(utterance_files, Key.UTTERANCE)
    extra |= dict.fromkeys(speaker_files, Key.SPEAKER)
    return extra | {name: table.key for name, table in TABLES.items()}


def belongs(name: str, further: Iterable[str] = ()) -> bool:
    """Whether a file of this name is part of a data directory, as `further` files are."""
    known = name in TABLES or name in _SIDE_FILES or name in further
    return known or _LIKE_A_TABLE.fullmatch(name) is not None
