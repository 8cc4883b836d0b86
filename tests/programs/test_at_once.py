"""Programs of two runs at the same time: what one makes again, the other reads or makes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from cfia import experiment, lock
from cfia.bin.experiments import main as experiments
from cfia.bin.folds import main as folds
from cfia.bin.report import main as report
from cfia.bin.score import main as score
from cfia.errors import UserError
from cfia.files import read_json, write_json
from cfia.training.record import record
from tests.support import experiment as small
from tests.support import made_up_experiments as made_up
from tests.support.lock_holder import holder, release
from tests.support.outputs import outputs


def test_fold_lists_are_not_forced_while_they_are_read(tmp_path: Path) -> None:
    made, before = small.make(tmp_path), outputs(tmp_path)
    command = ["--data", str(made / "data/all"), "--out", str(made / "data/folds"), "session"]
    with holder("reading", made / "data/folds/session") as process:
        folds(command)  # as they are there, and not to be made again, that is nothing to wait for
        with pytest.raises(
            UserError, match=rf"folds/session is in use by .* process {process.pid}"
        ):
            folds(["--force", "true", *command])
    assert outputs(tmp_path) == before


def force(directory: Path, fold: int) -> None:
    """As stage 5 does with --force true --folds FOLD."""
    record(experiment.read(directory), force=True, again=[(fold, 1)])


def test_a_training_is_not_forced_while_it_is_made(tmp_path: Path) -> None:
    directory = made_up.run(tmp_path)
    score(["--expdir", str(tmp_path / "exp")])
    before = outputs(tmp_path)
    with holder("making", directory / "fold1_seed1") as process:
        with pytest.raises(UserError, match=f"fold1_seed1 is being made by .* {process.pid} on"):
            force(directory, 1)
        assert outputs(tmp_path) == before
        force(directory, 2)  # of which nobody makes anything
    assert (directory / "fold1_seed1").exists()
    assert not (directory / "fold2_seed1").exists()


def test_an_experiment_is_not_removed_while_it_is_trained(tmp_path: Path) -> None:
    directory = made_up.run(tmp_path, "net")
    command = ["--expdir", str(tmp_path / "exp"), "--remove", "net/session"]
    with holder("reading", directory) as process:
        with pytest.raises(UserError, match=f"net/session is in use by .* {process.pid} on"):
            experiments(command)
        assert (directory / "fold1_seed1" / "posteriors.tsv").exists()
    experiments(command)
    assert not directory.parent.exists(), "no file of a lock keeps the system's directory"


def test_scores_wait_for_the_tables_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    directory, page = made_up.run(tmp_path), tmp_path / "exp" / "RESULTS.md"
    with holder("making", page) as process:
        threading.Timer(0.3, lambda: release(process)).start()
        score(["--expdir", str(tmp_path / "exp")])
        assert process.wait() == 0
    assert f"{page} is being made by -c, process {process.pid} on " in caplog.messages[0]
    assert (directory / "scores.json").exists()


def test_an_experiment_that_is_finished_between_stages_7_and_8_is_in_the_tables(
    tmp_path: Path,
) -> None:
    expdir, directory = ["--expdir", str(tmp_path / "exp")], made_up.run(tmp_path)
    score(expdir)
    other = made_up.run(tmp_path, "other")
    made_up.run(tmp_path, seeds=(2,))
    report(expdir)
    assert "| other" in (tmp_path / "exp" / "RESULTS.md").read_text()
    scores = [read_json(place / "scores.json") for place in (directory, other)]
    assert [found["protocol"]["seeds"] for found in scores] == [[1, 2], [1]]
    score(expdir)
    assert scores == [read_json(place / "scores.json") for place in (directory, other)]
    write_json(other / "scores.json", {**scores[1], "seed_std": {}})
    with pytest.raises(UserError, match=r"other/session/scores\.json does not go with its posteri"):
        report(expdir)
