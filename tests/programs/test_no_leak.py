"""With labels shuffled before training, what is recognised is chance: no test label leaks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cfia.bin import posteriors, score, train
from cfia.files import read_json
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.training.folds import make_scheme
from tests.support.experiment import command, make, plan

CHANCE = 25.0
FOLDS = 5


def pooled(root: Path) -> tuple[float, float, float]:
    """UA over all folds and its interval, of trainings on the experiment under `root`."""
    run = root / "exp" / "cfia_net_a_t" / "session"
    quick = "hidden=8 channels=4 features=3 batch_size=32 lr=3e-2 normalisation=global epochs=6"
    plan(root, run, quick)
    for fold in range(1, FOLDS + 1):
        arguments = command(run / f"fold{fold}_seed1")
        train.main(arguments)
        posteriors.main(arguments)
    score.main(["--expdir", str(root / "exp")])
    scores = read_json(run / "scores.json")["pooled"]
    low, high = scores["ci95"]["ua"]
    return scores["ua"], low, high


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Two hundred utterances of ten speakers, whose features tell the class."""
    return make(tmp_path, n=200, sessions=FOLDS)


def shuffle(data: Path, seed: int) -> None:
    """Shuffle the labels within each session.

    Over all of the corpus, a class that came out often in the training part would be rare in what
    is left for the test, and a perfectly honest classifier would end up below chance.
    """
    labels, sessions = read_table(data / "utt2emo"), read_table(data / "utt2session")
    draw = random.Random(seed)
    for session in sorted(set(sessions.values())):
        utts = [utt for utt in labels if sessions[utt] == session]
        values = [labels[utt] for utt in utts]
        draw.shuffle(values)
        labels.update(zip(utts, values, strict=True))
    write_table(data / "utt2emo", labels)


def test_shuffled_labels_are_recognised_at_chance(experiment: Path) -> None:
    data = experiment / "data" / "all"
    shuffle(data, seed=1)
    folds = experiment / "data" / "folds" / "session"
    make_scheme(DataDir.load(data), folds, "session", "random20", force=True)
    ua, low, high = pooled(experiment)
    assert low <= CHANCE <= high
    assert abs(ua - CHANCE) < 10


def test_the_same_features_with_true_labels_are_not(experiment: Path) -> None:
    ua, low, _ = pooled(experiment)
    assert ua > 60
    assert low > CHANCE + 20
