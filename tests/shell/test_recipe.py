"""The mini recipe, reduced, through run.sh: from nothing to a table, and what users do next."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe

# Stage 0 is called apart from run.sh (make_corpus), which would make the corpus at its full size.
SMALL = ["--stage", "1", "--train_args", "epochs=2 hidden=8 channels=4 features=4"]
SMALL += ["--nj", "2", "--systems", "audio_text text"]
SYSTEMS = ["cfia_net_fbank_minilm", "cfia_net_minilm"]
# A checkout's name of what shells take for more than itself; its files hold whatever a user typed.
CHECKOUT = "R&D it's a $HOME of CFIA_JOB ü (1) [x]*;#%{}~\\"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe, run once from nothing."""
    recipe = Recipe(tmp_path_factory.mktemp("one") / CHECKOUT, "mini_iemocap", SMALL)
    make_corpus(recipe)
    said = recipe.run()
    assert "WA" in said
    assert "UA" in said
    return recipe


def make_corpus(recipe: Recipe) -> None:
    """A smaller corpus than the recipe's own, made by its synthesiser: three sessions of five.

    Its texts are one batch, and so one job, for a job of a text encoder starts for seven seconds.
    """
    script = '. ./path.sh && local/corpus.sh --utterances_per_speaker 10 "$1"'
    script += ' && rm -r "$1"/Session[45]'
    subprocess.run(
        ["bash", "-c", script, "-", str(recipe.corpus)], check=True, cwd=recipe.directory
    )


def test_everything_is_where_people_expect_it(finished: Recipe) -> None:
    d = finished.directory
    for name in ("wav.scp", "text", "utt2spk", "spk2utt", "utt2dur", "utt2emo", "utt2session"):
        assert (d / "data" / "all" / name).is_file(), name
    for k in (1, 2, 3):
        for part in ("train", "valid", "test"):
            assert (d / "data" / "folds" / "session" / str(k) / part).is_file()
    assert (d / "data" / "folds" / "speaker" / "6" / "test").is_file()
    for name in ("fbank", "minilm"):
        for file in ("feats.scp", "frontend.yaml", f"raw_{name}.1.ark", "log/dump.1.log"):
            assert (d / "dump" / name / file).is_file(), file
    for system in SYSTEMS:
        for k in (1, 2, 3):
            fold = d / "exp" / system / "session" / f"fold{k}_seed1"
            for file in (
                "provenance.yaml",
                "train.log",
                "history.csv",
                "checkpoint.pt",
                "posteriors.tsv",
            ):
                assert (fold / file).is_file(), file
            command = f"# python -m cfia.bin.train exp/{system}/session --fold {k} --seed 1"
            assert (fold / "train.log").read_text().splitlines()[0] == command
        for file in ("experiment.yaml", "scores.json", "confusion.png", "reliability.svg"):
            assert (d / "exp" / system / "session" / file).is_file(), file
    for file in ("RESULTS.md", "report.html", "tables/results_session.png"):
        assert (d / "exp" / file).is_file(), file


def test_jobs_are_given_words_that_no_shell_takes_for_more(finished: Recipe) -> None:
    """So that a site's own run.pl or queue.pl, which quotes none, can take the place of run.py."""
    logs = [*finished.directory.glob("dump/*/log/dump.*.log"),
            *finished.directory.glob("exp/log/*/log/*.log")]  # fmt: skip
    assert {log.name for log in logs} >= {"dump.1.log", "train.1.log", "posteriors.1.log"}
    for log in logs:
        command = log.read_text().splitlines()[0].removeprefix("# ")
        assert command.startswith("python -m cfia.bin.")
        assert re.fullmatch("[A-Za-z0-9_./=,:+ -]+", command), command


def test_scores_have_the_agreed_layout(finished: Recipe) -> None:
    path = finished.directory / "exp" / SYSTEMS[0] / "session" / "scores.json"
    scores = json.loads(path.read_text())
    spreads = {"fold_mean", "fold_std", "seed_std"}
    assert set(scores) == {"pooled", "folds", "seeds", "protocol"} | spreads
    assert set(scores["pooled"]) >= {"wa", "ua", "wf1", "macro_f1", "n", "ci95"}
    assert set(scores["pooled"]["subsets"]) >= {"improvised", "scripted", "unseen_text"}
    low, high = scores["pooled"]["ci95"]["ua"]
    assert low <= scores["pooled"]["ua"] <= high
    assert list(scores["folds"]) == ["1", "2", "3"]
    utts = (finished.directory / "data" / "all" / "utt2emo").read_text().splitlines()
    assert scores["pooled"]["n"] == len(utts)
    assert scores["seeds"]["1"]["pooled"]["ua"] == scores["pooled"]["ua"]


def test_results_say_what_made_them_and_that_the_corpus_is_synthetic(finished: Recipe) -> None:
    text = (finished.directory / "exp" / "RESULTS.md").read_text()
    for part in (*SYSTEMS, "run.sh", "random20", "synthetic", "torch"):
        assert part in text, part
    assert str(finished.root) not in text.replace(str(finished.corpus), "")


def test_run_again_it_skips_everything_and_changes_no_byte(finished: Recipe) -> None:
    before = finished.files()
    times = {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*.ark")}
    said = finished.run()
    assert said.count("skipping") >= 4  # data, folds, two dumps
    assert finished.files() == before
    assert {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*.ark")} == times


def test_other_options_stop_and_a_tag_keeps_both(finished: Recipe) -> None:
    more = ["--systems", "text", "--train_args", "epochs=1 hidden=8 channels=4 features=4"]
    said = finished.run("--stage", "5", *more, code=1)
    assert "--train_args epochs was 2, now 1" in said
    assert "--tag" in said
    before = finished.files()
    more += ["--tag", "short", "--nj", "1", "--folds", "1 3"]  # a look at two folds
    said = finished.run("--stage", "5", *more)
    assert "cfia_net_minilm_short/session (partial: folds 1 3 of 3): UA" in said
    assert "Stage 8: left out" in said
    name = "cfia_net_minilm_short/session"
    trial = finished.directory / "exp" / name
    assert sorted(path.name for path in trial.glob("fold*")) == ["fold1_seed1", "fold3_seed1"]
    assert json.loads((trial / "scores.json").read_text())["protocol"]["partial"] is True
    script = f". ./path.sh && cfia experiments && cfia experiments --remove {name}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=finished.directory, capture_output=True, text=True, check=True
    )
    assert re.search(rf"{name} +1 +2 of 3 +2 of 3 .*partial", done.stdout)
    assert finished.files() == before


def test_stages_can_be_run_one_by_one_and_skipped(finished: Recipe) -> None:
    said = finished.run("--stage", "1", "--stop_stage", "4", "--skip_stages", "2 3")
    assert [n for n in range(9) if f"Stage {n}:" in said] == [1, 4]


def test_every_validation_has_its_folds(finished: Recipe) -> None:
    for cv, validation in (("speaker", "partner"), ("session", "next_session")):
        finished.run("--stage", "2", "--stop_stage", "2", "--cv", cv, "--validation", validation)
        path = finished.directory / "data" / "folds" / f"{cv}-{validation}" / "1" / "valid"
        assert path.is_file()
        shutil.rmtree(path.parents[1])
    shutil.rmtree(finished.directory / "data" / "folds" / "speaker-next_session")


def test_a_stage_without_its_predecessor_says_which_to_run(
    finished: Recipe, tmp_path: Path
) -> None:
    said = finished.run("--datadir", str(tmp_path), "--stage", "5", code=1)
    assert "error: there are no folds in" in said
    assert "run stage 2" in said
    said = finished.run("--expdir", str(tmp_path), "--stage", "6", code=1)
    assert "experiment.yaml is not there; run stage 5 (training) first" in said


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    finished: Recipe, tmp_path: Path
) -> None:
    """Of one of the two systems, so that all but the tables is to be as it was."""
    recipe = Recipe(tmp_path / "a project ü", "mini_iemocap", [*SMALL, "--systems", "audio_text"])
    shutil.copytree(finished.corpus, recipe.corpus, copy_function=shutil.copy2)
    for seconds in (3, 7, 11):
        process = subprocess.Popen(
            recipe.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
    recipe.run()
    ours, theirs = (
        {name: data for name, data in made.files().items() if not name.startswith("exp/tables/")}
        for made in (recipe, finished)
    )
    theirs = {name: theirs[name] for name in theirs if SYSTEMS[1] not in name}
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_what_was_exchanged_or_cut_stops_and_force_mends_it(finished: Recipe) -> None:
    before = finished.files()
    experiment = finished.directory / "exp" / SYSTEMS[1] / "session"
    first, second = (experiment / f"fold{k}_seed1" for k in (1, 2))
    shutil.copy(second / "best.pt", first / "best.pt")
    os.truncate(second / "posteriors.tsv", 100)
    stage_5 = "stage 5 (training) with --force true makes it and what follows again"
    for stage in ("5", "6", "7"):
        said = finished.run("--stage", stage, code=1)
        assert "fold1_seed1 is not as it was made (its file best.pt was changed after" in said
        assert stage_5 in said
    text = ["--systems", "text", "--nj", "1", "--force", "true"]
    finished.run("--stage", "5", "--stop_stage", "5", *text)
    lines = (first / "train.log").read_text().splitlines()
    assert lines[0].startswith("# python -m cfia.bin.train")
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert not (experiment / "scores.json").exists()  # of networks that are gone
    finished.run("--stage", "6", "--stop_stage", "6", "--nj", "1")
    os.truncate(second / "posteriors.tsv", 100)
    said = finished.run("--stage", "7", code=1)
    assert "posteriors.tsv has 100 bytes" in said
    assert "stage 6 (posteriors) with --force true" in said
    finished.run("--stage", "6", *text)
    assert finished.files() == before


@pytest.mark.slow
def test_stage_9_packs_a_network_of_all_utterances(finished: Recipe) -> None:
    before = finished.files()
    said = finished.run("--stage", "9", "--systems", "text")
    assert [n for n in range(10) if f"Stage {n}:" in said] == [9]
    experiment = finished.directory / "exp" / SYSTEMS[1] / "session"
    first, *_, last = (experiment / "all_seed1" / "train.log").read_text().splitlines()
    assert first == f"# python -m cfia.bin.train exp/{SYSTEMS[1]}/session --fold all --seed 1"
    assert last.endswith("the last, is taken; no part validated")
    files = {path.name for path in (experiment / "pack").iterdir()}
    assert files == {"config.json", "model.safetensors", "README.md", ".done.json"}
    card = (experiment / "pack" / "README.md").read_text()
    assert "> Synthetic speech (espeak-ng)" in card
    assert "run.sh" in card
    assert str(finished.root) not in card
    shutil.rmtree(experiment / "all_seed1")
    shutil.rmtree(experiment / "pack")
    assert finished.files() == before


def test_a_project_that_moved_goes_on(finished: Recipe) -> None:
    before = finished.files()
    moved = Recipe(finished.root.rename(finished.root.with_name("moved")), "mini_iemocap", SMALL)
    said = moved.run()
    assert said.count("skipping") >= 4
    # Audio is found where it is now.
    moved.run("--stage", "3", "--stop_stage", "3", "--dumpdir", "dump2")
    for place in ("dump", "dump2"):
        archive = (moved.directory / place / "fbank" / "raw_fbank.1.ark").read_bytes()
        assert archive == before["dump/fbank/raw_fbank.1.ark"]
    shutil.rmtree(moved.directory / "dump2")
    moved.root.rename(finished.root)
    assert finished.files() == before


def test_a_study_from_its_plan_to_its_tables(finished: Recipe) -> None:
    """The folds and dumps are there; a row whose model is not is not run."""
    study = ["--study", "smoke", "--stage", "2", "--nj", "1"]
    said = finished.run(*study, "--dry_run", "true")
    assert "28 trainings; 10 experiments, seeds 1" in said
    assert "not run (table2): linear on wavlm, session: no model given" in said
    assert "reckoned, not measured: " in said
    assert not (finished.directory / "exp" / "study").exists()
    said = finished.run(*study)
    assert "28 of 28 trainings are to be done; the first will tell how long it takes" in said
    told = r"27 of 28 trainings are to be done, \d+ of them in about \d+ min: \d+ s each"
    assert re.search(rf"{told}, 1 at a time; \d systems will tell", said)
    tables = finished.directory / "exp" / "tables" / "smoke"
    for number in (1, 2, 3, 4):
        for ending in ("md", "tex", "csv"):
            assert "as published" in (tables / f"table{number}.{ending}").read_text()
    assert "not run: no model given" in (tables / "table2.md").read_text()
    with open(tables / "peers.csv", newline="") as handle:
        rows = {row["method"]: row for row in csv.DictReader(handle)}
    scored = {name: bool(row["ua"] and row["weights"]) for name, row in rows.items()}
    names = ("MemoCMT-style", "CFIA-Net", "Probe", "Linear head", "Linear head on text")
    assert scored == dict.fromkeys(names, True)
    assert [name for name, row in rows.items() if row["difference"]] == ["MemoCMT-style", "Probe"]
    stamps = "speakers in training and test; fold 1 of 4 alone"
    assert stamps in (tables / "protocol.md").read_text()
    assert (tables / "protocol.png").exists()
    before = {path: path.read_bytes() for path in tables.iterdir()}
    said = finished.run("--study", "smoke", "--stage", "8")
    assert "28 done, 0 to do" in said
    assert "reckoned" not in said
    assert "tables of the study smoke: up to date" in said
    assert before == {path: path.read_bytes() for path in tables.iterdir()}
