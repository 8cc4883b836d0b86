"""What a message advises is done, and helps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia.bin import folds, posteriors, train
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table
from tests.support.experiment import command, make, plan
from tests.support.iemocap_tree import SmallIemocap, edit
from tests.support.studies import Recipe

TINY = "hidden=4 channels=2 features=2 epochs=1"


def said(work: Callable[[], object], capsys: pytest.CaptureFixture[str] | None = None) -> str:
    """What is said where some work is refused."""
    with pytest.raises((UserError, SystemExit)) as refused:
        work()
    return capsys.readouterr().err if capsys else str(refused.value)


def divide(data: Path, scheme: str, *more: str) -> Path:
    """Stage 2, for a scheme that must be possible; the directory of its lists."""
    out = data.parent / "folds"
    options = ["--data", str(data), "--out", str(out), "--need", scheme, *more]
    folds.main([*options, scheme])
    return out / scheme


@pytest.fixture
def corpus(tmp_path: Path) -> SmallIemocap:
    """Fear is said by one speaker alone, and a label set has it."""
    small = SmallIemocap(tmp_path)
    edit(small.labels_file, "Ses01F_impro01_F002\txxx", "Ses01F_impro01_F002\tfea")
    edit(small.conf / "labels" / "6.yaml", 'fea: "-"', "fea: fea")
    return small


@pytest.mark.parametrize("scheme", ["session", "speaker", "speaker-next_speaker"])
@pytest.mark.parametrize("other", ['"-"', "sad"])
def test_a_class_of_one_speaker_asks_for_another_label_set(
    corpus: SmallIemocap, scheme: str, other: str
) -> None:
    data = corpus.prepare("--labels", "6")
    message = said(lambda: divide(data, scheme))
    assert "the class fea; no utterance that is not tested has it" in message
    assert "give --labels NAME with a label set conf/labels/NAME.yaml that leaves it" in message
    mine = corpus.conf / "labels" / "mine.yaml"
    shutil.copy(corpus.conf / "labels" / "6.yaml", mine)
    edit(mine, "fea: fea", f"fea: {other}")
    divide(corpus.prepare("--labels", "mine", "--force", "true"), scheme)


def test_a_class_of_two_speakers_may_ask_for_another_validation(corpus: SmallIemocap) -> None:
    data = corpus.prepare("--labels", "6")
    labels = read_table(data / "utt2emo")
    another = next(u for u, label in labels.items() if u.startswith("Ses01M") and label == "neu")
    write_table(data / "utt2emo", {**labels, another: "fea"})
    (data / ".done.json").unlink()
    message = said(lambda: divide(data, "speaker-partner"))
    assert "class fea; use --validation random20, which takes no class whole" in message
    divide(data, "speaker")


def one_session(data: Path) -> None:
    write_table(data / "utt2session", dict.fromkeys(read_table(data / "utt2spk"), "Ses01"))


def a_speaker_in_two_sessions(data: Path) -> None:
    sessions = read_table(data / "utt2session")
    write_table(data / "utt2session", {**sessions, min(sessions): "Ses02"})


def no_sessions(data: Path) -> None:
    (data / "utt2session").unlink()


@pytest.mark.parametrize(
    ("change", "scheme", "advice", "followed"),
    [
        (one_session, "session", "use --cv speaker", "speaker"),
        (one_session, "speaker-partner", "use --validation random20", "speaker"),
        (
            a_speaker_in_two_sessions, "session",
            "use --cv speaker --validation random20", "speaker",
        ),
        (no_sessions, "session", "use --cv speaker", "speaker"),
        (no_sessions, "speaker-next_session", "use --validation random20", "speaker"),
        (lambda _: None, "session-partner", "needs --cv speaker", "speaker-partner"),
        (lambda _: None, "session-next_session", "use --validation random20", "session"),
    ],
)  # fmt: skip
def test_an_impossible_scheme_names_one_that_is_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None],
    scheme: str, advice: str, followed: str,
) -> None:  # fmt: skip
    data = SmallIemocap(tmp_path).prepare()
    (data / ".done.json").unlink()
    change(data)
    assert advice in said(lambda: divide(data, scheme), capsys)
    assert (divide(data, followed) / "1" / "train").exists()


def test_fold_lists_that_leak_are_made_again_as_the_message_says(tmp_path: Path) -> None:
    data = SmallIemocap(tmp_path).prepare()
    directory = divide(data, "session")
    (directory / ".done.json").unlink()  # a user's own from now on
    path = directory / "1" / "test"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    message = said(lambda: divide(data, "session"))
    assert "move it away or delete it" in message
    shutil.rmtree(directory)
    divide(data, "session")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("trained"))
    train.main(command(plan(root, root / "exp" / "net" / "session", TINY)))
    return root


def test_lists_of_other_labels_are_made_again_as_the_message_says(
    trained: Path, tmp_path: Path
) -> None:
    """From what stops the posteriors to posteriors, by doing what each message says."""
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    directory = root / "exp" / "net" / "session"
    training = plan(root, root / "exp" / "new" / "session", TINY)
    relabel(root)
    message = said(lambda: plan(root, directory, TINY))
    assert "run stage 2 (folds) again with --force true" in message
    divide(root / "data" / "all", "session", "--force", "true")
    message = said(lambda: train.main(command(training)))
    assert "was written before a change" in message
    assert "run.sh with --force true trains again" in message
    plan(root, training.parent, TINY, force=True)
    train.main(command(training))
    posteriors.main(command(training))


def relabel(root: Path) -> None:
    path = root / "data" / "all" / "utt2emo"
    path.write_text(path.read_text().replace(" ang\n", " sad\n", 1))


def test_a_tag_keeps_both(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    recipe.train()
    before = recipe.results()
    message = said(lambda: recipe.list_trainings(train_args="lr=1e-2"))
    assert "--tag NAME keeps both" in message
    recipe.list_trainings(nj="4", train_args="lr=1e-2", tag="mine")
    assert {name: recipe.results()[name] for name in before} == before


def test_posteriors_before_training_say_what_to_run(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    training = plan(root, root / "exp" / "new" / "session", TINY)
    message = said(lambda: posteriors.main(command(training)))
    assert "run stage 5 (training) first" in message
    train.main(command(training))
    posteriors.main(command(training))
