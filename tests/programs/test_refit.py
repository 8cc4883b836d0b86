"""--refit: what is selected on validation, then trained again on training and validation part."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cfia.bin import posteriors, train
from cfia.errors import UserError
from cfia.experiment import read
from cfia.figures.plots import plot_learning_curves
from cfia.kaldi.data_dir import DataDir
from cfia.report.score_tables import describe_protocol
from cfia.scoring.trained import read_trained
from cfia.training.folds import make_scheme
from cfia.training.training import Training
from tests.support.experiment import (
    SYSTEMS,
    command,
    fitted,
    history,
    make,
    plan,
)
from tests.support.killed import killed_at_checkpoint
from tests.support.unseen_fold import without_the_test_fold

ARGS = "hidden=4 channels=4 features=3 batch_size=8 normalisation=global dropout=0.2 lr=0.3"
ARGS += " epochs=5 patience=2"
PROBE = "probe_c_grid=[1e-3,0.1,2]"
# Of each its settings, the key that is chosen, and the column of history.csv that says it.
SYSTEM = {"cfia_net": (ARGS, "epochs", "epoch"), "probe": (PROBE, "probe_c", "probe_c")}
OURS = ("best.pt", "history.csv", "posteriors.tsv")  # which bear no digest of their inputs
NETWORKS = (*OURS[:2], "selection/best.pt", "selection/history.csv")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("refit"))
    data = DataDir.load(root / "data" / "all")
    make_scheme(data, root / "data" / "folds" / "session-none", "session", "none")
    return root


def planned(root: Path, place: str, system: str = "cfia_net", args: str = "", **more: str) -> Path:
    """The training of fold 1 of an experiment with --refit, if no other options are given."""
    config, options = SYSTEMS / f"{system}.yaml", more or {"refit": "true"}
    directory = root / "exp" / f"{system}_{place}" / "session"
    args = f"{SYSTEM[system][0]} {args}"
    return plan(root, directory, args, force=False, config=config, **options)


@pytest.fixture(scope="module", params=SYSTEM)
def refitted(root: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A system and its training of fold 1; fold 2 is trained and tested, too."""
    training = planned(root, "refit", request.param)
    fitted(training.with_name("fold2_seed1"))
    return request.param, fitted(training)


def contents(directory: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names}


def test_it_is_the_training_without_validation_for_what_validation_has_selected(
    root: Path, refitted: tuple[str, Path]
) -> None:
    system, training = refitted
    _, key, column = SYSTEM[system]
    rows = history(training / "selection")
    (chosen,) = [row[column] for row in rows if row["selected"]]
    assert chosen != rows[-1][column], "else it would be the same without a choice"
    args = f"{key}={chosen:g}"
    without = fitted(planned(root, "none", system, args, validation="none", selection="last"))
    assert contents(training, OURS) == contents(without, OURS)
    plain = planned(root, "plain", system, selection="valid")
    train.main(command(plain))
    first = contents(training / "selection", OURS[:2])
    assert first == contents(plain, OURS[:2])
    assert first["best.pt"] != (training / "best.pt").read_bytes()


def test_no_bit_depends_on_what_the_fold_tests(
    root: Path, refitted: tuple[str, Path], tmp_path: Path
) -> None:
    system, training = refitted
    without_the_test_fold(root, tmp_path)
    other = fitted(planned(tmp_path, "refit", system))
    assert contents(other, NETWORKS) == contents(training, NETWORKS)
    assert (other / OURS[2]).read_bytes() != (training / OURS[2]).read_bytes()


def test_killed_in_each_pass_it_ends_with_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = root / "exp" / "cfia_net_refit" / "session" / "fold1_seed1"
    if not whole.exists():
        train.main(command(planned(root, "refit")))
    killed = plan(root, tmp_path / "cfia_net_refit" / "session", ARGS, refit="true")
    epochs = len(history(whole / "selection"))
    # In the first pass, at its end, and in the second.
    for checkpoints in (1, epochs - 1, 2):
        with killed_at_checkpoint(monkeypatch, checkpoints):
            train.main(command(killed))
        assert not (killed / "posteriors.tsv").exists()
    caplog.set_level("INFO")
    train.main(command(killed))
    assert f"{killed}: going on after epoch 2" in caplog.text
    again = "again, on training and validation part, with epochs"
    assert f"{killed}: {again} {len(history(whole))}" in caplog.text
    made = ("checkpoint.pt", "selection/checkpoint.pt", *NETWORKS)
    assert contents(killed, made) == contents(whole, made)
    assert not list(killed.rglob("*.tmp.*"))


def test_a_probe_killed_between_the_passes_ends_with_the_same_bytes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (planned(root, place, "probe") for place in ("whole", "killed"))
    train.main(command(whole))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("cfia.training.fitting.selected", interrupted)
        train.main(command(killed))
    assert not (killed / "best.pt").exists()
    train.main(command(killed))
    assert contents(killed, NETWORKS) == contents(whole, NETWORKS)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_selection_that_was_edited_since_is_named(refitted: tuple[str, Path]) -> None:
    _, training = refitted
    path = training / "selection" / "history.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    with pytest.raises(UserError, match=r"its file selection/history.csv has .* bytes"):
        posteriors.main(command(training))
    path.write_bytes(before)


def test_it_is_said_with_the_scores_and_the_curves_are_of_the_first_pass(
    refitted: tuple[str, Path],
) -> None:
    system, training = refitted
    trained = read_trained(training.parent)
    what = "epoch" if system == "cfia_net" else "C"
    words = f"{what} selected on the validation part, refitted on training and validation part"
    assert words in describe_protocol(trained, {})
    assert trained.protocol["refit"] is True
    if system == "cfia_net":  # of validation scores, which the second pass has not
        assert plot_learning_curves(trained)


def test_the_final_network_has_the_median_of_what_the_folds_have_selected(
    refitted: tuple[str, Path],
) -> None:
    system, training = refitted
    chosen = [
        row[SYSTEM[system][2]]
        for fold in (1, 2)
        for row in history(training.with_name(f"fold{fold}_seed1") / "selection")
        if row["selected"]
    ]
    flat = Training(read(training.parent), None, 1).config.flat()
    key = SYSTEM[system][1]
    assert flat[key] == (math.ceil(sum(chosen) / 2) if key == "epochs" else min(chosen))
    lists = Training(read(training.parent), 1, 1).lists
    assert Training(read(training.parent), 1, 1).trained_on == sorted(lists.train + lists.valid)
