"""Put data directories together as Kaldi's utils/combine_data.sh does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi import edit, layout
from cfia.kaldi.edit import Tables
from cfia.kaldi.fix import mend
from cfia.kaldi.validate import Wanted


def combine(
    destination: Path,
    sources: Sequence[Path],
    extra_files: Sequence[str] = (),
    *,
    skip_fix: bool = False,
    warn: Callable[[str], None],
) -> int:
    """Write the tables that all sources have; returns the number of utterances.

    Where some sources have segments, those without get segments that are whole recordings.

    Raises:
        UserError: two sources have different lines for one key, or the result is not valid and
            `skip_fix` is false.
    """
    edit.check_destination(destination, sources, extra_files)
    kinds = layout.kinds(extra_files)
    all_tables = [edit.read_tables(source, kinds) for source in sources]
    if any("segments" in tables for tables in all_tables):
        for tables in all_tables:
            # An end of -1 is the end of the recording.
            tables.setdefault("segments", {u: f"{u} 0 -1" for u in tables["utt2spk"]})
    merged: Tables = {}
    for name in kinds:
        lacking = [s for s, tables in zip(sources, all_tables, strict=True) if name not in tables]
        if not lacking:
            merged[name] = _merge(name, sources, all_tables)
        elif len(lacking) < len(sources):
            warn(f"not combining {name} as it does not exist everywhere: {lacking[0]} lacks it")
    if skip_fix:
        edit.write_new(destination, merged, wanted=None)
        return len(merged["utt2spk"])
    notes: list[str] = []
    merged = mend(merged, kinds, notes)
    for note in notes:
        warn(note)
    wanted = Wanted(feats=False, text=False, wav=False, non_print=True)
    edit.write_new(destination, merged, wanted=wanted)
    return len(merged["utt2spk"])


def _merge(name: str, sources: Sequence[Path], all_tables: Sequence[Tables]) -> dict[str, str]:
    rows: dict[str, str] = {}
    first: dict[str, Path] = {}
    for source, tables in zip(sources, all_tables, strict=True):
        for key, value in tables[name].items():
            if rows.setdefault(key, value) != value:
                raise UserError(
                    f"{first[key]}/{name} and {source}/{name} have different lines for {key}; "
                    "rename one with utils/copy_data_dir.sh or delete it"
                )
            first.setdefault(key, source)
    return rows
