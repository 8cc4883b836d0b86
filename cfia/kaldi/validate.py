"""Check a data directory as Kaldi's utils/validate_data_dir.sh does, with its messages.

It is stricter than Kaldi's: a malformed utt2spk, an empty transcript, a duration that is not
positive, and an utterance id that does not start with its speaker's id are errors.
"""

from __future__ import annotations

import operator
import os
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise, starmap
from pathlib import Path
from sys import intern
from typing import NamedTuple

from cfia import marker
from cfia.errors import UserError
from cfia.kaldi import layout
from cfia.kaldi.layout import Key, Segment, positive, spk2utt
from cfia.kaldi.table import has_mark, plain_rows, read_text, split_row, unseen

PROGRAM = "validate_data_dir.sh"

_DIFFERENCES_SHOWN = 10


@dataclass(frozen=True)
class Checks:
    """The tables that must be there, and the checks to make."""

    feats: bool = True
    text: bool = True
    wav: bool = True
    spk_sort: bool = True
    printable: bool = True


class Flag(NamedTuple):
    """A flag of validate_data_dir.sh: the field of `Checks` that it sets to false, and its help."""

    check: str
    help: str


FLAGS = {
    "--no-feats": Flag("feats", "feats.scp need not be there"),
    "--no-text": Flag("text", "text need not be there"),
    "--no-wav": Flag("wav", "wav.scp need not be there"),
    "--no-spk-sort": Flag(
        "spk_sort", "utterance ids need not start with the speaker's id and sort by it"
    ),
    "--non-print": Flag("printable", "text may hold non-printable characters"),
}


def validate(
    path: str | os.PathLike[str],
    checks: Checks,
    *,
    shown: str | os.PathLike[str] | None = None,
    flags: bool = False,
) -> None:
    """Check the data directory `path`.

    Args:
        checks: what must be there, and what is checked.
        shown: the directory's name in messages, if another.
        flags: messages name those of validate_data_dir.sh, which the user has called or can give.

    Raises:
        UserError: the first fault, in the words of Kaldi's script where it has any.
    """
    _Validator(Path(path), str(path if shown is None else shown), checks, flags).run()


def success(shown: str | os.PathLike[str]) -> str:
    """Say that a data directory has no faults."""
    return f"{PROGRAM}: Successfully validated data-directory {shown}"


class _Validator:
    """One data directory: its name in messages and the tables read so far."""

    def __init__(self, path: Path, shown: str, checks: Checks, flags: bool) -> None:
        self.path = path
        self.shown = shown.rstrip("/") or shown
        self.checks = checks
        self.flags = flags
        self.tables: dict[str, dict[str, str]] = {}

    def run(self) -> None:
        if not self.path.is_dir():
            raise _invalid(f"no such directory {self.shown}")
        for name in ("utt2spk", "spk2utt"):
            self._read(name, needed=True)
        self._check_speakers()
        self._check_audio()
        self._check_text()
        if self._read("feats.scp", needed=self.checks.feats, flag="--no-feats"):
            self._check_utterances("feats.scp")
        self._check_lengths()
        self._check_genders()
        for name, key in layout.kinds(self.path).items():
            if name not in self.tables and self._read(name):
                self._check_keys(name, key)

    # Reading

    def _advise(self, flag: str, otherwise: str = "") -> str:
        """Name the flag by which a fault is accepted; where there is none, what to do."""
        if self.flags:
            return f" (if this is by design, specify {flag})" if flag else ""
        return f"; {otherwise}" if otherwise else ""

    def _read(self, name: str, *, needed: bool = False, flag: str = "") -> dict[str, str]:
        """Read a table; {} if there is none. If it is needed, `flag` is named that leaves it out.

        No table that there is comes out empty, as an empty file is a fault.
        """
        file, where = self.path / name, f"{self.shown}/{name}"
        if not file.is_file():
            if needed:
                raise _invalid(f"no such file {where}{self._advise(flag)}")
            return {}
        kind = layout.kind(name)
        one_value = kind is not None and kind.one_value
        text = _text(file, where)
        table = plain_rows(text)
        if (
            table is None
            or not all(starmap(operator.lt, pairwise(table)))
            or (one_value and text.count(" ") > len(table))
        ):
            table = _rows_one_by_one(text, where, one_value=one_value, empty=name == "text")
        self.tables[name] = table
        return table

    # Checks

    def _check_speakers(self) -> None:
        utt2spk = self.tables["utt2spk"]
        if self.checks.spk_sort:
            begin = "begin utterance ids with the speaker's, such as <speaker>-<name>"
            advice = self._advise("--no-spk-sort", begin)
            for utterance, speaker in utt2spk.items():
                if not utterance.startswith(speaker):
                    raise _invalid(
                        f"in {self.shown}/utt2spk, the utterance-id {utterance} does not start "
                        f"with its speaker-id {speaker}{advice}"
                    )
            speakers = list(utt2spk.values())
            if speakers != sorted(speakers):
                raise _invalid(
                    f"{self.shown}/utt2spk is not in sorted order when sorted first on speaker-id"
                    + self._advise("--no-spk-sort", "let no speaker's id begin with another's")
                )
        listed = {s: " ".join(utts.split()) for s, utts in self.tables["spk2utt"].items()}
        if listed != spk2utt(utt2spk):
            raise _invalid(f"spk2utt and utt2spk in {self.shown} do not seem to match")

    def _check_audio(self) -> None:
        wav_scp = self._read("wav.scp", needed=self.checks.wav, flag="--no-wav")
        segments = self._read("segments")
        for utterance, value in segments.items():
            if Segment.parse(value) is None:
                raise _invalid(f"bad line in {self.shown}/segments: {utterance} {value}")
        if segments:
            self._check_utterances("segments")
        if wav_scp:
            self._check_keys("wav.scp", Key.RECORDING)

    def _check_text(self) -> None:
        text = self._read("text", needed=self.checks.text, flag="--no-text")
        if not text:
            return
        self._check_utterances("text")
        for utterance, transcript in text.items():
            if not transcript.strip():
                raise _invalid(f"{self.shown}/text has an empty transcript: {utterance}")
        odd = [u for u, transcript in text.items() if not _is_printable(transcript)]
        advice = self._advise("--non-print", "delete them there")
        if odd and self.checks.printable:
            raise _invalid(
                f"{self.shown}/text contains {len(odd)} lines with non-printable characters, "
                f"the first of {odd[0]}{advice}"
            )

    def _check_lengths(self) -> None:
        for name, kind in (("utt2dur", "number"), ("utt2num_frames", "whole number")):
            if not self._read(name):
                continue
            self._check_utterances(name)
            for utterance, value in self.tables[name].items():
                if positive(value) is None or (kind == "whole number" and not value.isdigit()):
                    raise _invalid(
                        f"file {self.shown}/{name} has a value that is not a positive {kind}: "
                        f"{utterance} {value}"
                    )

    def _check_genders(self) -> None:
        genders = self._read("spk2gender")
        for speaker, gender in genders.items():
            if gender not in ("m", "f"):
                raise _invalid(
                    f"{self.shown}/spk2gender must say m or f, not {gender}: speaker {speaker}"
                )
        if genders:
            self._check_keys("spk2gender", Key.SPEAKER)

    def _check_keys(self, name: str, key: Key) -> None:
        if key is Key.SPEAKER:
            self._check_same("speaker", "spk2utt", self.tables["spk2utt"].keys(), name)
        elif key is Key.RECORDING and "segments" in self.tables:
            recordings = {value.split()[0] for value in self.tables["segments"].values()}
            self._check_same("recording-ids", "segments", recordings, name)
        else:
            self._check_utterances(name)

    def _check_utterances(self, name: str) -> None:
        self._check_same("utterance", "utt2spk", self.tables["utt2spk"].keys(), name)

    def _check_same(self, kind: str, first_name: str, ids: Set[str], name: str) -> None:
        """Compare ids of the table `first_name` with the keys of the table `name`."""
        keys = self.tables[name].keys()
        table = layout.kind(name)
        unknown = table is not None and not table.whole  # of what a corpus may not know
        if ids == keys or (unknown and ids >= keys):
            return
        differing = sorted(ids ^ keys)
        lines = [f"{'<' if key in ids else '>'} {key}" for key in differing[:_DIFFERENCES_SHOWN]]
        if len(differing) > _DIFFERENCES_SHOWN:
            lines.append("...")
        raise _invalid(
            f"Error: in {self.shown}, {kind} lists extracted from {first_name} and {name} "
            "differ, partial diff is:\n"
            + "\n".join(lines)
            + f"\n[Lengths are {first_name}={len(ids)} versus {name}={len(keys)}]"
        )


def _invalid(message: str) -> UserError:
    return UserError(f"{PROGRAM}: {message}")


def _text(file: Path, where: str) -> str:
    try:
        text = read_text(file, shown=f"file {where}")
    except UserError as error:
        raise _invalid(str(error)) from None
    if not text:
        raise _invalid(f"empty file {where}")
    if has_mark(file):
        raise _invalid(
            f"file {where} begins with a byte order mark, which Kaldi takes for a part of the "
            "first id; utils/fix_data_dir.sh removes it"
        )
    if not text.endswith("\n"):
        raise _invalid(f"file {where} does not end in a newline")
    return text


def _rows_one_by_one(text: str, where: str, *, one_value: bool, empty: bool) -> dict[str, str]:
    """Read the rows of a table and find its first fault, if it has one; values may be `empty`."""
    table: dict[str, str] = {}
    before, in_order = "", True
    for line in text[:-1].split("\n"):
        key, value = split_row(line)
        if not key:
            raise _invalid(f"file {where} has an empty line")
        if not value and not empty:
            raise _invalid(f"file {where} has a line without a value: {line}")
        if fault := unseen(key):
            raise _invalid(f"file {where}: {fault}; delete it there")
        if one_value and (fault := unseen(value)):
            raise _invalid(f"file {where}: {fault}; delete it there")
        if one_value and len(value.split()) != 1:
            raise _invalid(f"file {where} has a line that is not two columns: {line}")
        table[intern(key)] = value
        in_order &= before < key
        before = key
    if not in_order:
        raise _invalid(f"file {where} is not sorted or has duplicates")
    return table


def _is_printable(text: str) -> bool:
    """Whether grep's [:print:] and [:space:] hold it, as in Kaldi: joiners and the like do."""
    return text.isprintable() or all(
        c.isprintable() or c.isspace() or unicodedata.category(c) == "Cf" for c in text
    )


def check_unedited(directory: Path) -> None:
    """Check that the tables of a data directory are as its stage made them.

    One without a marker is a user's own, of which nobody knows how it should be.

    Raises:
        UserError: a table is gone, or was cut or edited.
    """
    recorded = marker.read(directory, made_by="stage 1")
    changed = recorded and marker.changed_file(directory, recorded)
    if changed:
        raise UserError(
            f"{directory}: {changed}; run stage 1 with --force true, or to keep the change delete "
            f"{directory / marker.NAME} and go on from --stage 2"
        )
