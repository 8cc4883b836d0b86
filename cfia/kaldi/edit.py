"""Read, narrow and write whole data directories: what subset, combine and copy share."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.files import atomic_directory
from cfia.kaldi import layout
from cfia.kaldi.data_dir import spk2utt
from cfia.kaldi.layout import Key
from cfia.kaldi.table import read_table, write_table
from cfia.kaldi.validate import Wanted, validate

Tables = dict[str, dict[str, str]]
"""File name -> key -> the rest of the line."""

LAX = Wanted(feats=False, text=False, wav=False, spk_sort=False, non_print=True)
"""The tables agree; what a user may have left out by design does not matter."""


def read_tables(directory: Path, names: Iterable[str]) -> Tables:
    """Read those of the tables `names` that are there.

    Raises:
        UserError: the directory or its utt2spk is missing, or a table is malformed.
    """
    if not directory.is_dir():
        raise UserError(f"no such directory {directory}")
    if not (directory / "utt2spk").is_file():
        raise UserError(f"no such file {directory}/utt2spk, so this is no data directory")
    return {
        name: read_table(directory / name, allow_empty=name == "text")
        for name in names
        if (directory / name).is_file()
    }


def recording_of(segment: str) -> str:
    """The recording, given a value of the table segments."""
    return segment.split()[0]


def restrict(tables: Tables, utterances: Collection[str], kinds: Mapping[str, Key]) -> Tables:
    """The rows of some utterances, of their recordings and of their speakers.

    `kinds` (`cfia.kaldi.layout.kinds`) says what keys each table.
    """
    keep = set(utterances)
    recordings = keep
    if "segments" in tables:
        recordings = {recording_of(v) for u, v in tables["segments"].items() if u in keep}
    wanted: dict[Key, set[str]] = {
        Key.UTTERANCE: keep,
        Key.RECORDING: recordings,
        Key.SPEAKER: {s for u, s in tables["utt2spk"].items() if u in keep},
    }
    return {
        name: {k: v for k, v in rows.items() if k in wanted[kinds[name]]}
        for name, rows in tables.items()
    }


def write_tables(directory: Path, tables: Tables) -> None:
    """Write the tables that have rows, spk2utt among them and utt2spk last."""
    tables = {**tables, "spk2utt": spk2utt(tables["utt2spk"])}
    for name in sorted(tables, key=lambda name: name == "utt2spk"):
        if tables[name]:
            write_table(directory / name, tables[name])


def write_new(
    destination: Path,
    tables: Tables,
    *,
    wanted: Wanted | None = LAX,
    copied: Mapping[str, Path] | None = None,
) -> None:
    """Write a data directory whole or not at all; it replaces one that is there.

    The marker of the stage that made the source is not written: this is not what it made.

    Args:
        destination: looked at by `check_destination` before.
        tables: without spk2utt, which is made from utt2spk.
        wanted: what to validate it for; None for no validation.
        copied: file name -> the file of which a copy is put beside the tables.

    Raises:
        UserError: a row cannot stand in a table, or the tables do not agree.
    """
    for name, rows in tables.items():
        if not rows and name in layout.TABLES:  # or the table would be missing, without a word
            raise UserError(f"{name} would be empty: it has nothing of the utterances in utt2spk")
    # A link keeps pointing where it does; what it points to is replaced.
    with atomic_directory(destination.resolve()) as temporary:
        write_tables(temporary, tables)
        for name, source in (copied or {}).items():
            shutil.copyfile(source, temporary / name)
        if wanted is not None:
            check(temporary, wanted, destination)


def check(directory: Path, wanted: Wanted, shown: Path) -> None:
    """`cfia.kaldi.validate.validate`, without the name of its script before the message."""
    try:
        validate(directory, wanted, shown=shown)
    except UserError as error:
        raise UserError(str(error).split(": ", 1)[1]) from None


def copies(source: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those files of `names` that the source has, for `write_new`."""
    return {name: source / name for name in names if (source / name).is_file()}


def check_destination(
    destination: Path, sources: Sequence[Path], further: Collection[str] = ()
) -> None:
    """Refuse a destination that is a source, or holds what would be lost.

    Raises:
        UserError: the destination is, or lies around, a source; it is a file; it is neither
            empty nor a data directory; or it holds more than a data directory does. Files named
            in `further` may be in it.
    """
    target = destination.resolve()
    for source in sources:
        if target == source.resolve():
            raise UserError(f"source and destination are both {destination}; choose another")
        if target in source.resolve().parents:
            raise UserError(
                f"the source {source} lies in the destination {destination}, which would be "
                "replaced; choose another"
            )
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"the destination {destination} is not a directory; choose another")
    inside = sorted(path.name for path in target.iterdir())
    if inside and not (target / "utt2spk").is_file():
        raise UserError(
            f"the destination {destination} is neither empty nor a data directory; move it away or "
            "choose another"
        )
    for name in inside:
        is_table = (target / name).is_file() or name == layout.BACKUP
        if not is_table or not layout.belongs(name, further):
            raise UserError(
                f"the destination {destination} holds {name}, which is no part of a data directory "
                "and would be lost; move it away or choose another"
            )


def left_behind(source: Path, carried: Collection[str]) -> list[str]:
    """The files of a source that none of the tools' results has; hidden ones do not count."""
    known = {"spk2utt", "skipped", *carried}
    return sorted(
        path.name
        for path in source.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name not in known
    )


# The command lines


def file_names(text: str) -> list[str]:
    """The names in the value of an option such as --extra-files 'a b'.

    Raises:
        UserError: a name is not that of a file in the data directory.
    """
    names = text.split()
    for name in names:
        if Path(name).name != name or name == "..":
            raise UserError(f"{name} must be the name of a file in the data directory, not a path")
    return names


def kaldi_arguments(
    argv: Sequence[str] | None, valued: Collection[str], booleans: Collection[str] = ()
) -> list[str]:
    """Arguments as Kaldi's parse_options.sh takes them, in a form that argparse does.

    A value may begin with a dash (`--utt-suffix -noise`), an underscore may stand for a dash in
    an option's name, and `true` or `false` may follow a boolean option.
    """
    rest = list(sys.argv[1:] if argv is None else argv)
    found: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("--"):
            return [*found, word, *rest]
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if name in valued and not equals and rest:
            equals, value = "=", rest.pop(0)
        if name in booleans and not equals:
            equals, value = "=", rest.pop(0) if rest[:1] in (["true"], ["false"]) else "true"
        found.append(name + equals + value)
    return found


def run_tool(program: str, tool: Callable[[], None]) -> None:
    """Run a tool; a `UserError` becomes `<program>: <message>` and exit code 1."""
    try:
        tool()
    except UserError as error:
        sys.stdout.flush()
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(1)


def warn(program: str, message: str) -> None:
    """One line on the standard error."""
    print(f"{program}: warning: {message}", file=sys.stderr)


def validation_flags(text: str) -> Wanted:
    """What a value of --validate-opts, such as `--no-feats --non-print`, asks for.

    Raises:
        ValueError: one of them is not a flag of validate_data_dir.sh; the message names it.
    """
    flags = {
        "--no-feats": {"feats": False},
        "--no-text": {"text": False},
        "--no-wav": {"wav": False},
        "--no-spk-sort": {"spk_sort": False},
        "--non-print": {"non_print": True},
    }
    chosen: dict[str, bool] = {}
    for flag in shlex.split(text):
        if flag not in flags:
            raise ValueError(f"{flag} is not a flag of validate_data_dir.sh")
        chosen |= flags[flag]
    return Wanted(**chosen)
