"""Posteriors of another toolkit: an experiment that stages 7 and 8 score beside our own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cfia.bin import gates, import_posteriors, posteriors, score, train
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table
from cfia.posteriors import read_posteriors, write_posteriors
from cfia.training.folds import read_folds
from tests.support import made_up_experiments as made_up
from tests.support.data_files import tree

SCHEME = "session"


class Elsewhere:
    """Data and fold lists, one system that was trained here, and files of another toolkit."""

    def __init__(self, root: Path) -> None:
        self.root, self.experiment = root, root / "exp" / "svm" / SCHEME
        self.own = made_up.run(root)
        self.folds = root / "data" / "folds"
        self.labels = read_table(root / "data" / "all" / "utt2emo")
        (root / "lists").mkdir()
        (root / "lists" / SCHEME).symlink_to(self.folds)
        self.files = [self.write(f"fold{k}.tsv", fold.test, k)
                      for k, fold in read_folds(self.folds).items()]  # fmt: skip

    def write(self, name: str, utts: list[str], seed: int) -> Path:
        """A file whose columns are in an order of its own."""
        path, classes = self.root / name, made_up.CLASSES[::-1]
        probs = np.random.default_rng(seed).dirichlet(np.ones(4), len(utts))
        write_posteriors(path, classes, utts, [self.labels[utt] for utt in utts], probs)
        return path

    def run(self, *options: str, files: list[Path] | None = None) -> None:
        root = self.root
        import_posteriors.main([
            "--system", "svm", "--scheme", SCHEME, "--data", str(root / "data" / "all"),
            "--folds", str(root / "lists"), "--expdir", str(root / "exp"), *options,
            *map(str, files or self.files),
        ])  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


def test_it_is_a_row_of_the_tables(elsewhere: Elsewhere) -> None:
    elsewhere.run()
    made_up.stages(elsewhere.root)
    scores = json.loads((elsewhere.experiment / "scores.json").read_text())
    whole = elsewhere.root / "whole.tsv"
    rows = [line for path in elsewhere.files for line in path.read_text().splitlines()[1:]]
    head = elsewhere.files[0].read_text().splitlines()[0]
    whole.write_text("\n".join([head, *rows]) + "\n")
    assert scores["pooled"]["ua"] == pytest.approx(made_up.recall(whole))
    assert scores["folds"]["2"]["ua"] == pytest.approx(made_up.recall(elsewhere.files[1]))
    assert scores["protocol"]["selection"] == "elsewhere"
    page = (elsewhere.root / "exp" / "RESULTS.md").read_text()
    assert "| svm (imported) | unknown | unknown |" in page
    assert "epoch selected on the validation part" in page  # the title is of our own system
    assert "Trained at commit abc123+dirty." in page
    assert "cfia import_posteriors --system svm" in page
    assert page.count("lr: 0.0001") == 1  # of our own system alone
    assert (elsewhere.root / "exp" / "tables" / "results.csv").read_text().count("elsewhere") == 1


def test_alone_and_in_one_file(elsewhere: Elsewhere) -> None:
    elsewhere.own.rename(elsewhere.root / "moved away")
    everything = [utt for fold in read_folds(elsewhere.folds).values() for utt in fold.test]
    elsewhere.run(files=[elsewhere.write("all.tsv", everything, 9)])
    made_up.stages(elsewhere.root)
    page = (elsewhere.root / "exp" / "RESULTS.md").read_text()
    assert "trained elsewhere, nobody here knows how" in page
    assert "Trained at commit" not in page


def test_again_another_seed_and_other_posteriors(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    elsewhere.run()
    before = tree(elsewhere.experiment)
    elsewhere.run()
    assert tree(elsewhere.experiment) == before
    assert sum("already imported, skipping" in message for message in caplog.messages) == 3
    others = [elsewhere.write(f"other{k}.tsv", fold.test, 10 + k)
              for k, fold in read_folds(elsewhere.folds).items()]  # fmt: skip
    with pytest.raises(UserError, match="--force true replaces it, another --seed keeps both"):
        elsewhere.run(files=others)
    assert tree(elsewhere.experiment) == before
    elsewhere.run("--seed", "2", files=others)
    made_up.stages(elsewhere.root)
    scores = json.loads((elsewhere.experiment / "scores.json").read_text())
    assert list(scores["seeds"]) == ["1", "2"]
    elsewhere.run("--force", "true", files=others)
    found = read_posteriors(elsewhere.experiment / "fold1_seed1" / "posteriors.tsv")
    expected = read_posteriors(others[0])
    order = [expected.classes.index(name) for name in found.classes]
    np.testing.assert_allclose(found.probs, expected.probs[:, order])


def test_a_kill_between_two_folds(elsewhere: Elsewhere) -> None:
    elsewhere.run()
    before = tree(elsewhere.experiment)
    whole = elsewhere.experiment / "fold2_seed1"
    whole.rename(elsewhere.root / "as if it had not been written")
    elsewhere.run()
    assert tree(elsewhere.experiment) == before


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_files_that_do_not_fit(elsewhere: Elsewhere) -> None:
    first = elsewhere.files[0]
    whole = first.read_text()
    *_, utt = read_posteriors(first).utts
    lines = whole.splitlines(keepends=True)
    inputs = {
        f"{utt} is not there, but of the fold's test": "".join(
            line for line in lines if not line.startswith(utt)
        ),
        "Nobody-1 is .*, but of the fold's test it is not one": whole.replace(utt, "Nobody-1"),
        "has the classes .*anger.*; rename them in its first line": whole.replace("ang", "anger"),
    }
    for message, text in inputs.items():
        first.write_text(text)
        with pytest.raises(UserError, match=message):
            elsewhere.run()
    first.write_text(whole)
    with pytest.raises(UserError, match="is in both"):
        elsewhere.run(files=[*elsewhere.files, first])
    assert not elsewhere.experiment.exists()


def test_one_that_was_trained_here_stays(elsewhere: Elsewhere) -> None:
    before = tree(elsewhere.own)
    with pytest.raises(UserError, match=r"was trained here, .* choose another --system"):
        elsewhere.run("--system", elsewhere.own.parent.name, "--force", "true")
    assert tree(elsewhere.own) == before


def test_what_is_edited_later_is_noticed_and_the_advice_helps(elsewhere: Elsewhere) -> None:
    elsewhere.run()
    path = elsewhere.experiment / "fold1_seed1" / "posteriors.tsv"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="`cfia import_posteriors` with --force true"):
        made_up.stages(elsewhere.root)
    elsewhere.run("--force", "true")
    made_up.stages(elsewhere.root)


def test_it_has_no_network(elsewhere: Elsewhere) -> None:
    elsewhere.run()
    write_table(elsewhere.root / "data" / "all" / "text", dict.fromkeys(elsewhere.labels, "words"))
    before = tree(elsewhere.root)
    utt = read_posteriors(elsewhere.files[0]).utts[0]
    which = [str(elsewhere.experiment), "--fold", "1", "--seed"]
    for program, options in (
        (gates, ["1", "--utts", utt]),
        (train, ["1", "--force", "true"]),
        (train, ["2"]),
        (posteriors, ["1", "--force", "true"]),
    ):
        with pytest.raises(UserError, match="was imported: it has posteriors, and no network"):
            program.main([*which, *options])
    assert tree(elsewhere.root) == before


@pytest.mark.parametrize("place", ["svm/session", "mine", "svm/session/fold{k}_seed1"])
def test_files_that_were_put_under_exp_by_hand_are_named_and_can_be_imported(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    exp, files = elsewhere.root / "exp", []
    for k, path in enumerate(elsewhere.files, start=1):
        directory = exp / place.format(k=k)
        if "{k}" not in place:
            directory = directory / f"fold{k}"
        directory.mkdir(parents=True)
        files.append(path.rename(directory / "posteriors.tsv"))
    if "{k}" in place:
        with pytest.raises(UserError, match=r"holds posteriors\.tsv but no marker .* move it away"):
            elsewhere.run("--force", "true", files=files)
    score.main(["--expdir", str(exp)])
    said = (
        f"{files[0]} (and 2 more) is left out, for no stage has made it; move it out of {exp} and"
    )
    assert any(said in message for message in caplog.messages)
    assert not (elsewhere.experiment / "scores.json").exists()
    moved = [path.rename(elsewhere.root / f"{k}.tsv") for k, path in enumerate(files)]
    elsewhere.run(files=moved)
    caplog.clear()
    score.main(["--expdir", str(exp)])
    assert (elsewhere.experiment / "scores.json").exists()
    assert not [message for message in caplog.messages if "posteriors" in message]
