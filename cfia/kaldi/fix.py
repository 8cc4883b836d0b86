"""Fix a data directory as Kaldi's utils/fix_data_dir.sh does: sort its tables, make them agree.

Unlike Kaldi's script, it intersects all tables that `cfia.kaldi.layout` lists, leaves a valid
directory alone, and refuses two different lines with one key.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfia import marker
from cfia.directories import workplace
from cfia.errors import UserError
from cfia.kaldi import layout
from cfia.kaldi.edit import Tables, check, restrict
from cfia.kaldi.layout import Key, write_tables
from cfia.kaldi.table import plain_rows, read_text, split_row
from cfia.kaldi.validate import Checks

# In .backup while the tables are being replaced: who finds it goes on where a killed process
# stopped, and must not back up tables of which that process had replaced some already.
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Report:
    """The result: `kept` utterances of the `total` that utt2spk had.

    `notes` say which tables lacked utterances and what else a user should look at; `changed`,
    whether any file was written; `stage_1`, whether the directory had a stage's marker, which is
    now in .backup (the directory's own names no stage any more).
    """

    kept: int
    total: int
    changed: bool
    stage_1: bool
    notes: Sequence[str]


def fix(
    directory: Path, utterance_files: Sequence[str] = (), speaker_files: Sequence[str] = ()
) -> Report:
    """Fix the data directory; the files as they were go to its .backup.

    It may be killed at any moment and run again. utt2spk is replaced last.

    Args:
        directory: the data directory.
        utterance_files: further tables, keyed by utterances: they are filtered, not intersected.
        speaker_files: the same, keyed by speakers.

    Raises:
        UserError: there is no utt2spk, a table is malformed or has two different lines with one
            key, no utterance is in all tables, or what is left is not valid all the same (an
            utterance id that does not start with its speaker's, say). The directory is then as
            it was.
    """
    if not directory.is_dir():
        raise UserError(f"no such directory {directory}")
    if not (directory / "utt2spk").is_file():
        raise UserError(f"no such file {directory}/utt2spk")
    kinds = layout.kinds(directory, utterance_files=utterance_files, speaker_files=speaker_files)
    notes: list[str] = []
    tables = {
        name: _read(directory / name, notes) for name in kinds if (directory / name).is_file()
    }
    fixed, left_out = intersect(tables, kinds)
    notes.extend(left_out)
    with workplace(directory / "fix") as staging:
        write_tables(staging, fixed)
        check(staging, Checks(feats=False, text=False, wav=False, printable=False), directory)
        notes.extend(_not_printable(staging, directory))
        changed, stage_1 = _replace(directory, staging, [*kinds, "spk2utt"])
    return Report(len(fixed["utt2spk"]), len(tables["utt2spk"]), changed, stage_1, notes)


def intersect(tables: Tables, kinds: Mapping[str, Key]) -> tuple[Tables, list[str]]:
    """Keep the utterances that all tables of `cfia.kaldi.layout` have, and what belongs to them.

    An utterance is left out too if its transcript is empty, or its recording or speaker is not
    in all tables of recordings or speakers.

    Returns:
        The tables, and sentences that say which utterances are left out.

    Raises:
        UserError: nothing is left.
    """
    keep = set(tables["utt2spk"])
    notes: list[str] = []
    for fault, sound in _requirements(tables):
        faulty = set(tables["utt2spk"]) - sound
        if faulty:
            notes.append(f"{fault}: {len(faulty)}, the first {min(faulty)}")
        keep &= sound
    if not keep:
        why = "; ".join(notes) or "utt2spk is empty"
        raise UserError(f"no utterances remained: not proceeding further ({why})")
    return restrict(tables, keep, kinds), notes


def _requirements(tables: Tables) -> Iterator[tuple[str, set[str]]]:
    """Give each fault that utterances of utt2spk may have, with those that do not have it."""
    utt2spk, segments = tables["utt2spk"], tables.get("segments")
    for name, rows in tables.items():
        table = layout.kind(name)
        kind = table.key if table is not None and table.whole else None
        if kind is Key.UTTERANCE or (kind is Key.RECORDING and segments is None):
            yield f"utterances not in {name}", set(rows)
        elif kind is Key.RECORDING and segments is not None:
            recordings = {u: value.split()[0] for u, value in segments.items()}
            # Those that segments lacks are counted there.
            yield (
                f"utterances in recordings that {name} lacks",
                {u for u in utt2spk if u not in recordings or recordings[u] in rows},
            )
        elif kind is Key.SPEAKER:
            yield (
                f"utterances of speakers that {name} lacks",
                {u for u, s in utt2spk.items() if s in rows},
            )
    if "text" in tables:
        empty = {u for u, words in tables["text"].items() if not words}
        yield "utterances with an empty transcript", set(utt2spk) - empty


def _read(path: Path, notes: list[str]) -> dict[str, str]:
    """Read a table in any order, with repeated lines, empty lines, CRs and a byte order mark."""
    text = read_text(path)
    if text and not text.endswith("\n"):
        notes.append(f"{path} did not end in a newline; see that its last line was not cut")
    plain = plain_rows(text) if text.endswith("\n") else None
    if plain is not None:
        return plain
    rows: dict[str, str] = {}
    for line in text.split("\n"):
        key, value = split_row(line)
        if not key:
            continue
        if not value and path.name != "text":
            raise UserError(f"{path}: {key} has no value; add it or delete the line")
        if rows.setdefault(key, value) != value:
            raise UserError(
                f"{path} has two different lines for {key}; delete the one that is wrong"
            )
    return rows


def _not_printable(staging: Path, shown: Path) -> list[str]:
    try:
        check(staging, Checks(feats=False, text=False, wav=False), shown)
    except UserError as error:
        return [str(error)]
    return []


def _replace(directory: Path, staging: Path, names: Sequence[str]) -> tuple[bool, bool]:
    """Rename the staged tables over those that differ; see `Report` for what is returned."""
    backup, done = directory / layout.BACKUP, directory / marker.NAME
    order = sorted(
        (name for name in names if (staging / name).is_file() or (directory / name).is_file()),
        key=lambda name: name == "utt2spk",
    )
    differing = [name for name in order if _bytes(staging / name) != _bytes(directory / name)]
    unfinished = (backup / _UNFINISHED).exists()
    if not differing and not unfinished:
        return False, False
    if not unfinished:
        _back_up(directory, backup, [*order, marker.NAME])
    # Before any table changes: from then on they are not those that the stage made.
    done.unlink(missing_ok=True)
    for name in differing:
        if (staging / name).is_file():
            os.replace(staging / name, directory / name)
        else:
            (directory / name).unlink()  # a table of a user's own, of which no row was left
    made = (backup / marker.NAME).exists()
    if made:  # by a program, so that one may replace it
        marker.finish(directory, {}, {}, located=directory)
    (backup / _UNFINISHED).unlink()
    return True, made


def _back_up(directory: Path, backup: Path, names: Sequence[str]) -> None:
    """Copy files to the backup, in place of those of an earlier one."""
    backup.mkdir(exist_ok=True)
    for name in names:
        (backup / name).unlink(missing_ok=True)
        if (directory / name).is_file():
            shutil.copy2(directory / name, backup / name)
    (backup / _UNFINISHED).touch()


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
