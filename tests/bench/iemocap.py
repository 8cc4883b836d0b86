"""Random data of IEMOCAP's size: lengths, archives of features, a data directory with its folds."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import kaldiio
import numpy as np
from numpy.typing import NDArray

from cfia import marker
from cfia.frontend import Frontend
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import write_table
from cfia.training.folds import make_scheme

# The four-class set: its utterances, and their durations in seconds.
UTTERANCES = 5531
MEAN, MEDIAN, SHORTEST, LONGEST = 4.5, 3.6, 0.6, 34.0
PIECES = 18  # of a transcript, on average, [CLS] and [SEP] not counted
FRAME_RATE = 50  # of emotion2vec
MOST_FRAMES = 512
DIM = 768
CLASSES = ("ang", "hap", "neu", "sad")


def durations(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Log-normal durations in seconds, clipped to the corpus's range."""
    spread = np.sqrt(2 * np.log(MEAN / MEDIAN))
    found: NDArray[np.float64] = np.clip(
        rng.lognormal(np.log(MEDIAN), spread, n), SHORTEST, LONGEST
    )
    return found


def lengths(n: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Frames of audio, cut as the network cuts them, and pieces of text; long audio has more."""
    seconds = durations(n, np.random.default_rng(seed))
    pieces = np.maximum(1, np.rint(seconds * PIECES / MEAN)) + 2
    frames = np.minimum(seconds * FRAME_RATE, MOST_FRAMES)
    return {"audio": frames.astype(np.int64), "text": pieces.astype(np.int64)}


def write_dumps(root: Path, utts: list[str], seed: int) -> dict[str, Path]:
    """Write dump/{audio,text}: one archive each, of random frames of width `DIM`."""
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((8 * MOST_FRAMES, DIM), dtype=np.float32)
    dumps = {}
    for name, counts in lengths(len(utts), seed).items():
        directory = dumps[name] = root / "dump" / name
        directory.mkdir(parents=True)
        starts = rng.integers(0, len(block) - counts.max(), len(utts))
        with kaldiio.WriteHelper(f"ark,scp:{directory}/raw.1.ark,{directory}/feats.scp") as writer:
            for utt, start, count in zip(utts, starts, counts, strict=True):
                writer(utt, block[start : start + count])
        shift = 1 / FRAME_RATE if name == "audio" else None
        Frontend(name, name, None, None, None, DIM, shift, None, None).write(directory)
        marker.finish(directory, {}, {"seed": str(seed)})
    return dumps


def write(root: Path, scale: float = 1) -> None:
    """Write dump/{audio,text} and data/ of the whole corpus, where they are not there yet."""
    if (root / "data" / "folds").exists():
        return
    utts = utterances(round(UTTERANCES * scale))
    write_dumps(root, list(utts), seed=0)
    write_data(root, utts)


@contextlib.contextmanager
def written(place: Path | None, scale: float = 1) -> Iterator[Path]:
    """A directory with the corpus: a temporary one below `place`, or `place` if it has it."""
    if place is not None and (place / "data" / "folds").exists():
        yield place
        return
    with tempfile.TemporaryDirectory(dir=place) as name:
        write(Path(name), scale)
        yield Path(name)


def write_data(root: Path, utts: Mapping[str, str]) -> Path:
    """Write data/all and the folds of both schemes; `utts` maps utterances to speakers."""
    data = root / "data" / "all"
    data.mkdir(parents=True)
    tables = {
        "wav.scp": {utt: f"/none/{utt}.wav" for utt in utts},
        "text": {utt: f"words of {utt}" for utt in utts},
        "utt2spk": dict(utts),
        "utt2session": {utt: speaker[:-1] for utt, speaker in utts.items()},
        "utt2dur": dict.fromkeys(utts, "1.0"),
        "utt2emo": {utt: CLASSES[i % len(CLASSES)] for i, utt in enumerate(utts)},
    }
    for name, table in tables.items():
        write_table(data / name, table)
    for scheme in ("session", "speaker"):
        make_scheme(DataDir.load(data), root / "data" / "folds" / scheme, scheme, "random20")
    return data


def utterances(n: int) -> dict[str, str]:
    """Sorted ids of utterances, shared out evenly to the ten speakers, and their speakers."""
    speakers = [f"Ses0{session}{sex}" for session in range(1, 6) for sex in "FM"]
    return dict(sorted((f"{speakers[i % 10]}-{i:05d}", speakers[i % 10]) for i in range(n)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a corpus of IEMOCAP's size, of 4 GB.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="of the corpus, to try it quickly")
    arguments = parser.parse_args()
    write(arguments.directory, arguments.scale)
