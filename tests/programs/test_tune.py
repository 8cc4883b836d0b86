"""--tune N: each fold tries the first N settings of tune.yaml, and takes the best on validation."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cfia.bin import posteriors, train
from cfia.errors import UserError
from cfia.experiment import Experiment, read
from cfia.inference.pack import Packing
from cfia.options import PACK_FOLDS
from cfia.report.provenance_section import facts
from cfia.report.score_tables import describe_protocol
from cfia.scoring.trained import read_trained
from cfia.study import tasks
from cfia.training import tuned
from cfia.training.training import Training
from tests.support.experiment import SYSTEMS, command, fitted, history, make, plan
from tests.support.file_changes import watched
from tests.support.killed import Killed
from tests.support.studies import Recipe
from tests.support.unseen_fold import without_the_test_fold

ARGS = "channels=4 features=3 batch_size=8 lr=5e-3 dropout=0.2 normalisation=global epochs=3"
OWN = f"{ARGS} hidden=2"
FILE = "lr: [own, x0.01]\nhidden: [own, 6]\n"  # the second is the better
NETWORK = ("best.pt", "checkpoint.pt", "history.csv")
MADE = (*NETWORK[::2], "posteriors.tsv")  # which bear no digest of their inputs
MARKED = (*NETWORK, "tuned.yaml", "tune1/history.csv", "tune2/history.csv")
CHOICE = ("best.pt", "history.csv", "tuned.yaml", "tune1/history.csv", "tune2/history.csv")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("tune"))
    (root / "tune.yaml").write_text(FILE)
    return root


def planned(
    root: Path, place: str, args: str = OWN, exp: Path | None = None, **options: str
) -> Path:
    """The training of fold 1 of an experiment with --tune 2, if no other options are given."""
    directory, config = (exp or root / "exp") / f"cfia_net_{place}", SYSTEMS / "cfia_net.yaml"
    options, file = options or {"tune": "2"}, str(root / "tune.yaml")
    return plan(
        root, directory / "session", args, force=False, config=config, tune_file=file, **options
    )


@pytest.fixture(scope="module")
def training(root: Path) -> Path:
    """The training of fold 1; that of fold 2 is finished, too."""
    training = planned(root, "tuned")
    fitted(training.with_name("fold2_seed1"))
    return fitted(training)


def contents(directory: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names}


def test_it_is_the_training_with_the_settings_of_the_best_validation_ua(
    root: Path, training: Path
) -> None:
    alone = [fitted(planned(root, f"alone{h}", f"{ARGS} hidden={h}", tune="0")) for h in (2, 6)]
    (first, *_), (second, *_) = best = [
        [row for row in history(directory) if row["selected"]] for directory in alone
    ]
    assert first["valid_ua"] < second["valid_ua"], "else the first would be taken"
    assert yaml.safe_load((training / "tuned.yaml").read_text()) == {
        "chosen": 2,
        "settings": {"lr": 5e-3, "hidden": 6},
        "trials": [
            {"settings": {"lr": 5e-3, "hidden": hidden}, "epoch": row["epoch"],
             "valid_ua": row["valid_ua"]}
            for hidden, (row,) in zip((2, 6), best, strict=True)
        ],
    }  # fmt: skip
    assert contents(training, MADE) == contents(alone[1], MADE)
    for i, directory in enumerate(alone, 1):
        tried = training / f"tune{i}" / "history.csv"
        assert tried.read_bytes() == (directory / "history.csv").read_bytes()
        assert not list(tried.parent.glob("*.pt"))  # of N networks one is kept


def test_no_bit_depends_on_what_the_fold_tests(root: Path, training: Path, tmp_path: Path) -> None:
    without_the_test_fold(root, tmp_path)
    shutil.copy(root / "tune.yaml", tmp_path)
    other = fitted(planned(tmp_path, "tuned"))
    assert contents(other, CHOICE) == contents(training, CHOICE)
    assert (other / "posteriors.tsv").read_bytes() != (training / "posteriors.tsv").read_bytes()
    # What does look at the test part is noticed so.
    looked = [planned(place, "oracle", selection="test") for place in (root, tmp_path)]
    for directory in looked:
        train.main(command(directory))
    assert contents(looked[0], CHOICE[1:2]) != contents(looked[1], CHOICE[1:2])


def killed_at_change(number: int, directory: Path) -> bool:
    """Train, and die before a change to a file, from 1, of those since tuned.yaml is written.

    Returns whether there are so many.
    """
    left = number + 1

    def count(_: str, path: Path) -> None:
        nonlocal left
        if not path.is_relative_to(directory):  # a lock, which a dead process does not keep
            return
        if path.name.startswith(".tuned.yaml") or left <= number:
            left -= 1
            if left == 0:
                raise Killed

    try:
        with watched(count):
            train.main(command(directory))
    except Killed:
        return True
    return False


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_of_the_choice_it_ends_with_the_same_bytes(
    root: Path, training: Path, tmp_path: Path, step: int
) -> None:
    directory = planned(root, "tuned", exp=tmp_path)
    assert killed_at_change(1, directory)
    assert not (directory / "tuned.yaml").exists()
    before, number = shutil.copytree(directory, tmp_path / "before"), 1
    while killed_at_change(number, directory):
        train.main(command(directory))
        assert contents(directory, MARKED) == contents(training, MARKED)
        assert not [*directory.rglob("*.tmp.*"), *directory.glob("tune*/*.pt")]
        shutil.rmtree(directory)
        shutil.copytree(before, directory)
        number += step
    assert number > 10


def test_what_is_changed_since_is_named(root: Path, training: Path) -> None:
    with pytest.raises(UserError, match=r"made differently \(--tune was 2, now 3\); --force true"):
        planned(root, "tuned", tune="3")
    path = root / "tune.yaml"
    path.write_text(FILE.replace("6", "8"))
    with pytest.raises(UserError, match=r"its input conf/tune\.yaml has changed\); --force true"):
        planned(root, "tuned")
    path.write_text(FILE.replace("0.01", "0.02"))  # nothing that is tried
    planned(root, "tuned")
    path.write_text(FILE)
    path = training / "tuned.yaml"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"chosen: 2", b"chosen: 1"))
    with pytest.raises(UserError, match=r"its file tuned\.yaml was changed after it was made"):
        posteriors.main(command(training))
    path.write_bytes(before)


def test_tables_say_so_and_a_time_is_of_one_network(training: Path) -> None:
    trained = read_trained(training.parent)
    words = "epoch selected on the validation part, tuned, best of 2 on validation"
    assert words in describe_protocol(trained, {})
    assert trained.protocol["tune"] == "2"
    made = [facts(trained.experiment, one) for one in trained.trainings]
    assert made[0]["hidden"] == "6"  # as its fold has chosen
    begun = (training / "provenance.yaml").stat().st_mtime
    os.utime(training / "checkpoint.pt", (begun + 80, begun + 80))
    times = tasks.usual_seconds([Training(trained.experiment, 1, 1)])
    assert list(times.values()) == [40]


def with_choices(training: Path, place: Path, *settings: dict[str, Any]) -> Experiment:
    """The experiment elsewhere, as if its folds had chosen these settings."""
    directory = place / "cfia_net_tuned" / "session"
    shutil.copytree(training.parent, directory)
    for fold, chosen in enumerate(settings, 1):
        made = tuned.read(directory / f"fold{fold}_seed1")
        replace(made, settings={**made.settings, **chosen}).write(directory / f"fold{fold}_seed1")
    return read(directory)


def test_the_final_network_has_what_most_folds_have_chosen(training: Path) -> None:
    final = Training(read(training.parent), None, 1)
    choices = [tuned.read(training.with_name(f"fold{fold}_seed1")) for fold in (1, 2)]
    trials = [choice.trials[tuned.most_chosen(choices) - 1] for choice in choices]
    assert final.config.model.hidden == trials[0].settings["hidden"]
    assert final.config.train.epochs == math.ceil(sum(trial.epoch for trial in trials) / 2)
    assert final.marked()[0]["train_args hidden"] == final.config.model.hidden


def test_networks_of_folds_that_differ_are_no_pack_but_dropout_is_no_difference(
    training: Path, tmp_path: Path
) -> None:
    same: list[dict[str, Any]] = [{"hidden": 6, "dropout": 0.4}, {"hidden": 6}]
    packed = Packing(with_choices(training, tmp_path / "a", *same), PACK_FOLDS, 1, None).config
    assert (packed.hidden, packed.dropout) == (6, 0.2)
    other = Packing(with_choices(training, tmp_path / "b", {}, {"hidden": 2}), PACK_FOLDS, 1, None)
    with pytest.raises(UserError, match=r"fold 2 has chosen another network than fold 1, .*--pack"):
        other.config  # noqa: B018


def choice(chosen: int, *uas: float) -> tuned.Tuned:
    return tuned.Tuned(chosen, {}, tuple(tuned.Trial({}, 1, ua) for ua in uas))


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ([choice(2, 1, 2), choice(2, 1, 2), choice(1, 90, 2)], 2),
        ([choice(1, 50, 40), choice(2, 20, 31)], 2),  # 35 and 35.5
        ([choice(2, 40, 50), choice(1, 31, 20)], 1),
        ([choice(3, 0, 0, 50), choice(2, 0, 50, 0)], 2),
    ],
)
def test_of_equally_many_folds_the_mean_decides_then_the_order(
    folds: list[tuned.Tuned], expected: int
) -> None:
    assert tuned.most_chosen(folds) == expected


def test_the_probe_is_not_tuned_and_the_plan_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = "[{systems: [linear]}, {systems: [probe]}]"
    study = f"tables: {{t: {{cv: session, input: audio, rows: {rows}}}}}"
    recipe = Recipe(tmp_path, study, tune="3")
    (recipe.directory / "conf" / "tune.yaml").write_text("lr: [own, x1, x2]")
    recipe.list_trainings(nj="1")
    tasks.describe(recipe.plan())
    scheme = "/session-tune3: "
    assert f"linear_fbank{scheme}each fold takes the best of 2 settings on valid" in caplog.text
    assert ", of 3 that are asked for, for others are equal" in caplog.text
    assert f"probe_fbank{scheme}--tune 3 does not change the probe, whose C is" in caplog.text
    assert "linear_fbank, session-tune3: 2 trainings, each the best of 2 (t)" in caplog.text
    assert "probe_fbank, session-tune3: 2 trainings (t)" in caplog.text


def test_who_tests_its_networks_with_other_text_takes_what_was_chosen(
    training: Path, tmp_path: Path
) -> None:
    own = read(training.parent)
    other = replace(
        own, directory=tmp_path / "other" / "session", trained_in=training.parent,
        protocol={**own.protocol, "tested_text": "asr"},
    )  # fmt: skip
    other.write()
    taken = fitted(other.directory / "fold1_seed1")
    assert contents(taken, (*MADE[::2], "tuned.yaml")) == contents(
        training, (*MADE[::2], "tuned.yaml")
    )
