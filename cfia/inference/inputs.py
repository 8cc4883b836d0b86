"""What is predicted: audio files, folders, wav.scp and lists, and the texts that go with them."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cfia.errors import UserError
from cfia.kaldi import audio
from cfia.kaldi.stream import InMemory
from cfia.kaldi.table import read_table

LIST = "-"  # stands for a list on standard input
_SCP = ".scp"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """One recording to be judged.

    Attributes:
        name: what it is called in answers: its path as it was given, or its id in wav.scp.
        key: its name in a Kaldi `text`: the stem of its file, or its id.
        source: a file; a command of wav.scp, as a string; a waveform; None where there is text
            alone.
        text: its transcript; None where there is none.
        picture: where its picture goes, without an ending; None where none is drawn.
    """

    name: str
    key: str
    source: Path | str | InMemory | None = None
    text: str | None = None
    picture: Path | None = None


def recording_of(
    sound: str | Path | npt.ArrayLike | None, text: str | None, rate: int | None
) -> Recording:
    """Make a recording of a file, of samples with their rate in Hz, or of text alone.

    Raises:
        UserError: samples without a rate, or of a shape or type that is none of audio.
    """
    if sound is None:
        return Recording("the text", "", None, text)
    if isinstance(sound, str | Path):
        return Recording(str(sound), Path(sound).stem, Path(sound), text)
    samples = np.asarray(sound)
    if rate is None:
        raise UserError("samples need their sampling rate; give rate=16000, say")
    upright = samples.ndim == 1 or (samples.ndim == 2 and samples.shape[1] <= len(samples))
    if not upright or not samples.size:
        raise UserError(
            f"samples of the shape {samples.shape} are no audio; give (samples,) or (samples, "
            "channels)"
        )
    if np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples / (np.iinfo(samples.dtype).max + 1)
    if not np.issubdtype(samples.dtype, np.floating):
        raise UserError(
            f"samples of the type {samples.dtype} are no audio; give floating-point numbers from "
            "-1 to 1"
        )
    return Recording("the array", "", InMemory(samples.astype(np.float32), rate), text)


def is_single(given: str) -> bool:
    """Whether an input stands for one recording."""
    return given != LIST and not given.endswith(_SCP) and not Path(given).is_dir()


def collect(given: Iterable[str], lines: BinaryIO, *, allow_pipes: bool) -> list[Recording]:
    """List the recordings of the inputs, in their order.

    Args:
        given: audio files; folders, of which all audio files are taken, sorted by their paths;
            tables that end in `.scp`; `-` for a list of files.
        lines: where the list is read from, a path on each line.

    Raises:
        UserError: a folder or a list has no audio; a table is malformed, or runs a command though
            `allow_pipes` is false.
    """
    found: list[Recording] = []
    for one in given:
        if one == LIST:
            found += _listed(lines)
        elif one.endswith(_SCP):
            found += _in_table(one, allow_pipes=allow_pipes)
        elif Path(one).is_dir():
            found += [_file(str(path)) for path in _in_folder(Path(one))]
        else:
            found.append(_file(one))
    return found


def _file(name: str) -> Recording:
    return Recording(name, Path(name).stem, Path(name))


def _listed(lines: BinaryIO) -> list[Recording]:
    names = [os.fsdecode(line.rstrip(b"\r\n")) for line in lines]
    found = [_file(name) for name in names if name.strip()]
    if not found:
        raise UserError(
            "the list on standard input is empty; give the path of an audio file a line"
        )
    return found


def _in_table(table: str, *, allow_pipes: bool) -> list[Recording]:
    found = []
    for key, spec in read_table(table).items():
        if not audio.is_pipe(spec):
            found.append(Recording(key, key, Path(spec)))
        elif allow_pipes:
            found.append(Recording(key, key, spec))
        else:
            raise UserError(
                f"{table}: {key} is the output of the command `{spec}`; give --allow_pipes to run "
                "the commands of this file, if you trust it"
            )
    return found


def _in_folder(folder: Path) -> list[Path]:
    paths = sorted(_walk(folder), key=lambda path: path.parts)
    if not paths:
        scp = folder / "wav.scp"
        way_out = f"name {scp}" if scp.is_file() else "name another"
        endings = " ".join(sorted(audio.ENDINGS))
        raise UserError(f"{folder} has no audio (files that end in {endings}); {way_out}")
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    """Find the audio files of a folder; what is hidden is left out, links to folders followed."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place, name)
            known = path.suffix.lower() in audio.ENDINGS and not name.startswith(".")
            if known and path.is_file():
                yield path


def _raise(error: OSError) -> None:
    raise error


def with_texts(recordings: Sequence[Recording], text_file: Path) -> list[Recording]:
    """Give each recording its transcript of a Kaldi `text`: of its id, or the stem of its file.

    Those that the file does not name get none.

    Raises:
        UserError: the file is missing or malformed.
    """
    table = read_table(text_file, allow_empty=True)
    named = Counter(key for key, _ in {(r.key, r.source) for r in recordings})
    if shared := [key for key, n in named.items() if n > 1 and key in table]:
        log.warning(
            "%s: several recordings have the name %s, and get its text", text_file, min(shared)
        )
    return [dataclasses.replace(r, text=table.get(r.key)) for r in recordings]


def texts_alone(text_file: Path) -> list[Recording]:
    """List the transcripts of a Kaldi `text` as recordings without audio."""
    table = read_table(text_file, allow_empty=True)
    return [Recording(key, key, None, text) for key, text in table.items()]


def with_pictures(recordings: Sequence[Recording], folder: Path) -> list[Recording]:
    """Give each recording the name of its picture, of the stem of its file, and none twice."""
    taken: set[str] = set()
    tried: Counter[str] = Counter()
    named = []
    for recording in recordings:
        stem = name = recording.key.replace("/", "_") or "recording"
        while name in taken:
            tried[stem] += 1
            name = f"{stem}-{tried[stem] + 1}"
        taken.add(name)
        named.append(dataclasses.replace(recording, picture=folder / name))
    return named
