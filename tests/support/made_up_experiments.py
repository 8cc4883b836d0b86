"""Made-up runs on disk for tests of scoring: finished folds with posteriors, and their corpus."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import recall_score

from cfia import marker
from cfia.bin.report import main as report
from cfia.bin.score import main as score
from cfia.config import build
from cfia.experiment import PARTS, Experiment, read
from cfia.files import write_yaml
from cfia.kaldi.table import write_table
from cfia.naming import fold_and_seed
from cfia.posteriors import write_posteriors
from cfia.training.inputs import measure_folds, measure_part, speakers_shared
from cfia.training.tested import POSTERIORS, POSTERIORS_MARKER, posteriors_marked
from cfia.training.training import Training

CLASSES = ["ang", "hap", "neu", "sad"]
TRAINED = ("best.pt", "history.csv", "provenance.yaml")
# Of a protocol that has them.
OF_SOME = ("text_source", "asr_model", "tested_text", "refit", "only_folds")
SPEAKERS = [f"Spk{i}" for i in range(1, 7)]


def corpus(tmp: Path) -> dict[str, str]:
    """Reference of each utterance, six speakers of 30; writes data/all, and lists of three folds.

    A test may write its own tables and lists before.
    """
    rng = np.random.default_rng(1)
    refs = {f"{s}-{i:02d}": str(rng.choice(CLASSES)) for s in SPEAKERS for i in range(30)}
    write_tables(tmp / "data" / "all", refs)
    for k in (1, 2, 3):
        write_fold(tmp / "data" / "folds" / str(k), refs, SPEAKERS[2 * k - 2 : 2 * k])
    return refs


def write_tables(data: Path, refs: Mapping[str, str]) -> None:
    """utt2spk and utt2emo, unless they are there; the speaker is what an id begins with."""
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "utt2emo").exists():
        write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in refs})
        write_table(data / "utt2emo", refs)


def write_fold(directory: Path, utts: Iterable[str], tested: Collection[str]) -> None:
    """The lists of a fold that tests some speakers, unless they are there."""
    if not directory.exists():
        directory.mkdir(parents=True)
        test = [utt for utt in utts if utt.split("-")[0] in tested]
        rest = [utt for utt in utts if utt not in test]
        for part, names in (("train", rest[:-1]), ("valid", rest[-1:]), ("test", test)):
            (directory / part).write_text("".join(f"{utt}\n" for utt in names))


def write_experiment(
    directory: Path, data: Path, folds: Path, trained_in: Path | None = None, **settings: Any
) -> None:
    """The experiment.yaml of a made-up experiment; `settings` of its protocol or configuration."""
    protocol = {
        "cv": "session", "validation": "random20", "selection": "valid", "labels": "",
        "text_tags": "strip",
    }  # fmt: skip
    config = {"lr": 1e-4, "consistency": [0.5, 0.25, 0.125]}
    stated: dict[str, bool] = {}
    if "cv" in settings:
        stated = speakers_shared(settings["cv"], data, folds)
    for key, value in settings.items():
        (protocol if key in (*protocol, *OF_SOME) else config)[key] = value
    Experiment(
        directory=directory,
        system=directory.parent.name,
        scheme=directory.name,
        corpus="made_up",
        protocol={**protocol, **stated},
        run={"ngpu": 0, "num_threads": 1, "feature_cache": "auto"},
        classes=tuple(CLASSES),
        folds=measure_folds(folds, data),
        parts=dict.fromkeys(PARTS, measure_part(data, {})),
        trained_with=build(config),
        trained_in=trained_in,
    ).write()


def fold(
    directory: Path, tmp: Path, k: int, seed: int, skill: float, salt: int, text: Any = None
) -> None:
    """One trained and tested fold: speakers 2k - 1 and 2k of three folds; `text`: its encoder."""
    utts = {u: r for u, r in corpus(tmp).items() if u.split("-")[0] in SPEAKERS[2 * k - 2 : 2 * k]}
    rng = np.random.default_rng([k, seed, salt])
    logits = rng.normal(0, 1, (len(utts), 4))
    logits[range(len(utts)), [CLASSES.index(r) for r in utts.values()]] += skill
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    directory.mkdir(parents=True)
    write_posteriors(directory / "posteriors.tsv", CLASSES, list(utts), list(utts.values()), probs)
    made = {
        "command": "./run.sh --nj 2", "commit": "abc123+dirty",
        "started": f"2024-01-0{k}T00:00:00Z",
        "environment": {"python": "3.11.0", "torch": "2.13.0"},
        "audio": {"name": "whisper", "model": "/home/me/tiny.en", "dim": 80}, "text": text,
    }  # fmt: skip
    write_yaml(directory / "provenance.yaml", made)
    (directory / "best.pt").write_text(f"fold {k}, seed {seed}")


def untest(training: Path) -> None:
    """Remove the posteriors of a training, as if it had never been tested."""
    for name in (POSTERIORS_MARKER, POSTERIORS):
        (training / name).unlink()


def mark(directory: Path) -> None:
    """Mark all trainings of an experiment, and their posteriors, as made as they are now."""
    experiment = read(directory)
    for path in directory.glob("fold*_seed*"):
        fold, seed = fold_and_seed(path.name) or (0, 0)
        training = Training(experiment, fold, seed)
        files = [name for name in TRAINED if (path / name).exists()]
        marker.finish(path, *training.marked(), files=files)
        if (path / "posteriors.tsv").exists():
            marker.finish(
                path, *posteriors_marked(training), name=POSTERIORS_MARKER, files=[POSTERIORS]
            )


def histories(tmp: Path) -> None:
    """The history.csv of every fold, which only learning curves need."""
    head = (
        "epoch,lr,train_loss,train_ce,train_con,con_grad_ratio,valid_loss,valid_wa,valid_ua,"
        "selected"
    )
    rows = [
        f"{e},1e-4,{2 / e},1,0,0,{1 + 2 / e},50,{60 - 9 / e},{int(e == 4)}" for e in range(1, 9)
    ]
    for path in (tmp / "exp").glob("*/*/fold*"):
        (path / "history.csv").write_text("\n".join([head, *rows]) + "\n")
    for path in (tmp / "exp").glob("*/*/"):
        mark(path)


def run(
    tmp: Path,
    system: str = "net_fbank",
    scheme: str = "session",
    skill: float = 1.5,
    seeds: Iterable[int] = (1,),
    data: Path | None = None,
    folds: Iterable[int] = (1, 2, 3),
    text: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """A finished experiment of three folds, or some; `settings` as for `write_experiment`."""
    directory = tmp / "exp" / system / scheme
    refs = corpus(tmp)
    if data:
        write_tables(data, refs)
    write_experiment(directory, data or tmp / "data" / "all", tmp / "data" / "folds", **settings)
    salt = len(system)
    for seed in seeds:
        for k in folds:
            fold(directory / f"fold{k}_seed{seed}", tmp, k, seed, skill, salt, text)
    mark(directory)
    return directory


def run_fold(tmp: Path) -> Path:
    """A finished experiment of one fold, whose corpus is divided as it was published."""
    directory, folds = tmp / "exp" / "net_fbank" / "test_split", tmp / "data" / "test_split"
    write_fold(folds / "1", corpus(tmp), SPEAKERS[:2])
    write_experiment(directory, tmp / "data" / "all", folds, cv="test_split")
    fold(directory / "fold1_seed1", tmp, 1, 1, 1.0, 0)
    mark(directory)
    return directory


def stages(tmp: Path) -> None:
    score(["--expdir", str(tmp / "exp")])
    report(["--expdir", str(tmp / "exp")])


def read_pairs(path: Path, without: str = "") -> tuple[list[str], list[str]]:
    """References and hypotheses of a posteriors.tsv, without a speaker, by csv alone."""
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    rows = [row for row in rows if row["utt"].split("-")[0] != without]
    hyps = [max(CLASSES, key=lambda c: float(row[c])) for row in rows]
    return [row["ref"] for row in rows], hyps


def pooled_recall(directory: Path, seed: int, without: str = "") -> float:
    """UA of all folds of a seed of an experiment together, without a speaker, by scikit-learn."""
    refs, hyps = [], []
    for path in sorted(directory.glob(f"fold*_seed{seed}/posteriors.tsv")):
        for ref, hyp in zip(*read_pairs(path, without), strict=True):
            refs.append(ref)
            hyps.append(hyp)
    return 100 * float(recall_score(refs, hyps, average="macro"))


def recall(path: Path) -> float:
    """UA of a posteriors.tsv in percent, by scikit-learn."""
    return 100 * float(recall_score(*read_pairs(path), average="macro"))
