"""Read and write Kaldi data directories: wav.scp, text, utt2spk and the tables beside them."""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.kaldi.audio import is_pipe
from cfia.kaldi.layout import FURTHER, Segment, positive, write_tables
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import Checks, check_unedited, validate


@dataclass(frozen=True)
class DataDir:
    """A data directory in memory: one dictionary per table, empty where there is no file.

    Tables of utterances that Kaldi does not know are in `further`, under their files' names.

    All are keyed by the utterance id, but `wav_scp` where there are segments (by the recording
    id), `spk2gender` (by the speaker id) and `skipped` (utterances that were left out -> why).
    """

    path: Path
    wav_scp: dict[str, str]
    text: dict[str, str]
    utt2spk: dict[str, str]
    utt2dur: dict[str, float]
    further: dict[str, dict[str, str]] = field(default_factory=dict)
    spk2gender: dict[str, str] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        needed: Iterable[str] = ("wav.scp", "text", "utt2dur"),
        *,
        only: Container[str] | None = None,
    ) -> DataDir:
        """Read a data directory.

        Args:
            needed: the tables that must be there, in addition to utt2spk.
            only: the tables that are read, in addition to utt2spk; None: all that there are.

        Raises:
            UserError: the directory, utt2spk or a table that is needed is missing; a table is
                malformed, or not as it was made; or the tables do not name the same utterances.
        """
        directory = Path(path)
        if not directory.is_dir():
            raise UserError(f"no such data directory {directory}; run stage 1")
        check_unedited(directory)
        for name in needed:
            if not (directory / name).is_file():
                way_out = "run stage 1, or add it"
                if name == "text" and (directory / marker.NAME).exists():
                    way_out = "the corpus has no transcripts; use audio alone, or --text_file"
                raise UserError(f"no such file {directory / name}; {way_out}")

        def read(name: str) -> dict[str, str]:
            wanted = only is None or name in only
            return read_table(directory / name) if wanted and (directory / name).exists() else {}

        segments = {u: parse_segment(directory, u, v) for u, v in read("segments").items()}
        data = cls(
            path=directory,
            wav_scp=_found_again(directory, read("wav.scp")),
            text=read("text"),
            utt2spk=read_table(directory / "utt2spk"),
            utt2dur={u: _duration(directory, u, v) for u, v in read("utt2dur").items()},
            further={name: read(name) for name in FURTHER},
            spk2gender=read("spk2gender"),
            segments=segments,
            skipped=read("skipped"),
        )
        data._check_utterances()
        return data

    @property
    def utterances(self) -> list[str]:
        """The utterance ids in C-locale order."""
        return sorted(self.utt2spk)

    def table(self, name: str) -> dict[str, str]:
        """Get a table of utterances that Kaldi does not know; empty where there is none."""
        return self.further.get(name, {})

    def audio(self, utterance: str) -> tuple[str, float | None, float | None]:
        """Get the arguments of `cfia.kaldi.audio.load`: wav.scp entry, start and end in seconds."""
        if not self.segments:
            return self.wav_scp[utterance], None, None
        recording, start, end = self.segments[utterance]
        return self.wav_scp[recording], start, None if end == -1 else end

    def _check_utterances(self) -> None:
        tables: dict[str, Mapping[str, Any]] = {
            "segments" if self.segments else "wav.scp": self.segments or self.wav_scp,
            "text": self.text,
            "utt2dur": self.utt2dur,
            **self.further,
        }
        for name, table in tables.items():
            if table and table.keys() != self.utt2spk.keys():
                _raise_difference(self.path / name, table.keys(), self.utt2spk.keys())
        for utterance, segment in self.segments.items():
            if segment.recording not in self.wav_scp:
                raise UserError(
                    f"{self.path}/segments: {utterance} is in the recording {segment.recording}, "
                    "which wav.scp lacks; add it there"
                )


def speakers_known(utt2spk: Mapping[str, str]) -> bool:
    """Whether it is known who speaks: where nobody knows, each utterance is its own speaker."""
    return any(utterance != speaker for utterance, speaker in utt2spk.items())


def write_data_dir(
    path: str | os.PathLike[str],
    tables: Mapping[str, Mapping[str, str]],
    options: dict[str, Any],
    inputs: dict[str, str],
    *,
    wav: bool = True,
    text: bool = True,
) -> None:
    """Write `tables` (file name -> rows), spk2utt and the marker; whole or not at all.

    An empty table is not written, so that `skipped` exists only where something was skipped.
    Without `wav` there need be no wav.scp: features from elsewhere have no audio. Without `text`
    there need be no transcripts.
    The files are validated before the directory gets its name.

    Raises:
        UserError: a row cannot be written to a table (`cfia.kaldi.table.write_table`), or the
            tables do not agree (`cfia.kaldi.validate`).
    """
    with atomic_directory(path) as temporary:
        write_tables(temporary, tables)
        validate(temporary, Checks(feats=False, wav=wav, text=text), shown=path)
        marker.finish(temporary, options, inputs, located=Path(path))


def _found_again(directory: Path, wav_scp: Mapping[str, str]) -> dict[str, str]:
    """Find audio again that has moved together with the data directory."""
    find = marker.finder(directory)
    return {r: spec if is_pipe(spec) else find(spec) for r, spec in wav_scp.items()}


def parse_segment(directory: Path, utterance: str, value: str) -> Segment:
    """Parse the value of an utterance in the table `segments` of a data directory.

    Raises:
        UserError: it is not a recording, a start and a later end.
    """
    segment = Segment.parse(value)
    if segment is None:
        raise UserError(
            f"{directory}/segments: {utterance} has {value!r} where a recording, a start and a "
            "later end in seconds are expected; correct the line"
        )
    return segment


def _duration(directory: Path, utterance: str, value: str) -> float:
    seconds = positive(value)
    if seconds is None:
        raise UserError(
            f"{directory}/utt2dur: the duration of {utterance} is {value!r}, not a positive number "
            "of seconds; correct the line"
        )
    return seconds


def _raise_difference(table: Path, keys: Collection[str], utterances: Collection[str]) -> None:
    missing, extra = sorted({*utterances} - {*keys}), sorted({*keys} - {*utterances})
    first = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which utt2spk lacks"
    more = len(missing) + len(extra) - 1
    raise UserError(
        f"{table} {first}{f' ({more} more differ)' if more else ''}; "
        "utils/fix_data_dir.sh keeps what all the tables have"
    )
