"""The missing runs of a study as lists of tasks, and the jobs that work them off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.study.tasks import Task, n_jobs, read_list, write_list
from tests.unit.killed import killed_at_checkpoint
from tests.unit.studies import ROOT, Recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The toy study, undisturbed, its runs one after the other in this process."""
    recipe = Recipe(tmp_path_factory.mktemp("done"))
    recipe.step("tasks", "--nj=4")
    recipe.work()
    return recipe


def test_every_run_is_trained_and_tested(
    finished: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = sorted(str(path.relative_to(finished.exp).parent)
                  for path in finished.exp.glob("*/*/*/posteriors.tsv"))  # fmt: skip
    assert runs == [
        f"{system}/session/fold{k}_seed1"
        for system in ("cfia_net_fbank_minilm", "linear_fbank")
        for k in (1, 2)
    ]
    finished.step("tasks")
    assert capsys.readouterr().out == "0\n"
    assert finished.tasks() == []


def test_a_run_among_others_has_the_bytes_of_one_alone(finished: Recipe, tmp_path: Path) -> None:
    """The last of a job's runs, and the same one by `cfia train` in a process of its own."""
    recipe = Recipe(tmp_path)
    recipe.step("tasks", "--nj=4")
    last = read_list(recipe.exp / "study" / "toy" / "tasks", 4, 4)[0]
    subprocess.run([sys.executable, "-m", "cfia.bin.train", *last], check=True, cwd=ROOT)
    found = recipe.results()
    assert {Path(name).name for name in found} == {"best.pt", "checkpoint.pt", "history.csv"}
    expected = finished.results()
    assert {name: expected[name] for name in found} == found


def test_a_study_killed_in_the_middle_goes_on(
    finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recipe = Recipe(tmp_path)
    recipe.step("tasks", "--nj=3")
    assert len(recipe.tasks()) == 3  # one for each job, to see how long they take
    with killed_at_checkpoint(monkeypatch, 3):  # in the second run
        recipe.work()
    capsys.readouterr()
    caplog.set_level("INFO")
    recipe.step("plan")
    assert "4 runs of one fold and one seed, 1 done, 3 to do" in caplog.text
    for path in recipe.exp.glob("*/*/*/posteriors.tsv"):
        begun = (path.parent / "config.yaml").stat().st_mtime
        os.utime(path.parent / "checkpoint.pt", (begun + 80, begun + 80))
        os.utime(path, (begun + 8000, begun + 8000))  # tested much later
    recipe.step("tasks", "--nj=2")
    assert "3 of 4 runs are to be made, in about 2 min: 80 s a run, 2 at a time" in caplog.text
    assert len(recipe.tasks()) == 3
    assert capsys.readouterr().out.endswith("\n2\n")
    for job in (2, 1):
        recipe.work(job, 2)
    assert recipe.results() == finished.results()


def test_a_run_made_otherwise_stops_the_study_or_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = Recipe(tmp_path)
    recipe.step("tasks", "--nj=1")
    recipe.work()
    with pytest.raises(UserError, match=r"lr was 0\.005, now"):
        recipe.step("tasks", train_args="lr=1e-2")
    capsys.readouterr()
    recipe.step("tasks", "--nj=9", train_args="lr=1e-2", force="true")
    assert capsys.readouterr().out == "4\n"
    assert len(recipe.tasks()) == 4
    recipe.work()
    for log in recipe.exp.glob("*/*/*/train.log"):  # also of the one that had to be removed
        assert "epoch 2/2" in log.read_text()
    assert len(list(recipe.exp.glob("*/*/*/train.log"))) == 4


def test_a_run_that_fails_does_not_keep_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = Recipe(tmp_path)
    recipe.step("tasks", "--nj=4")
    ark = next((recipe.directory / "dump" / "minilm").glob("*.ark"))
    ark.unlink()
    with pytest.raises(SystemExit) as stopped:
        recipe.work()
    assert stopped.value.code == 1
    assert "raw.1.ark" in caplog.text
    done = {path.parts[-4] for path in recipe.exp.glob("*/*/*/posteriors.tsv")}
    assert done == {"linear_fbank"}
    for system, said in (("cfia_net_fbank_minilm", "error: "), ("linear_fbank", "epoch 2/2")):
        log = (recipe.exp / system / "session" / "fold1_seed1" / "train.log").read_text()
        assert said in log
        assert log.count(said) == 1


@given(st.integers(1, 400), st.integers(1, 50), st.floats(0.1, 500))
def test_there_are_jobs_for_all_processors_and_not_too_many(
    n: int, nj: int, seconds: float
) -> None:
    jobs = n_jobs(n, nj, seconds)
    assert min(n, nj) <= jobs <= min(n, 8 * nj)
    if jobs > nj:
        assert n * seconds / jobs >= 120


def test_arguments_survive_the_list(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    tasks = [Task(Path(f"a b/ü{i}"), ("--train_args", "x=[1, 2] y='z'", f"a b/ü{i}"))
             for i in range(7)]  # fmt: skip
    write_list(path, tasks)
    shares = [read_list(path, job, 3) for job in (1, 2, 3)]
    assert [len(share) for share in shares] == [3, 2, 2]
    every = sorted((share for part in shares for share in part), key=lambda a: a[-1])
    assert [tuple(one) for one in every] == [task.arguments for task in tasks]
    with pytest.raises(UserError, match="is not there; run stage 5 of the study again"):
        read_list(tmp_path / "none", 1, 1)
