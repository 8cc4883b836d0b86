"""What --refit and --tune take from a finished training without them, which is the same."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from cfia.bin import train
from cfia.files import read_yaml, write_yaml
from cfia.training import checkpoint
from cfia.training.history import HISTORY
from tests.support.experiment import SYSTEMS, command, fitted, make, mark_again, plan
from tests.support.killed import killed_at_checkpoint

ARGS = "hidden=4 channels=4 features=3 batch_size=8 normalisation=global dropout=0.2 lr=0.1"
ARGS += " epochs=4 patience=3"
CHOICES = {"session-refit": {"refit": "true"}, "session-tune2": {"tune": "2"}}
TAKEN = "it is that of "


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("same"))
    (root / "tune.yaml").write_text("lr: [own, x0.01]\n")
    return root


def planned(root: Path, exp: Path, scheme: str, args: str = ARGS) -> Path:
    directory, config = exp / "cfia_net" / scheme, SYSTEMS / "cfia_net.yaml"
    options, file = CHOICES.get(scheme, {}), root / "tune.yaml"
    return plan(root, directory, args, force=False, config=config, tune_file=file, **options)


@pytest.fixture(scope="module", params=CHOICES)
def alone(root: Path, request: pytest.FixtureRequest) -> Path:
    """A training with --refit or --tune that has no other to take from."""
    return fitted(planned(root, root / "alone", request.param))


def files(training: Path) -> dict[str, bytes]:
    """All that it has made but what knows the time."""
    made = [*training.rglob("*.pt"), *training.rglob(HISTORY), training / "posteriors.tsv"]
    return {str(path.relative_to(training)): path.read_bytes() for path in made}


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_taken_is_what_would_have_been_trained(
    root: Path, alone: Path, tmp_path: Path, killed: bool, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fitted(planned(root, tmp_path, "session"))
    caplog.set_level("INFO")
    training = planned(root, tmp_path, alone.parent.name)
    if killed:  # as it takes it, and in the next pass
        for checkpoints in (1, 2):
            with killed_at_checkpoint(monkeypatch, checkpoints):
                train.main(command(training))
    assert files(fitted(training)) == files(alone)
    first = {"session-refit": "selection", "session-tune2": "tune1"}[alone.parent.name]
    assert any((training / first / "tensorboard").iterdir())
    source = tmp_path / "cfia_net" / "session" / "fold1_seed1"
    assert caplog.text.count(TAKEN) == 1
    assert f"{training / first}: {TAKEN}{source}" in caplog.text


def test_a_probe_is_fitted_again(root: Path, tmp_path: Path) -> None:
    """It takes seconds, and has no checkpoint from which a pass could go on."""
    probe = partial(plan, root, force=False, config=SYSTEMS / "probe.yaml", train_args="")
    fitted(probe(tmp_path / "probe" / "session"))
    found = fitted(probe(tmp_path / "probe" / "session-refit", refit="true"))
    alone = fitted(probe(tmp_path / "alone" / "session-refit", refit="true"))
    assert files(found) == files(alone)


def otherwise(root: Path, exp: Path, how: str) -> None:
    """Make the training without --refit and --tune so that it may not be taken."""
    args = f"{ARGS} dropout=0.3" if how == "another configuration" else ARGS
    plain = planned(root, exp, "session", args)
    if how == "unfinished":
        with pytest.MonkeyPatch.context() as patch, killed_at_checkpoint(patch, 2):
            train.main(command(plain))
        return
    fitted(plain)
    if how == "another commit":
        path = plain / "provenance.yaml"
        write_yaml(path, {**read_yaml(path), "commit": "0123456789ab"})
        mark_again(plain)
    elif how == "changed":
        content = checkpoint.load(plain / "best.pt", checkpoint.Network)
        checkpoint.save(plain / "best.pt", {**content, "epoch": 77})
    elif how == "removed":
        shutil.rmtree(plain.parent)


@pytest.mark.parametrize(
    "how", ["another configuration", "another commit", "unfinished", "changed", "removed"]
)
def test_nothing_else_is_taken(
    root: Path, alone: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    otherwise(root, tmp_path, how)
    caplog.set_level("INFO")
    training = planned(root, tmp_path, alone.parent.name)
    assert files(fitted(training)) == files(alone)
    assert TAKEN not in caplog.text
