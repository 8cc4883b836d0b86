"""Advice of the stages that train, test and score, followed in a whole recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia.files import read_yaml
from tests.support.advice import Command, follow
from tests.support.experiment import seal
from tests.support.outputs import differences, keep, outputs, restore
from tests.support.stages import Outcome, Toy

pytestmark = pytest.mark.slow

SYSTEM = Path("exp/cfia_net_fbank_bert/session")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Path]:
    """A recipe after stage 7, and a copy of what it has made."""
    root = tmp_path_factory.mktemp("finished")
    toy = Toy(root)
    assert toy.run(1, 7) == Outcome(0)
    return toy, keep(toy.directory, root / "copy")


@pytest.fixture
def toy(finished: tuple[Toy, Path]) -> Toy:
    """The recipe as it was."""
    restore(finished[0].directory, finished[1])
    return finished[0]


def cut_the_data(toy: Toy) -> None:
    (toy.directory / "data/all/utt2emo").write_text("")


def lose_a_list(toy: Toy) -> None:
    (toy.directory / "data/folds/session/1/test").unlink()


def lose_the_lists(toy: Toy) -> None:
    shutil.rmtree(toy.directory / "data/folds")


def lose_an_archive(toy: Toy) -> None:
    next((toy.directory / "dump/fbank").glob("*.ark")).unlink()


def damage_a_checkpoint(toy: Toy) -> None:
    (toy.directory / SYSTEM / "fold1_seed1/best.pt").write_bytes(b"")


def lose_the_marker(toy: Toy) -> None:
    (toy.directory / SYSTEM / "fold1_seed1/.done.json").unlink()


def edit_the_experiment(toy: Toy) -> None:
    path = toy.directory / SYSTEM / "experiment.yaml"
    path.write_text(path.read_text().replace("lr: 0.05", "lr: 0.01"))


def give_it_another_shape(toy: Toy) -> None:
    path = toy.directory / SYSTEM / "experiment.yaml"
    seal(path, {**read_yaml(path), "folds": "session"})


def edit_the_provenance(toy: Toy) -> None:
    (toy.directory / SYSTEM / "fold1_seed1/provenance.yaml").write_text("audio: fbank\n")


def own_lists_that_leak(toy: Toy) -> None:
    lists = toy.directory / "data/folds/session"
    (lists / ".done.json").unlink()
    (lists / "1/valid").write_text((lists / "1/test").read_text())


def own_dump_of_text(toy: Toy) -> None:
    shutil.rmtree(toy.directory / "dump/fbank")
    shutil.copytree(toy.directory / "dump/bert", toy.directory / "dump/fbank")


@pytest.mark.parametrize("first", [1, 5, 6, 7])
@pytest.mark.parametrize(
    "fault",
    [
        cut_the_data, lose_a_list, lose_the_lists, lose_an_archive, damage_a_checkpoint,
        lose_the_marker, edit_the_experiment, give_it_another_shape, edit_the_provenance,
        own_lists_that_leak, own_dump_of_text,
    ],
)  # fmt: skip
def test_what_is_broken_is_whole_after_what_the_messages_advise(
    finished: tuple[Toy, Path], toy: Toy, fault: Callable[[Toy], None], first: int
) -> None:
    """Whatever stage the user begins with: the bytes of before, or scores made of what is there."""
    fault(toy)
    ended, said = follow(Command(toy, first, 7), toy.run(first, 7))
    assert ended == Outcome(0), " -> ".join([*said, ended.said])
    left = differences(outputs(toy.directory), outputs(finished[1]))
    assert not [name for name in left if Path(name).name == "scores.json"], said
