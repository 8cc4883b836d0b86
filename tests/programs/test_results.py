"""Stage 8 on made-up runs: RESULTS.md and tables."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem

from cfia.bin.compare import main as compare
from cfia.bin.experiments import main as experiments
from cfia.bin.report import main as report
from cfia.bin.score import main as score
from cfia.experiment import read
from cfia.files import read_json
from cfia.kaldi.table import write_table
from cfia.metrics import HEADLINES, METRICS
from tests.support.made_up_experiments import (
    CLASSES,
    corpus,
    histories,
    mark,
    read_pairs,
    run,
    run_fold,
    stages,
    write_experiment,
)


def snapshot(expdir: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file."""
    files = (path for path in expdir.rglob("*") if path.is_file())
    return {str(p.relative_to(expdir)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_run_again_nothing_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, seeds=(1, 2))
    run(tmp_path, "other")
    histories(tmp_path)
    stages(tmp_path)
    first, table = snapshot(tmp_path / "exp"), capsys.readouterr().out
    stages(tmp_path)
    assert snapshot(tmp_path / "exp") == first
    assert capsys.readouterr().out == table
    assert not [name for name in first if ".tmp" in name]
    assert "other/session/learning_curves.png" in first
    assert "net_fbank/session/confusion.png" in first


def test_results_do_not_depend_on_the_day_or_on_the_order_of_directories(tmp_path: Path) -> None:
    run(tmp_path, "b")
    run(tmp_path, "a")
    stages(tmp_path)
    first = {name: data for name, (data, _) in snapshot(tmp_path / "exp").items()}
    shutil.rmtree(tmp_path / "exp")
    run(tmp_path, "a")
    run(tmp_path, "b")
    for path in tmp_path.rglob("provenance.yaml"):
        path.write_text(path.read_text().replace("2024-", "2031-"))
    for path in (tmp_path / "exp").glob("*/session"):
        mark(path)
    stages(tmp_path)
    for name, (data, _) in snapshot(tmp_path / "exp").items():
        if not name.endswith(("provenance.yaml", ".done.json")):  # the digest of the other
            assert data == first[name], name


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of two systems' experiments, scored and reported, and what the screen had."""
    tmp = tmp_path_factory.mktemp("reported")
    run(tmp, "weak_fbank", skill=0.3)
    run(tmp, "strong_fbank", skill=2.5)
    conf = tmp / "corpus.yaml"
    lines = ["title: A made-up corpus", "note: The speech is", "  synthetic."]
    conf.write_text("\n".join([*lines, "standard: {cv: session}"]) + "\n")
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        score(["--expdir", str(tmp / "exp")])
        report(["--expdir", str(tmp / "exp"), "--corpus_conf", str(conf)])
    return tmp / "exp", screen.getvalue()


@pytest.mark.parametrize(
    "wanted",
    [
        "abc123+dirty",
        "leave one session out, 3 folds; validation random20 (the corpus's standard); epoch",
        # The validation part has one utterance, of a speaker who is trained on.
        "Validation shares speakers with training, the test does not",
        "| chance (always ",
        "| 25.00 |",
        "| strong_fbank | weak_fbank | +",
        "| 0.0312 |",  # six speakers who all favour one system: 2 of 64 patterns of signs
        "McNemar",
        "takes utterances as independent",
        "audio.model: tiny.en",  # not where it lies on this machine
    ],
)
def test_results_hold_what_a_reader_needs(reported: tuple[Path, str], wanted: str) -> None:
    assert wanted in (reported[0] / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    "fact", ["./run.sh --nj 2", "lr: 0.0001", "environment.torch: 2.13.0", "audio.dim: 80"]
)
def test_results_say_a_fact_of_all_folds_once(reported: tuple[Path, str], fact: str) -> None:
    assert (reported[0] / "RESULTS.md").read_text().count(fact) in (1, 2)  # of two systems


def test_results_begin_with_the_corpus_and_name_no_day(reported: tuple[Path, str]) -> None:
    results = (reported[0] / "RESULTS.md").read_text()
    assert results.startswith("# A made-up corpus: results\n\n> The speech is synthetic.\n")
    assert "started" not in results


def test_results_give_each_score_with_its_interval(reported: tuple[Path, str]) -> None:
    for system in ("weak_fbank", "strong_fbank"):
        pooled = read_json(reported[0] / system / "session" / "scores.json")["pooled"]
        low, high = pooled["ci95"]["ua"]
        expected = f"{pooled['ua']:.2f} [{low:.2f}, {high:.2f}]"
        assert expected in (reported[0] / "RESULTS.md").read_text()


def test_the_screen_shows_the_table_in_120_columns(reported: tuple[Path, str]) -> None:
    rows = [line for line in reported[1].splitlines() if "fbank" in line or "chance" in line]
    for name in ("weak_fbank", "strong_fbank", "25.00"):
        assert any(name in row for row in rows), name
    assert max(map(len, rows)) <= 48 + 24 * len(HEADLINES)  # 120 with three metrics


def test_folds_made_differently_are_told_apart(tmp_path: Path) -> None:
    directory = run(tmp_path)
    path = directory / "fold3_seed1" / "provenance.yaml"
    path.write_text(path.read_text().replace("abc123", "def456").replace("2.13.0", "2.14.0"))
    mark(directory)
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "commit: abc123+dirty  # fold1_seed1 fold2_seed1" in results
    assert "commit: def456+dirty  # fold3_seed1" in results
    assert "environment.torch: 2.14.0  # fold3_seed1" in results
    assert "environment.python: 3.11.0\n" in results


@pytest.mark.parametrize(
    ("key", "words", "scheme", "settings"),
    [
        ("oracle", "oracle", "session-test", {"selection": "test"}),
        ("speakers_shared", "speakers in training and test", "utterance3", {"cv": "utterance3"}),
    ],
)
def test_every_number_that_looks_better_than_it_is_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    key: str, words: str, scheme: str, settings: dict[str, Any],
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    directories = [
        run(tmp_path, system, scheme=scheme, **settings) for system in ("x_fbank", "y_fbank")
    ]
    stages(tmp_path)
    exp = tmp_path / "exp"
    texts = {
        "screen": capsys.readouterr().out,
        "log": "\n".join(line for line in caplog.text.splitlines() if "UA" in line),
        **{name: (exp / name).read_text() for name in ("RESULTS.md", "tables/results.csv")},
        **{name: (exp / name).read_text() for name in ("tables/results.md", "tables/results.tex")},
    }
    compare(list(map(str, directories)))
    texts["compare"] = capsys.readouterr().out
    score([str(directories[0]), "--json", str(tmp_path / "one.json")])
    score([str(directories[0] / "fold1_seed1" / "posteriors.tsv")])
    texts["score"] = capsys.readouterr().out
    experiments(["--expdir", str(exp)])
    texts["experiments"] = capsys.readouterr().out
    for name, text in texts.items():
        lines = [line for line in text.splitlines() if "_fbank" in line.replace("\\_", "_")]
        assert lines, name
        assert all(words in line for line in lines), name
    for path in (directories[0] / "scores.json", tmp_path / "one.json"):
        assert read_json(path)["protocol"][key] is True
    title = f"x_fbank ({words}), {scheme}"
    assert title in (directories[0] / "confusion.svg").read_text().replace("-->", "")
    assert f"UA in percent: x_fbank ({words})" in (exp / "report.html").read_text()
    assert read(directories[0]).words == [words]


def test_folds_say_whom_they_test(reported: tuple[Path, str]) -> None:
    exp = reported[0]
    folds = read_json(exp / "strong_fbank" / "session" / "scores.json")["folds"]
    _, _, table = (exp / "RESULTS.md").read_text().partition("**Folds, scheme session, one seed**")
    head, _, *rows = table.strip().splitlines()[:5]
    assert head == "| fold | tests | n | UA, strong_fbank | UA, weak_fbank |"
    for k, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:3] == [str(k), f"Spk{2 * k - 1}, Spk{2 * k}", "60"]
        assert cells[3] == f"{folds[str(k)]['ua']:.2f}"
    svg = (exp / "tables" / "results_session.svg").read_text()
    assert "folds test 1: Spk1, Spk2; 2: Spk3, Spk4; 3: Spk5, Spk6" in svg


def test_tables_in_latex_and_csv(tmp_path: Path) -> None:
    directory = run(tmp_path, "a_system_fbank", seeds=(1, 2))
    run(tmp_path, "b_fbank")
    stages(tmp_path)
    tex = (tmp_path / "exp" / "tables" / "results.tex").read_text()
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"a\_system\_fbank", r"$\pm$", r"95 \%"):
        assert part in tex, part
    labels = re.findall(r"\\label\{tab:(.*)\}", tex)
    systems = ("a_system_fbank", "b_fbank")
    assert labels == ["scores-session", "differences-session", "folds-session",
                      *(f"classes-{system}-session" for system in systems)]  # fmt: skip
    needed = {"booktabs": r"\toprule", "graphicx": r"\resizebox"}
    assert {name for name, command in needed.items() if command in tex} == set(
        re.findall(r"\\usepackage\{(\w+)\}", tex.split(r"\begin")[0])
    )
    with open(tmp_path / "exp" / "tables" / "results.csv", newline="") as handle:
        row = next(csv.DictReader(handle))
    found = read_json(directory / "scores.json")
    assert float(row["ua"]) == pytest.approx(found["pooled"]["ua"], abs=1e-4)
    assert float(row["wf1_low"]) == pytest.approx(found["pooled"]["ci95"]["wf1"][0], abs=1e-4)
    assert float(row["ua_folds_std"]) == pytest.approx(found["fold_std"]["ua"], abs=1e-4)
    single = [found["seeds"][s]["pooled"]["ua"] for s in ("1", "2")]
    assert float(row["ua_seeds"]) == pytest.approx(np.mean(single), abs=1e-4)
    assert row["input"] == "audio"
    assert row["seeds"] == "1 2"


def lines_of(results: str, start: str) -> list[list[str]]:
    """The cells of the lines of all tables that begin so."""
    found = [line for line in results.splitlines() if line.startswith(f"| {start} |")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found]


def test_an_ensemble_is_a_row_of_its_own_that_says_so(tmp_path: Path) -> None:
    directory = run(tmp_path, "a_fbank", seeds=(1, 2, 3))
    run(tmp_path, "b_fbank")
    stages(tmp_path)
    found = read_json(directory / "scores.json")
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    lines = results.splitlines()
    (row,) = lines_of(results, "a_fbank, ensemble of 3")
    low, high = found["ensemble"]["ci95"]["ua"]
    assert f"{found['ensemble']['ua']:.2f} [{low:.2f}, {high:.2f}]" in row
    assert row.count("–") == len(HEADLINES) + 1, "no folds and no seeds"
    place = next(i for i, line in enumerate(lines) if line.startswith("| a_fbank, ensemble"))
    assert lines[place - 1].startswith("| a_fbank | audio |")
    assert "| a_fbank, ensemble of 3 | b_fbank" not in results, "it is not compared"
    assert "b_fbank, ensemble" not in results
    with open(tmp_path / "exp" / "tables" / "results.csv", newline="") as handle:
        rows = {row["system"]: row for row in csv.DictReader(handle)}
    assert list(rows) == ["a_fbank", "a_fbank, ensemble of 3", "b_fbank"]
    ensemble = rows["a_fbank, ensemble of 3"]
    assert float(ensemble["ua"]) == pytest.approx(found["ensemble"]["ua"], abs=1e-4)
    assert ensemble["ua_folds"] == ensemble["ua_seeds"] == ""


def test_tables_say_how_much_of_a_difference_is_seeds(tmp_path: Path) -> None:
    a, b = run(tmp_path, "aa_fbank", seeds=(1, 2, 3)), run(tmp_path, "b_fbank", seeds=(1, 2))
    run(tmp_path, "single")
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    (head,) = lines_of(results, "A")
    errors = []
    for directory, seeds in ((a, "123"), (b, "12")):
        found = read_json(directory / "scores.json")["seeds"]
        errors.append(sem([found[seed]["pooled"]["ua"] for seed in seeds]))
    compared = [cells for cells in lines_of(results, "aa_fbank") if len(cells) == len(head)]
    pairs = {cells[1]: dict(zip(head, cells, strict=True)) for cells in compared}
    assert pairs["b_fbank"]["seeds ±"] == f"{np.hypot(*errors):.2f}"
    assert pairs["b_fbank"][r"McNemar \*"] == pairs["b_fbank"][r"by utterance \*"] == "–"
    assert pairs["single"]["seeds ±"] == pairs["single"][r"McNemar \*"] == "–"
    assert "seeds ±: how much of a UA difference is luck of the seeds" in results
    assert "One seed (single): what another seed would change" in results
    assert ", one seed" not in results


def test_tables_of_one_seed_say_so_in_their_titles(reported: tuple[Path, str]) -> None:
    results = (reported[0] / "RESULTS.md").read_text()
    (title,) = (line for line in results.splitlines() if line.startswith("## Scheme"))
    assert title.endswith(", one seed")
    assert "**Differences between systems, scheme session, one seed**" in results
    assert "seeds ±" not in results
    assert "ensemble" not in results
    assert ", one seed" in reported[1].splitlines()[2]


def test_systems_are_compared_on_the_utterances_that_both_have(tmp_path: Path) -> None:
    run(tmp_path, "all")
    fewer, folds = run(tmp_path, "fewer"), tmp_path / "data" / "fewer"
    shutil.copytree(tmp_path / "data" / "folds", folds)
    for path, head in ((folds / "1" / "test", 0), (fewer / "fold1_seed1" / "posteriors.tsv", 1)):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:head] + lines[head + 4 :]))
    write_experiment(fewer, tmp_path / "data" / "all", folds)
    mark(fewer)
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    (pair,) = (line for line in results.splitlines() if line.startswith("| all | fewer |"))
    assert pair.endswith("| 176 |")


def test_balanced_classes_have_the_headlines_alone(reported: tuple[Path, str]) -> None:
    results = (reported[0] / "RESULTS.md").read_text()
    assert "macro F1" not in results
    assert "Unbalanced" not in results


def test_a_class_that_a_fold_lacks(tmp_path: Path) -> None:
    sad = {utt for utt, ref in corpus(tmp_path).items() if ref == "sad"}
    tested = tmp_path / "data" / "folds" / "1" / "test"
    tested.write_text("".join(f"{utt}\n" for utt in tested.read_text().split() if utt not in sad))
    directory = run(tmp_path)
    path = directory / "fold1_seed1" / "posteriors.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.split("\t")[0] not in sad))
    mark(directory)
    stages(tmp_path)
    found = read_json(directory / "scores.json")
    refs, hyps = read_pairs(path)
    assert "sad" not in refs
    recalls = [
        np.mean([h == c for r, h in zip(refs, hyps, strict=True) if r == c]) for c in CLASSES[:3]
    ]
    assert found["folds"]["1"]["ua"] == pytest.approx(100 * np.mean(recalls))


def test_one_fold_and_one_speaker_have_no_spread(tmp_path: Path) -> None:
    refs = corpus(tmp_path)
    write_table(tmp_path / "data" / "all" / "utt2spk", dict.fromkeys(refs, "Spk1"))
    directory = run_fold(tmp_path)
    stages(tmp_path)
    found = read_json(directory / "scores.json")
    assert found["fold_std"] == dict.fromkeys(METRICS)
    assert found["pooled"]["ci95"]["ua"] is None
    assert "One system" in (tmp_path / "exp" / "RESULTS.md").read_text()
