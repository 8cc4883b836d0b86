"""The missing trainings of a study as lists, and the jobs that work them off."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia.bin import score, train
from cfia.errors import UserError
from cfia.files import read_json, read_yaml
from cfia.report.experiments import listing
from cfia.study import tasks
from cfia.study.protocol_rows import own_epochs
from cfia.study.study_rows import results
from cfia.study.tasks import n_jobs, outlook
from cfia.study.write import write_tables
from cfia.training.task_list import Task, read_list, write_list
from tests.support.experiment import seal
from tests.support.killed import killed_at_checkpoint
from tests.support.studies import Recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The toy study, undisturbed, its trainings one after the other in this process."""
    recipe = Recipe(tmp_path_factory.mktemp("done"))
    recipe.list_trainings(nj="4")
    recipe.train()
    recipe.test()
    return recipe


def test_every_training_is_done_and_tested(finished: Recipe) -> None:
    tested = sorted(str(path.relative_to(finished.exp).parent)
                    for path in finished.exp.glob("*/*/*/posteriors.tsv"))  # fmt: skip
    assert tested == [
        f"{system}/session/fold{k}_seed1"
        for system in ("cfia_net_fbank_minilm", "linear_fbank")
        for k in (1, 2)
    ]
    assert finished.list_trainings() == 0
    assert finished.listed() == []
    assert tasks.list_posteriors(finished.plan()) == 0


def test_a_row_of_one_fold_is_a_finished_experiment_that_says_so(tmp_path: Path) -> None:
    row = "{cv: session, input: audio, systems: [linear], folds: [2]}"
    args = "{epochs: 1, hidden: 4, channels: 4, features: 3}"
    recipe = Recipe(tmp_path, f"train_args: {args}\ntables: {{t: {{rows: [{row}]}}}}")
    recipe.list_trainings()
    recipe.train()
    recipe.test()
    directory = recipe.exp / "linear_fbank" / "session-fold2"
    assert [path.name for path in directory.glob("fold*")] == ["fold2_seed1"]
    score.main(["--expdir", str(recipe.exp)])
    scores = read_json(directory / "scores.json")
    assert list(scores["folds"]) == ["2"]
    assert not scores["protocol"]["missing"]
    (line,) = [line for line in listing(recipe.exp).splitlines() if "linear" in line]
    assert line.split().count("1") == 5, "seed 1, 1 of 1 begun, 1 of 1 tested"
    assert line.endswith("fold 2 of 2 alone")
    table = recipe.exp / "tables" / "t.md"
    write_tables(recipe.plan())
    assert "linear_fbank (fold 2 of 2 alone)" in table.read_text()
    assert "leave one session out, 2 folds; fold 2 alone; validation" in table.read_text()


def test_best_epochs_of_their_own_are_those_that_an_oracle_selects(tmp_path: Path) -> None:
    """Of UA, which selects, to the last bit; WA at its own best epoch is at least as good."""
    rows = "[{name: base}, {name: oracle, selection: test}, "
    rows += "{name: own, selection: test, reported: own_epochs}]"
    args = "{epochs: 4, hidden: 4, channels: 4, features: 3, batch_size: 16, lr: 5e-3}"
    blocks = "[{block: Linear, systems: [linear], input: audio}]"
    table = f"{{layout: protocol, cv: session, blocks: {blocks}, rows: {rows}}}"
    recipe = Recipe(tmp_path, f"train_args: {args}\ntables: {{t: {table}}}")
    recipe.list_trainings(nj="4")
    recipe.train()
    recipe.test()
    _, oracle, own = results(recipe.plan())
    assert oracle.scored is not None
    assert own.scored is not None
    best = own_epochs(own.scored)
    for name, folds in best.items():
        of_oracle = [fold[name] for fold in oracle.scored.scores["folds"].values()]
        assert (folds[0] >= np.subtract(of_oracle, 1e-9)).all()
        if name == "ua":
            assert folds[0] == pytest.approx(of_oracle)
    assert "WA and UA of different epochs" in write_tables(recipe.plan())


def test_a_training_among_others_has_the_bytes_of_one_alone(
    finished: Recipe, tmp_path: Path
) -> None:
    """The last of a job's trainings, and the same one by the command that its log shows."""
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    line = recipe.listed()[-1]
    log = finished.exp / "linear_fbank" / "session" / "fold2_seed1" / "train.log"
    logged = log.read_text().splitlines()[0]
    assert (
        logged == f"# python -m cfia.bin.train {line.replace(str(recipe.exp), str(finished.exp))}"
    )
    words = [w.replace(str(finished.exp), str(recipe.exp)) for w in shlex.split(logged)[2:]]
    command = [sys.executable, "-X", "importtime", *words]
    said = subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.PIPE, text=True).stderr
    assert " torch\n" in said
    assert "torch._dynamo" not in said  # the compiler: nothing is compiled, and it takes seconds
    files = recipe.results()
    assert {Path(name).name for name in files} == {"best.pt", "checkpoint.pt", "history.csv"}
    expected = finished.results()
    assert {name: expected[name] for name in files} == files


def test_a_study_killed_in_the_middle_goes_on(
    finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="3")
    assert len(recipe.listed()) == 3  # one for each job, to see how long they take
    with killed_at_checkpoint(monkeypatch, 3):  # in the second training
        recipe.train()
    with pytest.raises(SystemExit):  # three are not trained
        recipe.test()
    caplog.set_level("INFO")
    tasks.describe(recipe.plan())
    assert "4 trainings, 1 done, 3 to do" in caplog.text
    for path in recipe.exp.glob("*/*/*/posteriors.tsv"):
        begun = (path.parent / "provenance.yaml").stat().st_mtime
        os.utime(path.parent / "checkpoint.pt", (begun + 80, begun + 80))
        os.utime(path, (begun + 8000, begun + 8000))  # tested much later
    assert recipe.list_trainings(nj="2") == 2
    said = "3 of 4 trainings are to be done, 1 of them in about 1 min: 80 s each, 2 at a time; "
    assert f"{said}linear_fbank will tell as they are trained" in caplog.text
    assert len(recipe.listed()) == 3
    for job in (2, 1):
        recipe.train(job, 2)
    recipe.test()
    assert recipe.results() == finished.results()


def test_an_experiment_made_otherwise_stops_the_study_or_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="1")
    recipe.train()
    with pytest.raises(UserError, match=r"lr was 0\.005, now .* --tag NAME keeps both"):
        recipe.list_trainings(train_args="lr=1e-2")
    assert recipe.list_trainings(nj="9", train_args="lr=1e-2", force="true") == 4
    assert len(recipe.listed()) == 4
    recipe.train()
    for log in recipe.exp.glob("*/*/*/train.log"):
        assert "epoch 2/2" in log.read_text()
    assert len(list(recipe.exp.glob("*/*/*/train.log"))) == 4


def test_force_makes_again_what_was_made_in_the_same_way(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    recipe.train()
    recipe.test()
    before = recipe.results()
    recipe.test(force="true")  # stage 6: the networks stay
    assert recipe.results() == before
    assert recipe.list_trainings(nj="9", force="true") == 4
    assert recipe.results() == {}
    assert recipe.list_trainings(nj="9") == 4
    recipe.train()
    recipe.test()
    assert recipe.results() == before


def test_some_folds_are_made_and_the_others_stay(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    options = {"study": "", "systems": "linear_audio", "train_args": "epochs=1"}

    def work(**more: str) -> list[str]:
        """The folds that are listed, and trained then."""
        plan = recipe.plan(**options, **more)
        tasks.write_experiments(plan)
        tasks.list_trainings(plan)
        path = plan.directory / "train.list"
        train.main(["--list", str(path), "--job", "1", "--jobs", "1"])
        return [shlex.split(line)[2] for line in path.read_text().splitlines()]

    assert work(folds="2") == ["2"]
    second = recipe.results()
    assert work() == ["1"]
    assert work(folds="2", force="true") == ["2"]  # the first stays
    assert recipe.results().items() >= second.items()
    assert work(folds="1,2") == []
    with pytest.raises(UserError, match=r"--folds names 3, and .*/session has 1 to 2"):
        work(folds="1 3")
    with pytest.raises(UserError, match="--folds is for a plain run"):
        recipe.request(folds="1")


def test_a_job_of_a_list_does_not_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed and called again, it would begin again with what it has finished."""
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    recipe.train()
    before = recipe.results()
    with pytest.raises(SystemExit) as stopped:
        train.main([*recipe.job("train", 1, 1), "--force", "true"])
    assert stopped.value.code == 2
    assert "--force goes with one training" in capsys.readouterr().err
    assert recipe.results() == before


def test_force_also_trains_again_what_was_damaged(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    recipe.train()
    (recipe.exp / "linear_fbank" / "session" / "fold1_seed1" / "history.csv").unlink()
    with pytest.raises(UserError, match=r"its file history.csv is gone\); stage 5 .*--force"):
        recipe.list_trainings()
    assert recipe.list_trainings(nj="9", force="true") == 4
    recipe.train()
    path = recipe.exp / "cfia_net_fbank_minilm" / "session" / "experiment.yaml"
    path.write_text(path.read_text().replace("align:", "aligned:"))
    with pytest.raises(UserError, match=r"experiment\.yaml was cut or edited.*--force true"):
        recipe.list_trainings()
    seal(path, read_yaml(path))  # as another version of cfia might have written it
    with pytest.raises(UserError, match=r"is of another version of cfia.*--force true"):
        recipe.list_trainings()
    assert recipe.list_trainings(nj="9", force="true") == 4


def test_another_cache_is_no_other_experiment(finished: Recipe) -> None:
    assert finished.list_trainings(feature_cache="none") == 0
    assert finished.list_trainings() == 0


def test_trainings_of_an_earlier_version_are_refused_or_made_again(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    old = recipe.exp / "linear_fbank" / "session" / "fold1_seed1" / "config.yaml"
    old.parent.mkdir(parents=True)
    old.touch()
    (old.parent / ".done.json").write_text('{"state": "done", "options": {}, "inputs": {}}')
    with pytest.raises(UserError, match=r"session was made differently \(it has no exp"):
        recipe.list_trainings()
    recipe.list_trainings(force="true")
    assert not old.exists()
    old.parent.mkdir(parents=True, exist_ok=True)
    old.touch()
    for force in ("false", "true"):  # no marker says what made it
        with pytest.raises(UserError, match=r"holds config\.yaml but no marker .*move it away or"):
            recipe.list_trainings(force=force)


def test_a_training_that_fails_does_not_keep_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = Recipe(tmp_path)
    recipe.list_trainings(nj="4")
    ark = next((recipe.directory / "dump" / "minilm").glob("*.ark"))
    ark.unlink()
    with pytest.raises(SystemExit) as stopped:
        recipe.train()
    assert stopped.value.code == 1
    assert "raw.1.ark" in caplog.text
    done = {path.parts[-4] for path in recipe.exp.glob("*/*/*/best.pt")}
    assert done == {"linear_fbank"}
    for system, said in (("cfia_net_fbank_minilm", "error: "), ("linear_fbank", "epoch 2/2")):
        log = (recipe.exp / system / "session" / "fold1_seed1" / "train.log").read_text()
        assert said in log
        assert log.count(said) == 1


def test_a_plain_run_has_one_training_in_a_job(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path, systems="linear_audio linear_text")
    plan = recipe.plan("")
    tasks.write_experiments(plan)
    assert tasks.list_trainings(plan) == 4
    assert plan.directory.parent == recipe.exp / "log"
    other = recipe.plan("", systems="linear_audio")
    assert other.directory != plan.directory  # two runs at a time do not share a list


@given(st.integers(1, 400), st.integers(1, 50), st.floats(0.1, 500))
def test_there_are_jobs_for_all_processors_and_not_too_many(
    n: int, nj: int, seconds: float
) -> None:
    jobs = n_jobs(n, nj, n * seconds)
    assert min(n, nj) <= jobs <= min(n, 16 * nj)
    if jobs > nj:
        assert n * seconds / jobs >= 120


@pytest.mark.parametrize(
    ("times", "others", "expected"),
    [
        ([math.nan] * 3, ["a"], "3 of 4 trainings are to be done; the first will tell"),
        ([60.0, 60.0, 0.0], [], "in about 1 min: 60 s each, 2 at a time"),
        ([60.0, 180.0, 180.0], [], "in about 4 min: 60 to 180 s each, 2 at a time"),
        ([3.0, 0.0, math.nan], ["a", "b"], "1 of them in about 0 min: 3 s each, 2 at a time; a, "),
        ([3.0] * 9 + [math.nan], list("abcd"), "9 of them in about 0 min: 3 s each"),
        ([3.0, math.nan], list("abcd"), "; 4 systems will tell as they are trained"),
        ([], [], "0 of 1 trainings are to be done"),
    ],
)  # fmt: skip
def test_the_outlook_says_what_is_known(
    times: list[float], others: list[str], expected: str
) -> None:
    assert expected in outlook(times, others, done=1, nj=2)


def test_tasks_survive_the_list(tmp_path: Path) -> None:
    path = tmp_path / "train.list"
    written = [Task(Path(f"a b/ü{i}"), i or None, 7) for i in range(7)]  # of all, and of folds
    write_list(path, written)
    shares = [read_list(path, job, 3) for job in (1, 2, 3)]
    assert [len(share) for share in shares] == [3, 2, 2]
    read = [task for share in shares for task in share]
    assert sorted(read, key=lambda task: task.experiment) == written
    with pytest.raises(UserError, match="is not there; run the stage again"):
        read_list(tmp_path / "none", 1, 1)
