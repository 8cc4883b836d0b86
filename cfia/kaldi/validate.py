"""Check a data directory as Kaldi's utils/validate_data_dir.sh does, with its messages.

Stricter than Kaldi's in what it lets pass: a malformed utt2spk, an empty transcript, a duration
that is not positive, and an utterance id that does not start with its speaker's id are errors.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cfia.errors import UserError
from cfia.kaldi.layout import TABLES, Key
from cfia.kaldi.table import BLANKS

PROGRAM = "validate_data_dir.sh"

_ONE_VALUE = {name for name, table in TABLES.items() if table.one_value}
_DIFFERENCES_SHOWN = 10


@dataclass(frozen=True)
class Wanted:
    """What must be there, and the checks to make: the flags of validate_data_dir.sh."""

    feats: bool = True
    text: bool = True
    wav: bool = True
    spk_sort: bool = True
    non_print: bool = False  # let non-printable characters stand in text


def validate(
    path: str | os.PathLike[str], wanted: Wanted, *, shown: str | os.PathLike[str] | None = None
) -> None:
    """Check the data directory `path`; messages call it `shown` if that is given.

    Raises:
        UserError: the first thing that is wrong, in the words of Kaldi's script where it has any.
    """
    _Validator(Path(path), str(path if shown is None else shown), wanted).run()


def success(shown: str | os.PathLike[str]) -> str:
    """What is said of a data directory without faults."""
    return f"{PROGRAM}: Successfully validated data-directory {shown}"


class _Validator:
    """One data directory: its name in messages and the tables read so far."""

    def __init__(self, path: Path, shown: str, wanted: Wanted) -> None:
        self.path = path
        self.shown = shown.rstrip("/") or shown
        self.wanted = wanted
        self.tables: dict[str, dict[str, str]] = {}

    def run(self) -> None:
        if not self.path.is_dir():
            raise _invalid(f"no such directory {self.shown}")
        for name in ("utt2spk", "spk2utt"):
            self._read(name)
        self._check_speakers()
        self._check_audio()
        self._check_text()
        self._check_features()
        self._check_lengths()
        self._check_genders()
        for name, table in TABLES.items():
            if name not in self.tables and self._read_if_there(name) is not None:
                self._check_keys(name, table.key)

    # Reading

    def _read(self, name: str, by_design: str = "") -> dict[str, str]:
        """Read a table that must be there; `by_design` is the flag that says otherwise."""
        table = self._read_if_there(name)
        if table is None:
            hint = f" (if this is by design, specify {by_design})" if by_design else ""
            raise _invalid(f"no such file {self.shown}/{name}{hint}")
        return table

    def _read_if_there(self, name: str) -> dict[str, str] | None:
        file = self.path / name
        if not file.is_file():
            return None
        where = f"{self.shown}/{name}"
        lines = _lines(file.read_bytes(), where)
        rows = [_split(line) for line in lines]
        for line, (key, value) in zip(lines, rows, strict=True):
            if not key:
                raise _invalid(f"file {where} has an empty line")
            if not value and name != "text":  # of text, the check of transcripts says more
                raise _invalid(f"file {where} has a line without a value: {line}")
            if name in _ONE_VALUE and len(value.split()) != 1:
                raise _invalid(f"file {where} has a line that is not two columns: {line}")
        self.tables[name] = dict(rows)
        if [key for key, _ in rows] != sorted(self.tables[name]):
            raise _invalid(f"file {where} is not sorted or has duplicates")
        return self.tables[name]

    # Checks

    def _check_speakers(self) -> None:
        utt2spk = self.tables["utt2spk"]
        if self.wanted.spk_sort:
            for utterance, speaker in utt2spk.items():
                if not utterance.startswith(speaker):
                    raise _invalid(
                        f"in {self.shown}/utt2spk, the utterance-id {utterance} does not start "
                        f"with its speaker-id {speaker} (if this is by design, specify "
                        "--no-spk-sort)"
                    )
            speakers = list(utt2spk.values())
            if speakers != sorted(speakers):
                raise _invalid(
                    f"{self.shown}/utt2spk is not in sorted order when sorted first on speaker-id "
                    "(if this is by design, specify --no-spk-sort)"
                )
        listed: dict[str, list[str]] = {}
        for utterance, speaker in utt2spk.items():
            listed.setdefault(speaker, []).append(utterance)
        if listed != {k: v.split() for k, v in self.tables["spk2utt"].items()}:
            raise _invalid(f"spk2utt and utt2spk in {self.shown} do not seem to match")

    def _check_audio(self) -> None:
        if self.wanted.wav:
            self._read("wav.scp", "--no-wav")
        else:
            self._read_if_there("wav.scp")
        segments = self._read_if_there("segments")
        if segments is None:
            if "wav.scp" in self.tables:
                self._check_utterances("wav.scp")
            return
        for utterance, value in segments.items():
            if not _is_segment(value):
                raise _invalid(f"bad line in {self.shown}/segments: {utterance} {value}")
        self._check_utterances("segments")
        if "wav.scp" in self.tables:
            self._check_keys("wav.scp", Key.RECORDING)

    def _check_text(self) -> None:
        text = self._read("text", "--no-text") if self.wanted.text else self._read_if_there("text")
        if text is None:
            return
        self._check_utterances("text")
        for utterance, transcript in text.items():
            if not transcript.strip():
                raise _invalid(f"{self.shown}/text has an empty transcript: {utterance}")
        if not self.wanted.non_print:
            odd = [u for u, t in text.items() if not _is_printable(t)]
            if odd:
                raise _invalid(
                    f"{self.shown}/text contains {len(odd)} lines with non-printable characters, "
                    f"the first of {odd[0]} (if this is by design, specify --non-print)"
                )

    def _check_features(self) -> None:
        if self.wanted.feats:
            self._read("feats.scp", "--no-feats")
        elif self._read_if_there("feats.scp") is None:
            return
        self._check_utterances("feats.scp")

    def _check_lengths(self) -> None:
        for name, what in (("utt2dur", "number"), ("utt2num_frames", "whole number")):
            table = self._read_if_there(name)
            if table is None:
                continue
            self._check_utterances(name)
            for utterance, value in table.items():
                if not _is_positive(value) or (what == "whole number" and not value.isdigit()):
                    raise _invalid(
                        f"file {self.shown}/{name} has a value that is not a positive {what}: "
                        f"{utterance} {value}"
                    )

    def _check_genders(self) -> None:
        genders = self._read_if_there("spk2gender")
        if genders is None:
            return
        for speaker, gender in genders.items():
            if gender not in ("m", "f"):
                raise _invalid(
                    f"{self.shown}/spk2gender must say m or f, not {gender}: speaker {speaker}"
                )
        self._check_keys("spk2gender", Key.SPEAKER)

    def _check_keys(self, name: str, key: Key) -> None:
        """Check a table that has no check of its own."""
        if key is Key.SPEAKER:
            self._check_same(
                "speaker", ("spk2utt", self.tables["spk2utt"]), (name, self.tables[name])
            )
        elif key is Key.RECORDING and "segments" in self.tables:
            recordings = {value.split()[0] for value in self.tables["segments"].values()}
            self._check_same("recording-ids", ("segments", recordings), (name, self.tables[name]))
        else:
            self._check_utterances(name)

    def _check_utterances(self, name: str) -> None:
        self._check_same(
            "utterance", ("utt2spk", self.tables["utt2spk"]), (name, self.tables[name])
        )

    def _check_same(
        self, what: str, first: tuple[str, Iterable[str]], second: tuple[str, Iterable[str]]
    ) -> None:
        ones, others = set(first[1]), set(second[1])
        if ones == others:
            return
        differing = sorted(ones ^ others)
        lines = [f"{'<' if key in ones else '>'} {key}" for key in differing[:_DIFFERENCES_SHOWN]]
        if len(differing) > _DIFFERENCES_SHOWN:
            lines.append("...")
        raise _invalid(
            f"Error: in {self.shown}, {what} lists extracted from {first[0]} and {second[0]} "
            "differ, partial diff is:\n"
            + "\n".join(lines)
            + f"\n[Lengths are {first[0]}={len(ones)} versus {second[0]}={len(others)}]"
        )


def _invalid(message: str) -> UserError:
    return UserError(f"{PROGRAM}: {message}")


def _lines(data: bytes, where: str) -> list[str]:
    if not data:
        raise _invalid(f"empty file {where}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(f"file {where} is not UTF-8: line {line}") from None
    if not text.endswith("\n"):
        raise _invalid(f"file {where} does not end in a newline")
    return text[:-1].split("\n")


def _split(line: str) -> tuple[str, str]:
    key, *value = re.split(r"[ \t]+", line.strip(BLANKS), maxsplit=1)
    return key, value[0] if value else ""


def _is_segment(value: str) -> bool:
    columns = value.split()
    if len(columns) != 3:
        return False
    try:
        start, end = float(columns[1]), float(columns[2])
    except ValueError:
        return False
    return 0 <= start < (math.inf if end == -1 else end)


def _is_positive(value: str) -> bool:
    try:
        return 0 < float(value) < math.inf
    except ValueError:
        return False


def _is_printable(text: str) -> bool:
    return all(char.isprintable() or char.isspace() for char in text)
