"""Put data directories together as Kaldi's utils/combine_data.sh does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi import edit, layout
from cfia.kaldi.edit import Tables
from cfia.kaldi.fix import intersect
from cfia.kaldi.validate import Checks


def combine(
    destination: Path,
    sources: Sequence[Path],
    extra_files: Sequence[str] = (),
    *,
    skip_fix: bool = False,
    warn: Callable[[str], None],
) -> int:
    """Write the tables that all sources have; returns the number of utterances.

    Where some sources have segments, those without get segments that are whole recordings; where
    some have utt2uniq, those without get one that says that all their utterances are unique.

    Raises:
        UserError: two sources have different lines for one key, or the result is not valid and
            `skip_fix` is false.
    """
    edit.check_destination(destination, sources, extra_files)
    kinds = layout.kinds(*sources, utterance_files=extra_files)
    all_tables = {source: edit.read_tables(source, kinds) for source in sources}
    if any("segments" in tables for tables in all_tables.values()):
        for tables in all_tables.values():
            # An end of -1 is the end of the recording.
            tables.setdefault("segments", {u: f"{u} 0 -1" for u in tables["utt2spk"]})
    if any("utt2uniq" in tables for tables in all_tables.values()):
        for tables in all_tables.values():
            tables.setdefault("utt2uniq", {u: u for u in tables["utt2spk"]})
    merged: Tables = {}
    for name in kinds:
        lacking = [source for source in sources if name not in all_tables[source]]
        if not lacking:
            merged[name] = _merge(name, all_tables)
        elif len(lacking) < len(sources):
            warn(f"not combining {name} as it does not exist everywhere: {lacking[0]} lacks it")
    checks = None
    if not skip_fix:
        merged, notes = intersect(merged, kinds)
        for note in notes:
            warn(note)
        checks = Checks(feats=False, text=False, wav=False, printable=False)
    edit.write_new(destination, merged, checks)
    return len(merged["utt2spk"])


def _merge(name: str, all_tables: dict[Path, Tables]) -> dict[str, str]:
    rows: dict[str, str] = {}
    origin: dict[str, Path] = {}
    for source, tables in all_tables.items():
        for key, value in tables[name].items():
            if rows.setdefault(key, value) != value:
                raise UserError(
                    f"{origin[key]}/{name} and {source}/{name} have different lines for {key}; "
                    "rename one with utils/copy_data_dir.sh or delete it"
                )
            origin.setdefault(key, source)
    return rows
