"""What is read to make features and transcripts: the tables of a data directory, and its audio."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from cfia.corpus.transcripts import NO_WORDS
from cfia.errors import UserError
from cfia.files import digest, sha256
from cfia.kaldi import audio
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table

# The tables that a data directory must have for the features of a modality. One that was made for
# imported features has no wav.scp: its audio features are there, and stage 3 is left out.
NEEDED = {"audio": ("wav.scp",), "text": ("text",)}
# What else is read of it; other tables say nothing of features.
FURTHER = {"audio": ("segments", "utt2dur"), "text": ()}
TEXT = "text"  # the table of a data directory's own transcripts


def read_data(directory: Path, modality: str, text: str = TEXT) -> DataDir:
    """Read a data directory for the features of a modality.

    Args:
        text: the file of the transcripts, from the directory. A recogniser's may lack utterances,
            whose audio it could not read; where it heard nothing the text is `...`, for an encoder
            must have something.

    Raises:
        UserError: as `DataDir.load`; or the transcripts name an utterance that is not there.
    """
    if text == TEXT:
        needed = NEEDED[modality]
        return DataDir.load(directory, needed, only=(*needed, *FURTHER[modality]))
    data = DataDir.load(directory, (), only=())
    recognised = read_table(directory / text, allow_empty=True)
    if unknown := recognised.keys() - data.utt2spk.keys():
        raise UserError(
            f"{directory / text} has {min(unknown)}, which {directory}/utt2spk lacks; run stage 4 "
            "again with --force true"
        )
    return replace(data, text={utt: words or NO_WORDS for utt, words in recognised.items()})


def audio_inputs(data: DataDir, *, skip_bad: bool) -> dict[str, str]:
    """Digest the tables that say which audio is read, and the audio, by sizes and times.

    Raises:
        UserError: an audio file is missing and bad audio is not skipped, or all are.
    """
    paths = [data.path / name for name in ("wav.scp", "utt2dur", "segments")]
    inputs = {path.name: sha256(path) for path in paths if path.exists()}
    return inputs | {"audio": _audio_digest(data, skip_bad=skip_bad)}


def audio_stats(data: DataDir) -> dict[str, list[int]]:
    """Map recordings to the size in bytes and time in ns of their file, if it is one and there."""
    stats = {}
    for recording, file in _audio_files(data).items():
        with contextlib.suppress(OSError, ValueError):  # as of a name that no disk takes
            status = os.stat(file)  # noqa: PTH116 (a Path of each of a million takes longer)
            stats[recording] = [status.st_size, status.st_mtime_ns]
    return stats


def _audio_files(data: DataDir) -> dict[str, str]:
    """Recording -> its file, there or not, without those that come from a pipe."""
    return {r: spec for r, spec in data.wav_scp.items() if not audio.is_pipe(spec)}


def _audio_digest(data: DataDir, *, skip_bad: bool) -> str:
    files, stats = _audio_files(data), audio_stats(data)
    missing = [Path(file) for recording, file in files.items() if recording not in stats]
    if missing and not stats:
        raise UserError(
            f"none of the audio files of {data.path}/wav.scp is there, such as {missing[0]}; mount "
            "their disk, or run stage 1 with --force true and the --corpus_dir that they are in now"
        )
    if missing and not skip_bad:
        raise UserError(
            f"no such audio file {missing[0]}; correct {data.path}/wav.scp or the corpus, or leave "
            "it out with --skip_bad true"
        )
    return digest(stats)
