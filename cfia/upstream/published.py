"""Import published features as a dump and a data directory, for audio-only systems.

The authors of emotion2vec publish three files for IEMOCAP's 5531 utterances:

    train.npy      all frames, stacked: (frames, 768)
    train.lengths  frames of each utterance, one number a line
    train.emo      `<utterance> TAB <label>`, in the same order

Only the recipe can read speaker and session from the utterances' names; its function for that is
an argument.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfia import marker
from cfia.corpus.tables import tables
from cfia.corpus.transcripts import NO_WORDS, transcripts
from cfia.corpus.utterances import Utterance, differences, select
from cfia.errors import UserError
from cfia.files import sha256, stat_digest
from cfia.frontend import Frontend
from cfia.kaldi.data_dir import write_data_dir
from cfia.kaldi.table import read_lines, read_table
from cfia.upstream import imported
from cfia.upstream.import_features import write_dump

LABELS = "4"  # the label set that the features are published with
WORDS = {"angry": "ang", "happy": "hap", "neutral": "neu", "sad": "sad"}
FILES = ("train.npy", "train.lengths", "train.emo")
NAME = "emotion2vec"
SOURCE = "features published by its authors"
FRAME_SHIFT = 0.02  # seconds

log = logging.getLogger(__name__)

Describe = Callable[[str, str, Path, int], Utterance]
"""Makes an `Utterance` of its name and label, and of the file and line that they are from."""


@dataclass(frozen=True)
class Published:
    """The three files, checked against each other.

    Attributes:
        frames: (frames, dim), memory-mapped.
        rows: utterance id -> its first row and the one after its last.
        selected: the utterances and their classes, in order of their id.
    """

    directory: Path
    frames: NDArray[Any]
    rows: dict[str, tuple[int, int]]
    selected: Sequence[tuple[Utterance, str]]

    def inputs(self) -> dict[str, str]:
        """Give the digests for a marker; for the frames it is of the file's name, size and time."""
        npy, *others = [self.directory / name for name in FILES]
        digests = {path.name: sha256(path) for path in others}
        return {npy.name: stat_digest([npy], self.directory), **digests}


def read(directory: Path, describe: Describe, conf: Path, dim: int) -> Published:
    """Read the published files and compare them with each other and with what is expected.

    Args:
        conf: the recipe's conf/, with labels/4.yaml and corpus.yaml.
        dim: the width that a frame must have.

    Raises:
        UserError: a file is missing or malformed, they do not fit together, or utterances and
            labels are not those that corpus.yaml expects.
    """
    for name in FILES:
        if not (directory / name).is_file():
            raise UserError(
                f"no such file {directory / name}; give the directory with the published "
                f"{', '.join(FILES)}"
            )
    frames = _frames(directory / "train.npy", dim)
    lengths = _lengths(directory / "train.lengths")
    utterances = _utterances(directory / "train.emo", describe)
    if len(lengths) != len(utterances):
        raise UserError(
            f"{directory}: train.lengths has {len(lengths)} lines and train.emo has "
            f"{len(utterances)}; get all files again from one place"
        )
    ends = np.cumsum(lengths)
    if ends[-1] != len(frames):
        raise UserError(
            f"{directory}: the numbers of train.lengths add up to {ends[-1]} and train.npy has "
            f"{len(frames)} frames; get all files again from one place"
        )
    selected = select(utterances, conf / "labels" / f"{LABELS}.yaml")
    different = differences(selected, conf / "corpus.yaml", LABELS)
    if different:
        raise UserError(
            f"{directory / 'train.emo'} does not hold the utterances and labels of the corpus: "
            f"{'; '.join(different)}; get the file again"
        )
    rows = {
        u.id: (int(end) - n, int(end)) for u, n, end in zip(utterances, lengths, ends, strict=True)
    }
    return Published(directory, frames, rows, selected)


def _frames(path: Path, dim: int) -> NDArray[Any]:
    try:
        frames: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a whole array ({reason}); get it again") from None
    if frames.ndim != 2 or frames.shape[1] != dim or frames.dtype.kind != "f":
        raise UserError(
            f"{path} holds {frames.dtype} of the shape {frames.shape}, not frames of {dim} "
            "floating-point numbers; get it again"
        )
    return frames


def _lengths(path: Path) -> list[int]:
    lengths = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip().isdecimal() or int(line) == 0:
            raise UserError(f"{path}, line {number}: {line!r} is no number of frames; get it again")
        lengths.append(int(line))
    return lengths


def _utterances(path: Path, describe: Describe) -> list[Utterance]:
    utterances = []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, label = line.strip().partition("\t")
        label = WORDS.get(label.strip(), label.strip())
        if label not in WORDS.values():
            raise UserError(
                f"{path}, line {number}: {line!r} is not an utterance, a tab and one of "
                f"{', '.join(WORDS.values())}; get it again"
            )
        utterances.append(describe(name.strip(), label, path, number))
    return utterances


def make_dump(published: Published, directory: Path, *, force: bool) -> None:
    """Write the frames as a finished dump that stage 5 trains from; whole or not at all.

    One utterance at a time is in memory.

    Raises:
        UserError: the directory was made otherwise and `force` is false, or a frame is not finite.
    """
    options = {"audio_upstream": NAME, "compression_method": 0, imported.OPTION: SOURCE}
    inputs = published.inputs()
    if marker.check(directory, options, inputs, force=force) is marker.State.DONE:
        log.info("%s: already made, skipping", directory)
        return
    matrices = (
        (utt, published.frames[start:end]) for utt, (start, end) in sorted(published.rows.items())
    )
    write_dump(directory, matrices, lambda dim, _: _frontend(published, dim), options, inputs)


def _frontend(published: Published, dim: int) -> Frontend:
    return Frontend(
        kind="audio",
        name=NAME,
        model=f"emotion2vec/emotion2vec_base ({SOURCE})",
        revision=None,
        layer=None,
        dim=dim,
        frame_shift=FRAME_SHIFT,
        sample_rate=16000,
        # Nobody says which weights made them: this names the features.
        weights=f"train.npy {sha256(published.directory / FILES[0])}",
        exposure="audio",
    )


def make_data_dir(published: Published, path: Path, text_file: str, *, force: bool) -> None:
    """Write a data directory without audio, or compare with that of stage 1 if it is there.

    Durations are those of the frames, 20 ms each. Without `text_file` all texts are `...`.

    Raises:
        UserError: the directory is there and differs, or the text file lacks an utterance.
    """
    there = marker.read(path)
    if there is not None and "corpus_dir" in there.options:  # stage 1 prepared a corpus there
        marker.verify(path, "stage 1")
        labels = {u.id: label for u, label in published.selected}
        if read_table(path / "utt2emo") != labels:
            raise UserError(
                f"{path}, which stage 1 made, has other utterances or labels than the features; "
                "choose another --data_dir"
            )
        log.info("%s: made by stage 1 and of the same utterances and labels, kept", path)
        return
    utterances = [u for u, _ in published.selected]
    if not text_file:
        utterances = [replace(u, transcript=NO_WORDS) for u in utterances]
    texts = transcripts(utterances, text_file, strip=True)
    options = {"skip_bad": False, "allow_partial": False, "labels": LABELS, "text_tags": "strip"}
    inputs = published.inputs() | ({"text_file": sha256(text_file)} if text_file else {})
    if marker.check(path, options, inputs, force=force) is marker.State.DONE:
        log.info("%s: already made, skipping", path)
        return
    seconds = {u: FRAME_SHIFT * (end - start) for u, (start, end) in published.rows.items()}
    rows = tables(published.selected, texts, seconds, {})
    write_data_dir(path, rows, options, inputs, wav=False)
    log.info("%s: %d utterances, without audio", path, len(utterances))
    if not text_file:
        log.warning("every text in %s is %s: train audio-only systems from it", path, NO_WORDS)
