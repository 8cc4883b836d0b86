"""Copy a data directory under new ids, as Kaldi's utils/copy_data_dir.sh does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.kaldi import edit, layout
from cfia.kaldi.edit import Tables
from cfia.kaldi.layout import TABLES, Key
from cfia.kaldi.validate import Wanted


@dataclass(frozen=True)
class Affixes:
    """What goes before and after the ids."""

    spk_prefix: str = ""
    utt_prefix: str = ""
    spk_suffix: str = ""
    utt_suffix: str = ""

    def speaker(self, name: str) -> str:
        """A speaker's new id."""
        return f"{self.spk_prefix}{name}{self.spk_suffix}"

    def utterance(self, name: str) -> str:
        """An utterance's new id."""
        return f"{self.utt_prefix}{name}{self.utt_suffix}"


def copy(
    source: Path,
    destination: Path,
    affixes: Affixes,
    wanted: Wanted,
    extra_files: Sequence[str] = (),
) -> None:
    """Copy the tables with new ids, and `extra_files` as they are.

    Where utterances are renamed, utt2uniq says what they were. Recordings keep their ids where
    there are segments. What the source lacks of feats.scp, text and wav.scp is not asked for.

    Raises:
        UserError: the copy is not valid in the sense of `wanted`.
    """
    edit.check_destination(destination, [source], extra_files)
    tables = edit.read_tables(source, TABLES)
    renamed = rename(tables, affixes)
    wanted = replace(
        wanted,
        feats=wanted.feats and "feats.scp" in tables,
        text=wanted.text and "text" in tables,
        wav=wanted.wav and "wav.scp" in tables,
    )
    names = [*layout.COPIED, *(name for name in extra_files if name not in TABLES)]
    edit.write_new(destination, renamed, wanted=wanted, copied=edit.copies(source, names))


def rename(tables: Tables, affixes: Affixes) -> Tables:
    """The tables under the new ids."""
    new = {
        Key.UTTERANCE: affixes.utterance,
        Key.RECORDING: str if "segments" in tables else affixes.utterance,
        Key.SPEAKER: affixes.speaker,
    }
    renamed = {
        name: {new[TABLES[name].key](key): value for key, value in rows.items()}
        for name, rows in tables.items()
    }
    renamed["utt2spk"] = {u: affixes.speaker(s) for u, s in renamed["utt2spk"].items()}
    if "utt2uniq" not in tables and (affixes.utt_prefix or affixes.utt_suffix):
        renamed["utt2uniq"] = {affixes.utterance(u): u for u in tables["utt2spk"]}
    return renamed
