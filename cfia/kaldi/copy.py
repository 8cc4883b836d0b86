"""Copy a data directory under new ids, as Kaldi's utils/copy_data_dir.sh does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.kaldi import edit, layout
from cfia.kaldi.edit import Tables
from cfia.kaldi.layout import Key
from cfia.kaldi.validate import Checks


@dataclass(frozen=True)
class Affixes:
    """Texts to put before and after the ids of speakers and utterances."""

    spk_prefix: str = ""
    utt_prefix: str = ""
    spk_suffix: str = ""
    utt_suffix: str = ""

    def speaker(self, name: str) -> str:
        """Rename a speaker."""
        return f"{self.spk_prefix}{name}{self.spk_suffix}"

    def utterance(self, name: str) -> str:
        """Rename an utterance."""
        return f"{self.utt_prefix}{name}{self.utt_suffix}"


def copy(
    source: Path,
    destination: Path,
    affixes: Affixes,
    checks: Checks,
    extra_files: Sequence[str] = (),
) -> None:
    """Copy the tables with new ids, and `extra_files` as they are.

    Where utterances are renamed, utt2uniq holds their old ids. Recordings keep their ids where
    there are segments. A feats.scp, text or wav.scp that the source lacks is not asked for.

    Raises:
        UserError: the copy does not pass the `checks`.
    """
    edit.check_destination(destination, [source], extra_files)
    kinds = layout.kinds(source)
    tables = edit.read_tables(source, kinds)
    checks = replace(
        checks,
        feats=checks.feats and "feats.scp" in tables,
        text=checks.text and "text" in tables,
        wav=checks.wav and "wav.scp" in tables,
    )
    names = [*layout.COPIED, *(name for name in extra_files if name not in kinds)]
    copied = [source / name for name in names]
    edit.write_new(destination, rename(tables, affixes, kinds), checks, copied, flags=True)


def rename(tables: Tables, affixes: Affixes, kinds: Mapping[str, Key]) -> Tables:
    """Put the tables, keyed as `kinds` says, under the new ids."""
    new_id = {
        Key.UTTERANCE: affixes.utterance,
        Key.RECORDING: str if "segments" in tables else affixes.utterance,
        Key.SPEAKER: affixes.speaker,
    }
    renamed = {
        name: {new_id[kinds[name]](key): value for key, value in rows.items()}
        for name, rows in tables.items()
    }
    renamed["utt2spk"] = {u: affixes.speaker(s) for u, s in renamed["utt2spk"].items()}
    if "utt2uniq" not in tables and (affixes.utt_prefix or affixes.utt_suffix):
        renamed["utt2uniq"] = {affixes.utterance(u): u for u in tables["utt2spk"]}
    return renamed
