"""A small experiment on disk for tests: features, labels and one fold, all drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import kaldiio
import numpy as np

from cfia import marker
from cfia.config import write_yaml
from cfia.kaldi.table import write_table

CLASSES = ("ang", "hap", "neu", "sad")
DIMS = {"audio": 6, "text": 5}


def make(root: Path, n: int = 48, seed: int = 0) -> Path:
    """Write data/all, data/folds/session/1 and dump/{audio,text}; 2/3 train, the rest shared."""
    rng = np.random.default_rng(seed)
    utts = [f"S{i % 4}-{i:03d}" for i in range(n)]
    utts.sort()
    emotions = {utt: CLASSES[i % 4] for i, utt in enumerate(utts)}
    (root / "data" / "all").mkdir(parents=True)
    write_table(root / "data" / "all" / "utt2emo", emotions)
    write_table(root / "data" / "all" / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    folds = root / "data" / "folds" / "session" / "1"
    folds.mkdir(parents=True)
    parts = {"train": utts[: 2 * n // 3], "valid": utts[2 * n // 3 : 5 * n // 6]}
    parts["test"] = utts[5 * n // 6 :]
    for part, members in parts.items():
        (folds / part).write_text("".join(f"{utt}\n" for utt in members))
    for name, dim in DIMS.items():
        write_dump(root / "dump" / name, emotions, dim, rng)
    return root


def write_dump(
    directory: Path, emotions: dict[str, str], dim: int, rng: np.random.Generator
) -> None:
    """Features whose mean tells the class, with noise of about the same size."""
    directory.mkdir(parents=True)
    centres = rng.normal(size=(len(CLASSES), dim))
    features = {
        utt: (centres[CLASSES.index(emo)] + rng.normal(size=(rng.integers(2, 20), dim))).astype(
            np.float32
        )
        for utt, emo in emotions.items()
    }
    kaldiio.save_ark(
        str(directory / "raw.1.ark"), features, scp=str(directory / "feats.scp")
    )
    write_yaml(directory / "frontend.yaml", {"name": directory.name, "dim": dim})
    marker.finish(directory, {}, {"seed": "0"})


def train_command(root: Path, directory: Path, *arguments: str) -> list[str]:
    """Arguments of cfia.bin.train for the experiment, small enough for a test."""
    small = "hidden=8 channels=4 features=3 batch_size=8 lr=5e-3 dropout=0.2 normalisation=global"
    conf = Path(__file__).resolve().parents[2] / "conf" / "cfia_net.yaml"
    return [
        "--config", str(conf), "--train_args", f"{small} epochs=6",
        "--data", str(root / "data" / "all"), "--folds", str(root / "data" / "folds" / "session"),
        "--fold", "1", "--seed", "1", "--system", "cfia_net_a_t", "--scheme", "session",
        "--cv", "session", "--validation", "random20", "--labels", "4", "--corpus", "toy",
        "--audio_dump", str(root / "dump" / "audio"), "--text_dump", str(root / "dump" / "text"),
        *arguments, str(directory),
    ]  # fmt: skip
