"""Training: it learns, selects by validation, resumes to the same bytes, and says what is wrong."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cfia.bin import posteriors as predict
from cfia.bin import train
from cfia.errors import UserError
from cfia.training import checkpoint
from cfia.training.dataset import averaging
from cfia.training.training import read_job
from tests.unit.experiment import CLASSES, frontend, make, train_command


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("an experiment"))


@pytest.fixture(scope="module")
def trained(experiment: Path) -> Path:
    """A finished training with its posteriors."""
    directory = experiment / "exp" / "cfia_net_a_t" / "session" / "fold1_seed1"
    train.main(train_command(experiment, directory))
    predict.main([str(directory)])
    return directory


def history(directory: Path) -> list[dict[str, float]]:
    with open(directory / "history.csv", newline="") as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]


def test_it_learns_and_writes_what_the_design_names(trained: Path) -> None:
    rows = history(trained)
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    assert 0 < rows[0]["con_share"] < 0.1
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "config.yaml", "provenance.yaml", "checkpoint.pt", "best.pt", "history.csv",
        "tensorboard", "posteriors.tsv", ".done.json", ".posteriors.json",
    }  # fmt: skip
    assert not [name for name in names if "tmp" in name]


def test_the_selected_epoch_has_the_best_validation_ua(trained: Path) -> None:
    rows = history(trained)
    selected = [row for row in rows if row["selected"] == 1]
    assert len(selected) == 1
    best = max(rows, key=lambda row: (row["valid_ua"], -row["valid_loss"]))
    assert selected[0]["epoch"] == best["epoch"]
    assert checkpoint.load(trained / "best.pt")["epoch"] == best["epoch"]


def test_posteriors_are_those_of_the_selected_weights(trained: Path, experiment: Path) -> None:
    lines = (trained / "posteriors.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["utt", "ref", *CLASSES]
    test = (experiment / "data" / "folds" / "session" / "1" / "test").read_text().split()
    assert [line.split("\t")[0] for line in lines[1:]] == test
    sums = [sum(map(float, line.split("\t")[2:])) for line in lines[1:]]
    np.testing.assert_allclose(sums, 1, atol=1e-7)


def test_a_finished_run_says_so_and_does_nothing(
    trained: Path, experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    train.main(train_command(experiment, trained))
    predict.main([str(trained)])
    assert "already trained, skipping" in caplog.text
    assert "posteriors already made, skipping" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_other_options_stop_and_force_trains_again(trained: Path, experiment: Path) -> None:
    copy = trained.with_name("fold1_seed9")
    shutil.copytree(trained, copy)
    command = train_command(experiment, copy, "--train_args", "hidden=8 epochs=1")
    with pytest.raises(UserError, match=r"--train_args .* was .*, now .*--force true"):
        train.main(command)
    train.main([*command, "--force", "true"])
    assert len(history(copy)) == 1
    assert not (copy / "posteriors.tsv").exists()


def test_changed_features_stop_the_next_run(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    root = tmp_path / "moved"
    shutil.copytree(experiment, root)
    directory = root / trained.relative_to(experiment)
    (root / "dump" / "audio" / ".done.json").write_text(
        '{"state": "done", "options": {"x": 1}, "inputs": {}}'
    )
    with pytest.raises(UserError, match="its input audio features has changed"):
        train.main(train_command(root, directory))


def test_without_patience_left_it_stops(experiment: Path, tmp_path: Path) -> None:
    args = "hidden=4 channels=2 features=2 lr=1e-9 patience=2 epochs=50"
    train.main(train_command(experiment, tmp_path / "a", "--train_args", args))
    assert len(history(tmp_path / "a")) < 10
    last = train_command(experiment, tmp_path / "b", "--train_args", f"{args} epochs=6")
    train.main([*last, "--selection", "last"])
    assert [row["selected"] for row in history(tmp_path / "b")] == [0, 0, 0, 0, 0, 1]


def test_selection_on_the_test_fold_is_called_an_oracle(
    experiment: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train.main(train_command(experiment, tmp_path / "a", "--selection", "test"))
    assert "oracle" in caplog.text
    assert read_job(tmp_path / "a").selection == "test"


def test_a_loss_that_is_not_finite_names_the_utterances(experiment: Path, tmp_path: Path) -> None:
    command = train_command(experiment, tmp_path / "a", "--train_args", "lr=1e30 epochs=3")
    with pytest.raises(
        UserError, match=r"the loss is not finite in the batch of Ses1[FM]-\d\d\d, "
    ):
        train.main(command)


def test_a_training_part_without_a_class_stops(experiment: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(experiment, root)
    table = root / "data" / "all" / "utt2emo"
    utts = (root / "data" / "folds" / "session" / "1" / "test").read_text().split()
    lines = [line.split() for line in table.read_text().splitlines()]
    lines = [[u, "fea" if u == utts[0] else e] for u, e in lines]
    table.write_text("".join(f"{u} {e}\n" for u, e in lines))
    with pytest.raises(UserError, match="session/1/train has no utterance of the class fea"):
        train.main(train_command(root, tmp_path / "a"))


def test_a_checkpoint_with_a_missing_key_is_named(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "fold1_seed1"
    shutil.copytree(trained, copy)
    content = checkpoint.load(copy / "best.pt")
    del content["model"]["classifier.2.weight"]
    checkpoint.save(copy / "best.pt", content)
    with pytest.raises(UserError, match=r"best\.pt lacks the weight 'classifier\.2\.weight'"):
        predict.main([str(copy), "--force", "true"])
    (copy / "best.pt").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is no checkpoint of ours"):
        predict.main([str(copy), "--force", "true"])


def test_audio_alone_and_text_alone(experiment: Path, tmp_path: Path) -> None:
    command = train_command(experiment, tmp_path / "a")
    i = command.index("--text_dump")
    train.main(command[:i] + command[i + 2 :])
    assert list(read_job(tmp_path / "a").dumps) == ["audio"]


def test_bytes_do_not_depend_on_the_name_of_the_directory(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    train.main(train_command(experiment, tmp_path / "another name"))
    for name in ("best.pt", "checkpoint.pt"):
        assert (tmp_path / "another name" / name).read_bytes() == (trained / name).read_bytes()


def test_frames_are_averaged_to_about_a_rate(tmp_path: Path) -> None:
    frontend("fbank", 80, frame_shift=0.01).write(tmp_path)
    assert [averaging(tmp_path, rate) for rate in (0, 25, 33, 100, 200)] == [1, 4, 3, 1, 1]


def test_each_option_of_training_changes_the_result(experiment: Path, tmp_path: Path) -> None:
    changes = [
        "",
        "schedule=cosine",
        "class_weights=balanced",
        "weight_decay=0.1",
        "clip_grad=0.01",
        "batch_by=none",
        "precision=bf16",
    ]
    seen = set()
    for i, change in enumerate(changes):
        directory = tmp_path / str(i)
        base = "hidden=4 channels=2 features=2 lr=1e-2 epochs=3"
        if "balanced" in change:  # an uneven training part, or the weights are all 1
            experiment = _uneven(experiment, tmp_path / "uneven")
            train.main(train_command(experiment, tmp_path / "plain", "--train_args", base))
            seen.add((tmp_path / "plain" / "history.csv").read_text())
        train.main(train_command(experiment, directory, "--train_args", f"{base} {change}"))
        seen.add((directory / "history.csv").read_text())
    assert len(seen) == len(changes) + 1


def _uneven(experiment: Path, root: Path) -> Path:
    shutil.copytree(experiment, root)
    folds = root / "data" / "folds" / "session" / "1"
    utts = (folds / "train").read_text().split()
    emotions = dict(line.split() for line in (root / "data/all/utt2emo").read_text().splitlines())
    angry = [utt for utt in utts if emotions[utt] == "ang"][:3]
    (folds / "train").write_text("\n".join(utt for utt in utts if utt not in angry) + "\n")
    moved = [*(folds / "valid").read_text().split(), *angry]
    (folds / "valid").write_text("\n".join(sorted(moved)) + "\n")
    return root


def test_lists_edited_by_hand_cannot_leak_a_speaker(experiment: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(experiment, root)
    folds = root / "data" / "folds" / "session" / "1"
    utts = (folds / "test").read_text().split()
    (folds / "test").write_text("\n".join(utts[1:]) + "\n")
    train_list = [*(folds / "train").read_text().split(), utts[0]]
    (folds / "train").write_text("\n".join(sorted(train_list)) + "\n")
    with pytest.raises(UserError, match="test and train share the speaker Ses0F"):
        train.main(train_command(root, tmp_path / "a"))
