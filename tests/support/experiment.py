"""A small experiment on disk for tests: features, labels and one fold, all drawn from a seed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np

from cfia import marker
from cfia.bin import posteriors, train
from cfia.config import load
from cfia.files import digest, write_yaml
from cfia.frontend import Frontend
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import write_table
from cfia.naming import fold_and_seed, folds_scheme
from cfia.options import EVERY
from cfia.study.planned import PlannedDump, PlannedExperiment
from cfia.study.tune_file import trials
from cfia.training.folds import make_scheme
from cfia.training.record import record

SYSTEMS = Path(__file__).resolve().parents[2] / "conf" / "systems"
TUNE = SYSTEMS.parent / "tune.yaml"
CLASSES = ("ang", "hap", "neu", "sad")
DIMS = {"audio": 6, "text": 5}


def make(
    root: Path, n: int = 48, seed: int = 0, dims: Mapping[str, int] = DIMS, sessions: int = 2
) -> Path:
    """Write data/all, data/folds/session (sessions of two speakers), dump/{audio,text}.

    The dumps are of the names and widths of `dims`.
    """
    rng = np.random.default_rng(seed)
    utts = sorted(f"Ses{i // 2 % sessions}{'FM'[i % 2]}-{i:03d}" for i in range(n))
    emotions = {utt: CLASSES[i % 4] for i, utt in enumerate(utts)}
    tables = {
        "wav.scp": {utt: f"/none/{utt}.wav" for utt in utts},
        "text": {utt: f"words of {utt}" for utt in utts},
        "utt2spk": {utt: utt.split("-")[0] for utt in utts},
        "utt2session": {utt: utt[:4] for utt in utts},
        "utt2dur": dict.fromkeys(utts, "1.0"),
        "utt2emo": emotions,
    }
    data = root / "data" / "all"
    data.mkdir(parents=True)
    for name, table in tables.items():
        write_table(data / name, table)
    make_scheme(DataDir.load(data), root / "data/folds/session", "session", "random20")
    for name, dim in dims.items():
        write_dump(root / "dump" / name, emotions, dim, rng)
    return root


def write_dump(
    directory: Path, emotions: dict[str, str], dim: int, rng: np.random.Generator, encoder: str = ""
) -> None:
    """Features whose mean tells the class, with noise of about the same size.

    They are of the encoder by the directory's name, if none is named.
    """
    directory.mkdir(parents=True)
    centres = rng.normal(size=(len(CLASSES), dim))
    features = {
        utt: (centres[CLASSES.index(emo)] + rng.normal(size=(rng.integers(2, 20), dim))).astype(
            np.float32
        )
        for utt, emo in emotions.items()
    }
    kaldiio.save_ark(str(directory / "raw.1.ark"), features, scp=str(directory / "feats.scp"))
    frontend(encoder or directory.name, dim).write(directory)
    marker.finish(directory, {}, {"seed": "0"})


def mark_again(directory: Path) -> None:
    """Mark a finished directory, some of whose files a test has changed, as made as it is now."""
    recorded = marker.read(directory)
    assert recorded is not None
    marker.finish(directory, recorded.options, recorded.inputs, files=recorded.files)


def seal(path: Path, values: Mapping[str, Any]) -> None:
    """Write an experiment.yaml that bears the digest of these values, whatever they are."""
    values = {key: value for key, value in values.items() if key != "sha256"}
    write_yaml(path, {**values, "sha256": digest(values)})


def frontend(name: str, dim: int, **more: Any) -> Frontend:
    """What made up features: an encoder without weights."""
    kind = "text" if name in ("text", "minilm", "bert") else "audio"
    values = {"kind": kind, "model": None, "revision": None, "layer": None, "frame_shift": None,
              "sample_rate": None, "weights": None}  # fmt: skip
    return Frontend(**{**values, "name": name, "dim": dim, **more})


SMALL = "hidden=8 channels=4 features=3 batch_size=8 lr=5e-3 dropout=0.2 normalisation=global"


def plan(
    root: Path,
    directory: Path,
    train_args: str = f"{SMALL} epochs=6",
    *,
    force: bool = False,
    config: Path = SYSTEMS / "cfia_net.yaml",
    dumps: Sequence[str] = ("audio", "text"),
    tune_file: str | Path = TUNE,
    **options: str,
) -> Path:
    """Write the experiment.yaml of `directory`, as stage 5 does; return the training of fold 1.

    Args:
        root: where `make` has written data and dumps.
        directory: <system>/<scheme> of an experiment.
        options: of run.sh, where they differ from its defaults.
        tune_file: says what --tune tries.
    """  # fmt: skip
    values = {option.name: option.default for option in EVERY} | options
    files, overrides = (config,), tuple(train_args.split())
    planned = PlannedExperiment(
        directory=directory,
        files=files,
        overrides=overrides,
        options=values,
        data=root / "data" / "all",
        folds=root / "data" / "folds" / folds_scheme(values["cv"], values["validation"]),
        dumps=tuple(
            PlannedDump(name, Frontend.read(path).name, "", "", path)
            for name in dumps
            for path in [root / "dump" / name]
        ),
        seeds=(1,),
        trials=trials(Path(tune_file), int(values["tune"]), load(files, overrides)),
    )
    record(planned.resolve("toy"), force=force)
    return directory / "fold1_seed1"


def command(training: Path) -> list[str]:
    """The arguments of cfia.bin.train and cfia.bin.posteriors for a training's directory."""
    fold, seed = fold_and_seed(training.name) or (0, 0)
    return [str(training.parent), "--fold", str(fold), "--seed", str(seed)]


def fitted(training: Path) -> Path:
    """Train it and write its posteriors, by the programs; give its directory."""
    train.main(command(training))
    posteriors.main(command(training))
    return training


def history(directory: Path) -> list[dict[str, float]]:
    """The rows of a training's history.csv."""
    with open(directory / "history.csv", newline="") as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]
