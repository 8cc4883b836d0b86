"""Training: it learns, selects by validation, resumes to the same bytes, and says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cfia import marker
from cfia.bin import posteriors, train
from cfia.config import LATER
from cfia.errors import UserError
from cfia.experiment import NAME, read
from cfia.files import read_yaml
from cfia.training import checkpoint
from tests.support.experiment import (
    CLASSES,
    SMALL,
    command,
    fitted,
    history,
    make,
    mark_again,
    plan,
    seal,
)
from tests.support.killed import killed_at_checkpoint


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("an experiment"))


@pytest.fixture(scope="module")
def trained(experiment: Path) -> Path:
    """A finished training with its posteriors."""
    return fitted(plan(experiment, experiment / "exp" / "cfia_net_a_t" / "session"))


def test_it_learns_and_writes_what_the_design_names(trained: Path) -> None:
    rows = history(trained)
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    assert 0 < rows[0]["con_grad_ratio"] < 0.1
    assert read(trained.parent).config.train.epochs == len(rows)
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "provenance.yaml", "checkpoint.pt", "best.pt", "history.csv",
        "tensorboard", "posteriors.tsv", ".done.json", ".posteriors.json",
    }  # fmt: skip
    assert not [name for name in names if "tmp" in name]


def test_the_selected_epoch_has_the_best_validation_ua(trained: Path) -> None:
    rows = history(trained)
    selected = [row for row in rows if row["selected"] == 1]
    assert len(selected) == 1
    best = max(rows, key=lambda row: (row["valid_ua"], -row["valid_loss"]))
    assert selected[0]["epoch"] == best["epoch"]
    assert checkpoint.load(trained / "best.pt", checkpoint.Network)["epoch"] == best["epoch"]


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
    written = (trained.parent / NAME).read_bytes()
    train.main(command(plan(experiment, trained.parent)))
    posteriors.main(command(trained))
    assert "already trained, skipping" in caplog.text
    assert "posteriors already made, skipping" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert (trained.parent / NAME).read_bytes() == written


def test_keys_that_came_later_leave_what_was_trained_without_them(
    trained: Path, experiment: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    values = read_yaml(copy.parent / NAME)
    values["config"] = {k: v for k, v in values["config"].items() if k not in LATER}
    seal(copy.parent / NAME, values)
    train.main(command(copy))
    train.main(command(plan(experiment, copy.parent)))
    assert caplog.text.count("already trained, skipping") == 2
    with pytest.raises(UserError, match=r"--train_args modality_dropout was not set, now 0\.4"):
        plan(experiment, copy.parent, f"{SMALL} epochs=6 modality_dropout=0.4")


def test_other_options_stop_and_force_trains_again(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    before = {path: path.stat().st_mtime_ns for path in copy.parent.rglob("*")}
    with pytest.raises(UserError, match=r"--train_args .* was .*, now .*--force true"):
        plan(experiment, copy.parent, "hidden=8 epochs=1")
    with pytest.raises(UserError, match="--selection was valid, now last"):
        plan(experiment, copy.parent, selection="last")
    assert {path: path.stat().st_mtime_ns for path in copy.parent.rglob("*")} == before
    plan(experiment, copy.parent, "hidden=8 epochs=1", force=True)
    assert not copy.exists()
    train.main(command(copy))
    assert len(history(copy)) == 1
    assert not (copy / "posteriors.tsv").exists()


def copied(training: Path, experiment: Path) -> Path:
    """Copy the experiment of a training to another directory; the training there."""
    shutil.copytree(training.parent, experiment)
    return experiment / training.name


def test_an_experiment_that_is_edited_by_hand_stops_and_force_trains_again(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    path = copy.parent / NAME
    path.write_text(path.read_text().replace("epochs: 6", "epochs: 1"))
    for program in (train, posteriors):
        for force in ("false", "true"):
            with pytest.raises(UserError, match=r"yaml was cut or edited, .*run stage 5 .*--force"):
                program.main([*command(copy), "--force", force])
    assert len(history(copy)) == 6
    with pytest.raises(UserError, match=r"experiment\.yaml was cut or edited.*--force true"):
        plan(experiment, copy.parent)
    train.main(command(plan(experiment, copy.parent, "hidden=8 epochs=1", force=True)))
    assert len(history(copy)) == 1
    assert not (copy / "posteriors.tsv").exists()


def test_an_experiment_that_another_replaced_stops_and_force_trains_again(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    other = plan(experiment, tmp_path / "other" / "session", "hidden=8 epochs=1")
    shutil.copy(other.parent / NAME, copy.parent)
    wanted = r"its input experiment\.yaml has changed.*--force true"
    for program in (train, posteriors):
        with pytest.raises(UserError, match=wanted):
            program.main(command(copy))
    assert len(history(copy)) == 6
    train.main([*command(copy), "--force", "true"])
    assert len(history(copy)) == 1
    assert not (copy / "posteriors.tsv").exists()


def test_a_checkpoint_that_is_damaged_or_of_another_training_stops(
    trained: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = plan(experiment, tmp_path / "cfia_net_a_t" / "session", "hidden=8 epochs=3")
    with killed_at_checkpoint(monkeypatch, 2):
        train.main(command(training))
    path = training / "checkpoint.pt"
    data = bytearray(path.read_bytes())
    shutil.copy(trained / path.name, path)
    with pytest.raises(UserError, match=r"checkpoint\.pt is of another training; run stage 5"):
        train.main(command(training))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged.*run stage 5 .*--force true"):
        train.main(command(training))
    train.main([*command(training), "--force", "true"])
    assert len(history(training)) == 3


def test_an_experiment_of_an_earlier_version_stops(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    (copy.parent / NAME).unlink()
    for program in (train, posteriors):
        with pytest.raises(UserError, match=r"experiment\.yaml is not there; run stage 5"):
            program.main(command(copy))
    with pytest.raises(UserError, match=r"has no experiment\.yaml: an earlier version.*--force"):
        plan(experiment, copy.parent)
    assert copy.exists()


def edit_features(root: Path) -> None:
    path = root / "dump" / "audio" / "raw.1.ark"
    path.write_bytes(path.read_bytes()[:-1])


def make_features_again(root: Path) -> None:
    marker.finish(root / "dump" / "audio", {"x": 1}, {})


def edit_labels(root: Path) -> None:
    path = root / "data" / "all" / "utt2emo"
    path.write_text(path.read_text().replace(" ang\n", " sad\n", 1))


def edit_labels_beside_own_lists(root: Path) -> None:
    edit_labels(root)
    own_lists(root)


def edit_lists(root: Path) -> None:
    move_to_train(root / "data" / "folds" / "session" / "1", "valid")


def edit_and_mark_lists(root: Path) -> None:
    edit_lists(root)
    mark_again(root / "data" / "folds" / "session")


def move_to_train(fold: Path, part: str) -> None:
    """Move the first utterance of the list of another part."""
    first, *others = (fold / part).read_text().split()
    (fold / part).write_text("\n".join(others) + "\n")
    utts = sorted([*(fold / "train").read_text().split(), first])
    (fold / "train").write_text("\n".join(utts) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_features, "raw.1.ark has .* bytes where .* were written; run stage 3"),
        (make_features_again, "its input audio features has changed"),
        (edit_labels, "made from another utt2emo than .* is now; run stage 2"),
        (edit_labels_beside_own_lists, "its input utt2emo has changed"),
        (edit_lists, "its file 1/train has .* bytes where .* were written; run stage 2"),
        (edit_and_mark_lists, "its input fold lists has changed"),
    ],
)
def test_changed_inputs_stop_the_next_run(
    change: Callable[[Path], None], message: str, experiment: Path, tmp_path: Path
) -> None:
    root = tmp_path / "moved"
    shutil.copytree(experiment, root, ignore=shutil.ignore_patterns("exp"))
    finished, planned = (
        plan(root, root / "exp" / name / "session", "hidden=4 channels=2 features=2 epochs=1")
        for name in ("finished", "planned")
    )
    train.main(command(finished))
    change(root)
    for program, training in ((train, finished), (posteriors, finished), (train, planned)):
        with pytest.raises(UserError, match=f"{message}.*--force true"):
            program.main(command(training))
    assert not (finished / "posteriors.tsv").exists()
    assert not planned.exists()
    if "has changed" in message:
        message = f"made differently .{message}"
    with pytest.raises(UserError, match=f"{message}.*--force true"):
        plan(root, finished.parent, "hidden=4 channels=2 features=2 epochs=1")


def test_without_patience_left_it_stops(experiment: Path, tmp_path: Path) -> None:
    args = "hidden=4 channels=2 features=2 lr=1e-9 patience=2 epochs=50"
    patient = plan(experiment, tmp_path / "a", args)
    train.main(command(patient))
    assert len(history(patient)) < 10
    last = plan(experiment, tmp_path / "b", f"{args} epochs=6", selection="last")
    train.main(command(last))
    assert [row["selected"] for row in history(last)] == [0, 0, 0, 0, 0, 1]


def test_selection_on_the_test_fold_is_called_an_oracle(
    experiment: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train.main(command(plan(experiment, tmp_path / "a", selection="test")))
    assert "oracle" in caplog.text
    (chosen,) = (line for line in caplog.messages if line.startswith("feature_cache auto: "))
    assert chosen.startswith("feature_cache auto: ram, for 0.00 GB of features are at most ")
    assert read(tmp_path / "a").protocol["selection"] == "test"
    assert read(tmp_path / "a").oracle


def test_a_loss_that_is_not_finite_names_the_utterances(experiment: Path, tmp_path: Path) -> None:
    training = plan(experiment, tmp_path / "a", "lr=1e30 epochs=3")
    with pytest.raises(
        UserError, match=r"the loss is not finite in the batch of Ses1[FM]-\d\d\d, "
    ):
        train.main(command(training))


def test_a_training_part_without_a_class_stops(experiment: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(experiment, root)
    table = root / "data" / "all" / "utt2emo"
    utts = (own_lists(root) / "test").read_text().split()
    lines = [line.split() for line in table.read_text().splitlines()]
    lines = [[u, "fea" if u == utts[0] else e] for u, e in lines]
    table.write_text("".join(f"{u} {e}\n" for u, e in lines))
    training = plan(root, tmp_path / "a")
    with pytest.raises(UserError, match="session/1/train has no utterance of the class fea"):
        train.main(command(training))


def own_lists(root: Path) -> Path:
    """Take the marker of the fold lists, as of lists that a user has written; fold 1 of them."""
    folds = root / "data" / "folds" / "session"
    (folds / marker.NAME).unlink()
    return folds / "1"


def test_a_network_that_was_edited_or_lacks_a_key_is_named(trained: Path, tmp_path: Path) -> None:
    copy = copied(trained, tmp_path / "cfia_net_a_t" / "session")
    content = checkpoint.load(copy / "best.pt", checkpoint.Network)
    del content["model"]["classifier.2.weight"]
    checkpoint.save(copy / "best.pt", content)
    for program in (train, posteriors):
        with pytest.raises(UserError, match=r"its file best\.pt has .*--force true makes it and"):
            program.main(command(copy))
    mark_again(copy)
    with pytest.raises(UserError, match=r"best\.pt lacks the weight 'classifier\.2\.weight'"):
        posteriors.main([*command(copy), "--force", "true"])
    (copy / "best.pt").write_bytes(b"nonsense")
    mark_again(copy)
    with pytest.raises(UserError, match=r"best\.pt is damaged, or no checkpoint of cfia; run sta"):
        posteriors.main([*command(copy), "--force", "true"])


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_audio_alone_and_text_alone(experiment: Path, tmp_path: Path, modality: str) -> None:
    training = plan(experiment, tmp_path / "a", dumps=[modality])
    train.main(command(training))
    assert list(read(tmp_path / "a").dumps()) == [modality]
    weights = checkpoint.load(training / "best.pt", checkpoint.Network)["model"]
    assert {name.split(".")[1] for name in weights if name.startswith("encoders.")} == {modality}


def test_a_fold_that_there_is_not_leaves_nothing_behind(experiment: Path, tmp_path: Path) -> None:
    plan(experiment, tmp_path / "a")
    with pytest.raises(UserError, match="has no fold 99; its folds are 1 to 2"):
        train.main([str(tmp_path / "a"), "--fold", "99", "--seed", "1"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["experiment.yaml"]


def test_bytes_do_not_depend_on_where_the_directory_is(
    trained: Path, experiment: Path, tmp_path: Path
) -> None:
    """A recipe that was copied to another place, and a system of another name."""
    root = tmp_path / "another place"
    shutil.copytree(experiment, root, ignore=shutil.ignore_patterns("exp"))
    training = plan(root, root / "elsewhere" / "cfia_net_a_t" / "session")
    named = plan(root, root / "elsewhere" / "another name" / "session")
    for other in (training, named):
        train.main(command(other))
    for name in ("best.pt", "checkpoint.pt", "history.csv"):
        assert (training / name).read_bytes() == (trained / name).read_bytes()
    assert history(named) == history(trained)


def test_each_option_of_training_changes_the_result(experiment: Path, tmp_path: Path) -> None:
    changes = [
        "", "schedule=cosine", "class_weights=balanced", "weight_decay=0.1", "clip_grad=0.01",
        "batch_by=none", "precision=bf16", "modality_dropout=0.4", "unimodal_loss=0.5",
    ]  # fmt: skip
    seen = set()
    for i, change in enumerate(changes):
        base = "hidden=4 channels=2 features=2 lr=1e-2 epochs=3"
        if "balanced" in change:  # an uneven training part, or the weights are all 1
            experiment = _uneven(experiment, tmp_path / "uneven")
            plain = plan(experiment, tmp_path / "plain", base)
            train.main(command(plain))
            seen.add((plain / "history.csv").read_text())
        training = plan(experiment, tmp_path / str(i), f"{base} {change}")
        train.main(command(training))
        seen.add((training / "history.csv").read_text())
    assert len(seen) == len(changes) + 1


def _uneven(experiment: Path, root: Path) -> Path:
    shutil.copytree(experiment, root)
    folds = own_lists(root)
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
    move_to_train(root / "data" / "folds" / "session" / "1", "test")
    with pytest.raises(UserError, match=r"its file 1/test has .* run stage 2 .*--force true"):
        plan(root, tmp_path / "a")
    own_lists(root)
    training = plan(root, tmp_path / "a")
    with pytest.raises(UserError, match="test and train share the speaker Ses0F"):
        train.main(command(training))
