"""The final network, of all utterances: what it trains on and for how long, and that it resumes."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cfia.bin import experiments, posteriors, train
from cfia.errors import UserError
from cfia.experiment import Part, read
from cfia.kaldi.table import read_table
from cfia.training import checkpoint
from cfia.training.dataset import load
from cfia.training.final import config as final_config
from cfia.training.trainer import Trainer, TrainerInputs
from cfia.training.training import Training
from tests.support.experiment import command, history, make, plan
from tests.support.killed import killed_at_checkpoint

ARGS = "hidden=4 channels=4 features=3 batch_size=8 normalisation=global dropout=0.2 epochs=5"
# At one of these rates the folds select different epochs, of which the median is none of theirs; at
# which, is up to how a processor rounds.
RATES = (3, 2, 1, 0.3, 0.1, 0.03)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("an experiment"))


@pytest.fixture(scope="module")
def folds(root: Path) -> Path:
    """An experiment whose folds are trained; they have selected different epochs."""
    for rate in RATES:
        experiment = root / "exp" / "cfia_net_a_t" / "session"
        shutil.rmtree(experiment, ignore_errors=True)
        first = plan(root, experiment, f"{ARGS} lr={rate}")
        trainings = [first.with_name(f"fold{fold}_seed1") for fold in (1, 2)]
        for training in trainings:
            train.main(command(training))
        if len({selected(training) for training in trainings}) == 2:
            return experiment
    raise AssertionError("at no rate is there a median to test")


@pytest.fixture(scope="module")
def final(folds: Path) -> Path:
    train.main(final_command(folds))
    return folds / "all_seed1"


def final_command(experiment: Path) -> list[str]:
    return [str(experiment), "--fold", "all", "--seed", "1"]


def selected(training: Path) -> int:
    return checkpoint.load(training / "best.pt", checkpoint.Network)["epoch"]


def copied(experiment: Path, place: Path) -> Path:
    """Copy an experiment, its folds alone."""
    return Path(
        shutil.copytree(experiment, place, ignore=shutil.ignore_patterns("all_*", "tensorboard"))
    )


def test_it_is_a_training_by_hand_on_all_utterances(
    root: Path, folds: Path, final: Path, tmp_path: Path
) -> None:
    epochs = [selected(folds / f"fold{fold}_seed1") for fold in (1, 2)]
    config, labels = read(folds).config, read_table(root / "data" / "all" / "utt2emo")
    config = replace(config, train=replace(config.train, epochs=math.ceil(sum(epochs) / 2)))
    classes, dumps = sorted(set(labels.values())), {m: root / "dump" / m for m in ("audio", "text")}
    Trainer(
        TrainerInputs(
            directory=tmp_path,
            identity="by hand",
            config=config,
            seed=1,
            selection="last",
            classes=classes,
            train=load(sorted(labels), labels, classes, dumps, config),
            select=None,
            device=torch.device("cpu"),
        )
    ).fit()
    ours, theirs = (checkpoint.load(d / "best.pt", checkpoint.Network) for d in (final, tmp_path))
    assert ours["epoch"] == config.train.epochs
    assert all(torch.equal(value, theirs["model"][key]) for key, value in ours["model"].items())
    rows = history(final)
    assert len(rows) == config.train.epochs
    assert "valid_ua" not in rows[0]


def test_killed_it_goes_on_to_the_same_bytes(
    folds: Path, final: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(folds, tmp_path / "cfia_net_a_t" / "session")
    with killed_at_checkpoint(monkeypatch, 2):
        train.main(final_command(copy))
    train.main(final_command(copy))
    for name in ("best.pt", "checkpoint.pt", "history.csv"):
        assert (copy / "all_seed1" / name).read_bytes() == (final / name).read_bytes()


def test_it_is_no_fold_to_whom_lists_or_tests_them(
    folds: Path, final: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiments.main(["--expdir", str(folds.parents[1])])
    assert "2 of 2" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"all_seed1 was trained on all utterances, so that none"):
        posteriors.main(final_command(folds))


def test_it_goes_with_the_networks_of_the_folds(
    root: Path, folds: Path, final: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folds, tmp_path / "cfia_net_a_t" / "session"))
    with pytest.raises(UserError, match="fold1_seed2 is not there or not finished; run stage 5"):
        train.main([str(copy), "--fold", "all", "--seed", "2"])
    assert not (copy / "all_seed2").exists()
    assert (copy / final.name).exists()
    plan(root, copy, f"{ARGS} lr={read(folds).config.train.lr}", force=True)
    assert not (copy / final.name).exists()
    assert (copy / "fold1_seed1").exists()  # whoever forces names the folds


def test_a_schedule_that_looks_at_validation_has_no_final_network(folds: Path) -> None:
    experiment = read(folds)
    config = replace(experiment.config, train=replace(experiment.config.train, schedule="plateau"))
    with pytest.raises(UserError, match=r"plateau` needs validation scores.*--pack folds"):
        final_config(folds, config, [3, 4])


def test_between_two_numbers_of_epochs_the_larger_is_taken(folds: Path) -> None:
    for epochs, taken in (([3, 4], 4), ([9, 1, 2], 2), ([1, 1, 2, 8], 2)):
        assert final_config(folds, read(folds).config, epochs).train.epochs == taken


def test_another_corpus_that_is_tested_does_not_train_it(
    root: Path, folds: Path, tmp_path: Path
) -> None:
    experiment, lists = read(folds), tmp_path / "lists"
    shutil.copytree(root / "data" / "folds" / "session" / "1", lists / "1")
    (lists / "1" / "test").write_text("another-1\nanother-2\n")
    across = replace(
        experiment,
        parts={**experiment.parts, "test": Part(Path("data/other"), {}, {})},
        folds=replace(experiment.folds, directory=lists, number=1),
    )
    fold = Training(experiment, 1, 1).lists
    assert Training(across, None, 1).lists.train == sorted([*fold.train, *fold.valid])
