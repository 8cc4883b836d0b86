"""Rows of a corpus that is a Kaldi data directory already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cfia.corpus.columns import UNKNOWN
from cfia.corpus.rows import Row
from cfia.errors import UserError
from cfia.kaldi.audio import is_pipe
from cfia.kaldi.data_dir import parse_segment
from cfia.kaldi.table import read_table

_NAMES = {
    "wav.scp": "audio", "utt2spk": "speaker", "utt2emo": "label", "text": "text",
    "segments": "segments",
}  # fmt: skip
# What follows from others, or from the audio.
_NOT_READ = {"utt2dur", "utt2num_frames", "utt2uniq", "spk2utt"}


def read_data_dir(root: Path) -> Iterator[Row]:
    """Give a row for each utterance, whose fields are what its tables say.

    `name` is the utterance's id, `audio speaker label text` are of wav.scp, utt2spk, utt2emo and
    text, `start end` of segments; of utt2<column> and spk2<column> the field is the column.

    Raises:
        UserError: it is no data directory, a table is malformed or lacks an utterance, or a line of
            wav.scp is a command.
    """
    speakers = _table(root / "utt2spk")
    tables = {
        path: _table(path)
        for path in sorted(root.iterdir())
        if (path.name in _NAMES or path.name.startswith(("utt2", "spk2")))
        and path.name not in _NOT_READ
    }
    tables.setdefault(root / "wav.scp", {})
    for line, (utterance, speaker) in enumerate(speakers.items(), start=1):
        row = Row({}, str(root / "utt2spk"), line)
        fields = {"name": utterance}
        for path, table in tables.items():
            if path.name not in ("wav.scp", "segments"):
                key = speaker if path.name.startswith("spk2") else utterance
                fields[_field(path.name)] = _value(path, table, key)
        # An utterance that is its own speaker has none that is known.
        fields["speaker"] = UNKNOWN if speaker == utterance else speaker
        recording = utterance
        if root / "segments" in tables:
            value = _value(root / "segments", tables[root / "segments"], utterance)
            recording, start, end = parse_segment(root, utterance, value)
            fields |= {"start": str(start), "end": "" if end == -1 else str(end)}
        row.fields = fields
        fields["audio"] = _audio(root / "wav.scp", tables[root / "wav.scp"], recording)
        yield row


def _field(name: str) -> str:
    return _NAMES.get(name, name[4:])


def _table(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UserError(f"{path.parent} is no Kaldi data directory, as it has no {path.name}")
    return read_table(path)


def _value(path: Path, table: dict[str, str], key: str) -> str:
    if key not in table:
        raise UserError(f"{path} lacks {key}; add it, or run utils/fix_data_dir.sh there")
    return table[key]


def _audio(path: Path, table: dict[str, str], recording: str) -> str:
    value = _value(path, table, recording)
    if is_pipe(value):
        raise UserError(
            f"{path}: {recording} is a command, of which no page can be made; use the directory "
            "itself as data/all, and begin at stage 2"
        )
    return value
