"""Two run.sh at once in one recipe."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe
from tests.support.iemocap_tree import write_iemocap
from tests.support.lock_holder import holder
from tests.support.outputs import is_leftover
from tests.support.processes import eventually

TINY = ["--allow_partial", "true", "--stage", "1", "--nj", "1", "--audio_upstream", "fbank"]
TINY += ["--systems", "audio", "--train_args", "epochs=1 hidden=4 channels=2 features=2"]


def recipe(root: Path) -> Recipe:
    """The recipe of IEMOCAP with a corpus of two sessions, nothing run yet."""
    made = Recipe(root, "iemocap", TINY)
    made.corpus = root.parent / "corpus"
    if not made.corpus.exists():
        write_iemocap(made.corpus, sessions=2)
    return made


def at_once(made: Recipe, *arguments: list[str]) -> list[str]:
    """Start several runs together; what each printed, once all have ended well."""
    runs = [
        subprocess.Popen(
            made.command(*words), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for words in arguments
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), said
    return said


def test_two_runs_at_once_make_data_and_features_once(tmp_path: Path) -> None:
    made = recipe(tmp_path / "project")
    first, second = at_once(made, ["--stop_stage", "3"], ["--stop_stage", "3"])
    for directory in ("data/all", "data/folds/session", "dump/fbank"):
        done = [f"{directory}: already made, skipping" in said for said in (first, second)]
        assert sorted(done) == [False, True], directory
    assert not [path for path in made.directory.rglob(".*") if is_leftover(Path(path.name))]
    dump = made.directory / "dump" / "fbank"
    scp = (dump / "feats.scp").read_bytes()
    with holder("reading", dump) as process:
        said = made.run("--stage", "3", "--stop_stage", "3", "--force", "true", code=1)
    assert f"error: dump/fbank is in use by -c, process {process.pid} on " in said
    assert (dump / "feats.scp").read_bytes() == scp


@pytest.mark.slow
def test_whole_runs_at_once_end_well_with_the_bytes_of_one(tmp_path: Path) -> None:
    alone, made = recipe(tmp_path / "alone"), recipe(tmp_path / "project")
    alone.run("--seeds", "1 2")
    said = at_once(made, ["--seeds", "1"], ["--seeds", "1"], ["--seeds", "1 2"])
    assert any("is being made by run.sh, process " in text for text in said)
    made.run("--seeds", "1 2")
    assert made.files() == alone.files()
    logs = made.directory.glob("exp/*/*/fold*_seed*/train.log")
    assert all(log.read_text().count("\nepoch 1/1 ") == 1 for log in logs), "each once"


@pytest.mark.slow
def test_a_killed_run_holds_nobody(tmp_path: Path) -> None:
    made = recipe(tmp_path / "project")
    made.run("--stop_stage", "4")
    command = made.command("--stage", "5", "--stop_stage", "5")
    run = subprocess.Popen(command, start_new_session=True)
    eventually("it trains", lambda: any(made.directory.glob("exp/*/*/.fold*.lock")))
    os.killpg(run.pid, signal.SIGKILL)  # run.sh, all that it calls, and what holds for it
    run.wait()
    made.run("--stage", "5")
    assert (made.directory / "exp" / "RESULTS.md").exists()
    assert not [path for path in made.directory.rglob(".*") if is_leftover(Path(path.name))]
