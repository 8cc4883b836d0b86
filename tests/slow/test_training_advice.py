"""Advice of the stages from training on, followed in a small recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from cfia.bin import import_features
from cfia.errors import UserError
from cfia.experiment import read
from cfia.kaldi.table import read_table
from cfia.training.audio_weights import audio_weights
from cfia.training.training import Training
from tests.support.advice import Command, follow
from tests.support.data_files import RATE
from tests.support.iemocap_tree import edit
from tests.support.outputs import keep, restore
from tests.support.stages import TRAINING, Outcome, Toy
from tests.support.studies import Recipe

SYSTEM = Path("exp/cfia_net_fbank_bert/session")

pytestmark = pytest.mark.slow

BAD = "Ses01F_impro01_F000"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Path]:
    """A recipe after stage 5, which has left out an utterance, and a copy of what it has made."""
    root = tmp_path_factory.mktemp("trained")
    toy = Toy(root)
    # Shorter than a frame: stage 3 leaves it out, after the folds were made.
    soundfile.write(next(toy.corpus.rglob(f"{BAD}.wav")), np.zeros(100), RATE)
    toy.options["skip_bad"] = "true"
    assert toy.run(1, 5) == Outcome(0)
    return toy, keep(toy.directory, root / "copy")


@pytest.fixture
def toy(trained: tuple[Toy, Path]) -> Toy:
    """The recipe as it was."""
    restore(trained[0].directory, trained[1])
    return trained[0]


def test_another_device(toy: Toy) -> None:
    said = toy.run(6, 6, ngpu="1").said
    assert "was trained with --ngpu 0; give the same for stages 6 and 9" in said
    assert toy.run(6, 6, ngpu="0") == Outcome(0)


def test_a_loss_that_explodes(toy: Toy) -> None:
    wild = TRAINING.replace("lr=5e-2", "lr=1e30")
    stopped = toy.run(5, 5, train_args=wild, tag="try")
    assert "try a lower lr, clip_grad=1 or precision=float32" in stopped.said
    command = Command(toy, 5, 5)
    toy.options["tag"] = "try"
    ended, said = follow(command, command.again())
    del toy.options["tag"]
    assert ended == Outcome(0)
    assert "--force true makes it and what follows again" in said[0]


def test_linked_features_that_their_owner_has_changed(toy: Toy, tmp_path: Path) -> None:
    utts = list(read_table(toy.directory / "data" / "all" / "utt2spk"))
    ark, scp = tmp_path / "mfcc.ark", tmp_path / "mfcc.scp"

    def write(value: float) -> None:
        kaldiio.save_ark(str(ark), {u: np.full((9, 4), value, np.float32) for u in utts}, str(scp))

    def imported(*options: str) -> Outcome:
        arguments = ["--scp", str(scp), "--name", "mfcc", "--modality", "audio", "--link", "true"]
        return toy.call(import_features.main, *arguments, "--frame_shift", "0.01", *options)

    write(1.0)
    assert imported() == Outcome(0)
    write(2.0)
    options = {"audio_upstream": "mfcc", "systems": "audio"}
    assert "run `cfia import_features` with --force true" in toy.run(5, 5, **options).said
    assert imported("--force", "true") == Outcome(0)
    assert toy.run(5, 5, **options) == Outcome(0)


def test_an_utterance_without_features_has_no_gates(toy: Toy) -> None:
    with toy.environment():
        training = Training(read(SYSTEM), fold=1, seed=1)
        utts = sorted(training.lists.test + training.lists.train, key=lambda u: u.endswith(BAD))
        with pytest.raises(UserError, match="leave it out of --utts"):
            list(audio_weights(training, utts[-2:]))
        assert len(list(audio_weights(training, utts[-2:-1]))) == 1


def change_a_label(toy: Toy) -> None:
    """By hand, in a data directory that is a user's own from then on, and folds for it."""
    path = toy.directory / "data" / "all" / "utt2emo"
    (path.parent / ".done.json").unlink(missing_ok=True)
    words = ("_F001 hap", "_F001 ang")
    edit(path, *(words if words[0] in path.read_text() else words[::-1]))
    assert toy.run(2, 2, force="true") == Outcome(0)


@pytest.mark.parametrize("way", ["put it back", "train again", "move the experiment away"])
def test_labels_that_changed_after_the_test(toy: Toy, way: str) -> None:
    assert toy.run(6, 7) == Outcome(0)
    change_a_label(toy)
    said = toy.run(7, 7).said
    assert "put it back, train again (stage 5 with --force true), or move the experiment" in said
    if way == "put it back":
        change_a_label(toy)
        assert toy.run(7, 7) == Outcome(0)
    elif way == "train again":
        assert toy.run(5, 7, force="true") == Outcome(0)
    else:
        shutil.move(toy.directory / SYSTEM, toy.directory / "kept")
        assert "run stages 5 and 6 first" in toy.run(7, 7).said
        assert toy.run(5, 7) == Outcome(0)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    recipe, mine = Recipe(tmp_path), tmp_path / "cfia_net.yaml"
    mine.write_text("base: cfia_net\nlr: 1e-2\n")
    options = {"systems": "audio cfia_net_audio", "cv": "session"}
    with pytest.raises(UserError, match=r"would be of two config.*; give one of the files another"):
        assert recipe.plan("", train_config=str(mine), **options).experiments
    mine = mine.rename(tmp_path / "mine.yaml")
    found = recipe.plan("", train_config=str(mine), **options).experiments
    assert [one.system for one in found] == ["mine_fbank", "cfia_net_fbank"]
