"""Read, restrict and write whole data directories, as subset, combine and copy all do."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cfia import marker
from cfia.cli import parser
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.kaldi import layout
from cfia.kaldi.layout import Key, write_tables
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import Checks, check_unedited, validate

Tables = dict[str, dict[str, str]]
"""File name -> key -> the rest of the line."""

LAX = Checks(feats=False, text=False, wav=False, spk_sort=False, printable=False)
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


def restrict(tables: Tables, utterances: Collection[str], kinds: Mapping[str, Key]) -> Tables:
    """Keep the rows of some utterances, of their recordings and of their speakers.

    `kinds` (`cfia.kaldi.layout.kinds`) says what keys each table.
    """
    kept = set(utterances)
    recordings = kept
    if "segments" in tables:
        recordings = {v.split()[0] for u, v in tables["segments"].items() if u in kept}
    keys = {
        Key.UTTERANCE: kept,
        Key.RECORDING: recordings,
        Key.SPEAKER: {s for u, s in tables["utt2spk"].items() if u in kept},
    }
    return {
        name: {k: v for k, v in rows.items() if k in keys[kinds[name]]}
        for name, rows in tables.items()
    }


def write_new(
    destination: Path,
    tables: Tables,
    checks: Checks | None = LAX,
    copied: Iterable[Path] = (),
    *,
    flags: bool = False,
) -> None:
    """Write a data directory whole or not at all; it replaces one that is there.

    Its marker names no options: no stage made it.

    Args:
        destination: seen to be free by `check_destination`.
        tables: without spk2utt, which is made from utt2spk.
        checks: what to validate; None for no validation.
        flags: as for `cfia.kaldi.validate.validate`.
        copied: files of which a copy is put beside the tables, where they exist.

    Raises:
        UserError: a row cannot be written to a table, or the tables do not agree.
    """
    for name, rows in tables.items():
        if not rows and name in layout.TABLES:  # or the table would be missing, without a word
            raise UserError(f"{name} would be empty: it has nothing of the utterances in utt2spk")
    # A link keeps its target, and the target is replaced.
    with atomic_directory(destination.resolve()) as temporary:
        write_tables(temporary, tables)
        for path in copied:
            if path.is_file():
                shutil.copyfile(path, temporary / path.name)
        if checks is not None:
            check(temporary, checks, destination, flags=flags)
        marker.finish(temporary, {}, {}, located=destination)


def check(directory: Path, checks: Checks, shown: Path, *, flags: bool = False) -> None:
    """Validate as `cfia.kaldi.validate.validate`, without its script's name in the message."""
    try:
        validate(directory, checks, shown=shown, flags=flags)
    except UserError as error:
        raise UserError(str(error).split(": ", 1)[1]) from None


def check_destination(
    destination: Path, sources: Sequence[Path], further: Collection[str] = ()
) -> None:
    """Refuse a destination that is a source, or holds files that would be lost.

    Raises:
        UserError: the destination is, or lies around, a source; it is a file; it is neither
            empty nor a data directory; it was edited; or it holds more than a data directory does.
            Files named in `further` may be in it.
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
    check_unedited(target)
    if inside and not (target / "utt2spk").is_file():
        raise UserError(
            f"the destination {destination} is neither empty nor a data directory; move it away or "
            "choose another"
        )
    for name in inside:
        is_table = (target / name).is_file() or name == layout.BACKUP
        if not is_table or not layout.belongs(name, further):
            raise UserError(
                f"the destination {destination} holds {name}, which does not belong to a data "
                "directory and would be lost; move it away or choose another"
            )


# The command lines


def tool_parser(program: str, description: str, example: str) -> argparse.ArgumentParser:
    """Make the argument parser of a tool in utils/; `example` are arguments."""
    p = parser("", description, f"utils/{program} {example}")
    p.prog = program
    return p


def file_names(text: str) -> list[str]:
    """Split the value of an option such as --extra-files 'a b' into names.

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
    """Turn arguments as Kaldi's parse_options.sh takes them into a form that argparse takes.

    A value may begin with a dash (`--utt-suffix -noise`), an option may be written with
    underscores for dashes, and `true` or `false` may follow a boolean option.
    """
    rest = list(sys.argv[1:] if argv is None else argv)
    arguments: list[str] = []
    while rest and rest[0].startswith("--") and rest[0] != "--":
        name, equals, value = rest.pop(0).partition("=")
        name = name.replace("_", "-")
        if name in valued and not equals and rest:
            equals, value = "=", rest.pop(0)
        if name in booleans and not equals:
            equals, value = "=", rest.pop(0) if rest[:1] in (["true"], ["false"]) else "true"
        arguments.append(name + equals + value)
    return arguments + rest


@contextlib.contextmanager
def errors_of(program: str) -> Iterator[None]:
    """Turn a `UserError` into `<program>: <message>` and exit code 1."""
    try:
        yield
    except UserError as error:
        sys.stdout.flush()
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(1)


def warn(program: str, message: str) -> None:
    """Print a warning on the standard error."""
    print(f"{program}: warning: {message}", file=sys.stderr)


def warn_of_other_files(
    program: str, source: Path, destination: Path, further: Iterable[str] = ()
) -> None:
    """Name the files of a source that the destination lacks; hidden ones do not count."""
    known = {"spk2utt", "skipped", *layout.kinds(source), *layout.COPIED, *further}
    names = {path.name for path in source.iterdir() if path.is_file()} - known
    others = sorted(name for name in names if not name.startswith("."))
    if others:
        warn(program, f"not in {destination}: {' '.join(others)}")
