"""Choose utterances of a data directory as Kaldi's utils/subset_data_dir.sh does."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi import edit, layout
from cfia.kaldi.edit import Tables
from cfia.kaldi.layout import spk2utt
from cfia.kaldi.table import read_lines

WAYS = {
    "speakers": "whole speakers, at least <num-utt> utterances",
    "shortest": "the shortest",
    "first": "the first",
    "last": "the last",
    "per-spk": "<num-utt> utterances of each speaker",
}
"""The ways to choose utterances, and what each chooses."""


def choose(tables: Tables, number: int, way: str = "") -> list[str]:
    """Choose the ids of `number` utterances in one of `WAYS` or, by default, evenly spread.

    The way "speakers" takes whole speakers, in a random but fixed order, until there are at least
    `number` utterances; "per-spk" takes `number` of each speaker, or all that it has.

    Raises:
        UserError: there are fewer utterances, or "shortest" finds no lengths.
    """
    utterances = sorted(tables["utt2spk"])
    if number > len(utterances):
        raise UserError(
            "cannot subset to more utterances than you originally had: "
            f"{number} of {len(utterances)}"
        )
    if way == "first":
        return utterances[:number]
    if way == "last":
        return utterances[len(utterances) - number :]
    if way == "shortest":
        return _shortest(tables, number)
    if way in ("speakers", "per-spk"):
        by_speaker = {s: ids.split() for s, ids in spk2utt(tables["utt2spk"]).items()}
        if way == "speakers":
            return _whole_speakers(by_speaker, number)
        return [u for ids in by_speaker.values() for u in _every_nth(ids, number)]
    return spread(utterances, number)


def spread(lines: Sequence[str], number: int) -> list[str]:
    """Choose `number` of the lines, by halves as Kaldi's subset_scp.pl does."""
    if number == 0 or len(lines) <= 1:
        return list(lines[:number])
    half = len(lines) // 2
    return spread(lines[:half], number // 2) + spread(lines[half:], number - number // 2)


def _shortest(tables: Tables, number: int) -> list[str]:
    lengths = tables.get("utt2num_frames") or tables.get("utt2dur")
    if lengths is None:
        raise UserError("--shortest needs utt2num_frames or utt2dur; make one of them")
    try:
        known = {u: float(lengths[u]) for u in tables["utt2spk"]}
    except (KeyError, ValueError) as error:
        raise UserError(f"a length is missing or not a number ({error}); correct it") from None
    return sorted(known, key=lambda u: (known[u], u))[:number]


def _whole_speakers(by_speaker: dict[str, list[str]], number: int) -> list[str]:
    speakers = sorted(by_speaker)
    random.Random(0).shuffle(speakers)
    chosen: list[str] = []
    for speaker in speakers:
        if len(chosen) >= number:
            break
        chosen.extend(by_speaker[speaker])
    return chosen


def _every_nth(utterances: Sequence[str], number: int) -> Sequence[str]:
    """Take `number` utterances, or all, in steps of equal width, as wide as possible."""
    return utterances[:: max(1, len(utterances) // number)][:number]


def listed(tables: Tables, path: Path, *, speakers: bool) -> tuple[list[str], list[str]]:
    """Find the utterances that a list names (itself, or by their speakers), and unknown ids.

    The first column of the list counts, so that any table will do.

    Raises:
        UserError: the list is malformed or names none.
    """
    ids = {line.split()[0] for line in read_lines(path) if line.split()}
    utt2spk = tables["utt2spk"]
    chosen = [u for u, s in utt2spk.items() if (s if speakers else u) in ids]
    known = set(utt2spk.values()) if speakers else set(utt2spk)
    if not chosen:
        kind = "speakers" if speakers else "utterances"
        raise UserError(f"{path} names no {kind} of the data directory; check its ids")
    return chosen, sorted(ids - known)


def write(source: Path, tables: Tables, utterances: Collection[str], destination: Path) -> None:
    """Write the data directory of some utterances.

    Raises:
        UserError: the tables of the source do not agree.
    """
    subset = edit.restrict(tables, utterances, layout.kinds(source))
    try:
        edit.write_new(destination, subset, copied=[source / name for name in layout.COPIED])
    except UserError as error:
        raise UserError(f"{error}\nRun utils/fix_data_dir.sh on {source} first") from None
