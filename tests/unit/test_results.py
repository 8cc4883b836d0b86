"""Stages 7 and 8 on made-up runs: scores.json, RESULTS.md, tables, publishing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from cfia.bin.compare import main as compare
from cfia.bin.report import main as report
from cfia.bin.score import main as score
from cfia.config import write_yaml
from cfia.errors import UserError
from cfia.files import read_json
from cfia.kaldi.table import write_table
from cfia.posteriors import write_posteriors

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["ang", "hap", "neu", "sad"]
SPEAKERS = [f"Spk{i}" for i in range(1, 7)]


def corpus(tmp: Path) -> dict[str, str]:
    """Reference of each utterance, six speakers of 30; writes data/all/utt2spk."""
    rng = np.random.default_rng(1)
    refs = {f"{s}-{i:02d}": str(rng.choice(CLASSES)) for s in SPEAKERS for i in range(30)}
    (tmp / "data" / "all").mkdir(parents=True, exist_ok=True)
    write_table(tmp / "data" / "all" / "utt2spk", {utt: utt.split("-")[0] for utt in refs})
    return refs


def fold(
    directory: Path, tmp: Path, k: int, seed: int, skill: float, salt: int, **config: Any
) -> None:
    """One trained and tested fold: speakers 2k - 1 and 2k of three folds."""
    utts = {u: r for u, r in corpus(tmp).items() if u.split("-")[0] in SPEAKERS[2 * k - 2 : 2 * k]}
    rng = np.random.default_rng([k, seed, salt])
    logits = rng.normal(0, 1, (len(utts), 4))
    logits[range(len(utts)), [CLASSES.index(r) for r in utts.values()]] += skill
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    directory.mkdir(parents=True)
    write_posteriors(directory / "posteriors.tsv", CLASSES, list(utts), list(utts.values()), probs)
    facts = {
        "system": directory.parents[1].name, "scheme": directory.parent.name, "cv": "session",
        "validation": "random20", "selection": "valid", "labels": "", "corpus": "made_up",
        "text_tags": "strip", "data": str(tmp / "data" / "all"), "folds": 3, "fold": k,
        "seed": seed, "lr": 1e-4, "consistency": [0.5, 0.25],
    }  # fmt: skip
    write_yaml(directory / "config.yaml", {**facts, **config})
    made = {
        "command": "./run.sh --nj 2", "commit": "abc123+dirty",
        "started": f"2024-01-0{k}T00:00:00Z",
        "environment": {"python": "3.11.0", "torch": "2.13.0"},
        "audio": {"upstream": "fbank", "dim": 80}, "text": None,
    }  # fmt: skip
    write_yaml(directory / "provenance.yaml", made)


def histories(tmp: Path) -> None:
    """The history.csv of every fold, which only learning curves need."""
    head = "epoch,lr,train_loss,train_ce,train_con,con_share,valid_loss,valid_wa,valid_ua,selected"
    rows = [
        f"{e},1e-4,{2 / e},1,0,0,{1 + 2 / e},50,{60 - 9 / e},{int(e == 4)}" for e in range(1, 9)
    ]
    for path in (tmp / "exp").glob("*/*/fold*"):
        (path / "history.csv").write_text("\n".join([head, *rows]) + "\n")


def run(
    tmp: Path,
    system: str = "net_fbank",
    scheme: str = "session",
    skill: float = 1.5,
    seeds: Iterable[int] = (1,),
    **config: Any,
) -> Path:
    """A finished run of three folds."""
    directory = tmp / "exp" / system / scheme
    salt = len(system)
    for seed in seeds:
        for k in (1, 2, 3):
            fold(directory / f"fold{k}_seed{seed}", tmp, k, seed, skill, salt, **config)
    return directory


def stages(tmp: Path) -> None:
    score(["--expdir", str(tmp / "exp")])
    report(["--expdir", str(tmp / "exp")])


def read_pairs(path: Path) -> tuple[list[str], list[str]]:
    """References and hypotheses of a posteriors.tsv, by csv alone."""
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    hyps = [max(CLASSES, key=lambda c: float(row[c])) for row in rows]
    return [row["ref"] for row in rows], hyps


def test_scores_of_one_seed_are_those_of_scikit_learn(tmp_path: Path) -> None:
    directory = run(tmp_path)
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    refs, hyps = [], []
    for k in ("1", "2", "3"):
        pair = read_pairs(directory / f"fold{k}_seed1" / "posteriors.tsv")
        assert found["folds"][k]["wa"] == pytest.approx(100 * sk.accuracy_score(*pair))
        assert found["folds"][k]["n"] == 60
        refs += pair[0]
        hyps += pair[1]
    pooled = found["pooled"]
    assert pooled["ua"] == pytest.approx(100 * sk.balanced_accuracy_score(refs, hyps))
    assert pooled["wf1"] == pytest.approx(100 * sk.f1_score(refs, hyps, average="weighted"))
    assert pooled["macro_f1"] == pytest.approx(100 * sk.f1_score(refs, hyps, average="macro"))
    assert pooled["n"] == 180
    by_fold = [found["folds"][k]["ua"] for k in ("1", "2", "3")]
    assert found["fold_mean"]["ua"] == pytest.approx(np.mean(by_fold))
    assert found["fold_std"]["ua"] == pytest.approx(np.std(by_fold, ddof=1))
    for name in ("wa", "ua", "wf1", "macro_f1"):
        low, high = pooled["ci95"][name]
        assert 0 < low < pooled[name] < high < 100
    assert found["seeds"]["1"]["pooled"]["ua"] == pooled["ua"]


def test_the_keys_of_scores_json(tmp_path: Path) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    names = ["wa", "ua", "wf1", "macro_f1"]
    assert list(found) == ["pooled", "folds", "fold_mean", "fold_std", "seeds", "protocol"]
    assert list(found["pooled"]) == [*names, "n", "ci95"]
    assert list(found["pooled"]["ci95"]) == list(found["fold_mean"]) == names
    assert list(found["folds"]) == ["1", "2", "3"]
    assert list(found["seeds"]) == ["1", "2"]
    assert list(found["seeds"]["2"]) == ["pooled", "folds"]
    protocol = found["protocol"]
    assert protocol["system"] == "net_fbank"
    assert protocol["classes"] == CLASSES
    assert protocol["folds"] == [1, 2, 3]
    assert protocol["seeds"] == [1, 2]
    assert protocol["clusters"] == "speaker"
    assert "df = 5" in protocol["interval"]
    assert "2 seeds" in protocol["interval"]
    assert protocol["oracle"] is False
    assert protocol["missing"] == []


def test_pooled_scores_are_of_posteriors_averaged_over_the_seeds(tmp_path: Path) -> None:
    directory = run(tmp_path, skill=0.8, seeds=(1, 2, 3))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    right = total = 0
    for k in (1, 2, 3):
        sums: dict[str, list[float]] = {}
        refs: dict[str, str] = {}
        for seed in (1, 2, 3):
            path = directory / f"fold{k}_seed{seed}" / "posteriors.tsv"
            with open(path, newline="") as handle:
                for row in csv.DictReader(handle, delimiter="\t"):
                    refs[row["utt"]] = row["ref"]
                    old = sums.get(row["utt"], [0.0] * 4)
                    sums[row["utt"]] = [
                        a + float(row[c]) for a, c in zip(old, CLASSES, strict=True)
                    ]
        right += sum(CLASSES[int(np.argmax(sums[u]))] == refs[u] for u in sums)
        total += len(sums)
    assert found["pooled"]["wa"] == pytest.approx(100 * right / total)
    singles = [found["seeds"][s]["pooled"]["wa"] for s in ("1", "2", "3")]
    assert len(set(singles)) > 1
    assert found["pooled"]["wa"] > np.mean(singles)


def test_a_seed_without_all_folds_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    other = run(tmp_path, system="other")
    (directory / "fold2_seed2" / "posteriors.tsv").unlink()
    shutil.rmtree(directory / "fold3_seed2")
    stages(tmp_path)
    assert (other / "scores.json").exists()
    found = read_json(directory / "scores.json")
    assert list(found["seeds"]) == ["1"]
    assert found["protocol"]["missing"] == ["fold2_seed2", "fold3_seed2"]
    line = "no posteriors of fold2_seed2 fold3_seed2; these seeds are left out"
    assert line in caplog.text
    assert line in (tmp_path / "exp" / "RESULTS.md").read_text()
    # Without its last whole seed the run leaves the tables, and its old scores go.
    (directory / "fold1_seed1" / "posteriors.tsv").unlink()
    stages(tmp_path)
    assert not (directory / "scores.json").exists()
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "| net_fbank |" not in results
    assert "| other |" in results
    assert "net_fbank, scheme session: no posteriors of fold1_seed1" in results


def test_nothing_finished_is_an_error_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there; run stages 5 and 6"):
        score(["--expdir", str(tmp_path / "exp")])
    (tmp_path / "exp").mkdir()
    with pytest.raises(UserError, match="holds no training; run stages 5 and 6"):
        score(["--expdir", str(tmp_path / "exp")])
    directory = run(tmp_path)
    (directory / "fold1_seed1" / "posteriors.tsv").unlink()
    with pytest.raises(UserError, match="run stage 6"):
        score(["--expdir", str(tmp_path / "exp")])
    with pytest.raises(UserError, match="run stage 6"):
        report(["--expdir", str(tmp_path / "exp")])


def test_folds_of_different_protocols_are_not_pooled(tmp_path: Path) -> None:
    directory = run(tmp_path)
    text = (directory / "fold2_seed1" / "config.yaml").read_text()
    changed = text.replace("random20", "partner")
    (directory / "fold2_seed1" / "config.yaml").write_text(changed)
    with pytest.raises(UserError, match=r"fold2_seed1/config.yaml has validation partner, but"):
        score(["--expdir", str(tmp_path / "exp")])


def test_an_utterance_without_a_speaker_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "data" / "all" / "utt2spk"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match="utt2spk lacks Spk1-00"):
        score(["--expdir", str(tmp_path / "exp")])


def test_stage_8_wants_the_scores_of_these_posteriors(tmp_path: Path) -> None:
    directory = run(tmp_path)
    with pytest.raises(UserError, match=r"scores.json does not go .* run stage 7"):
        report(["--expdir", str(tmp_path / "exp")])
    stages(tmp_path)
    shutil.copy(
        run(tmp_path, "better", skill=4) / "fold1_seed1" / "posteriors.tsv",
        directory / "fold1_seed1" / "posteriors.tsv",
    )
    score(["--expdir", str(tmp_path / "exp")])
    os.truncate(directory / "scores.json", 100)
    with pytest.raises(UserError, match=r"net_fbank/session/scores.json does not go"):
        report(["--expdir", str(tmp_path / "exp")])


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
    stages(tmp_path)
    for name, (data, _) in snapshot(tmp_path / "exp").items():
        if not name.endswith("provenance.yaml"):
            assert data == first[name], name


def test_results_hold_what_a_reader_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "weak_fbank", skill=0.3)
    run(tmp_path, "strong_fbank", skill=2.5)
    conf = tmp_path / "corpus.yaml"
    conf.write_text("title: A made-up corpus\nnote: The speech is\n  synthetic.\n")
    score(["--expdir", str(tmp_path / "exp")])
    report(["--expdir", str(tmp_path / "exp"), "--corpus_conf", str(conf)])
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert results.startswith("# A made-up corpus: results\n\n> The speech is synthetic.\n")
    assert "abc123+dirty" in results
    assert "leave one session out, 3 folds; validation random20" in results
    pooled = read_json(tmp_path / "exp" / "weak_fbank" / "session" / "scores.json")["pooled"]
    low, high = pooled["ci95"]["ua"]
    assert f"{pooled['ua']:.2f} [{low:.2f}, {high:.2f}]" in results
    assert "| chance (always " in results
    assert "| 25.00 |" in results
    # Six speakers who all favour one system: 2 of 64 patterns of signs.
    assert "| strong_fbank | weak_fbank | +" in results
    assert "| 0.0312 |" in results
    assert "McNemar" in results
    assert "takes utterances as independent" in results
    for fact in ("./run.sh --nj 2", "lr: 0.0001", "environment.torch: 2.13.0", "audio.dim: 80"):
        assert results.count(fact) in (1, 2), fact
    assert "started" not in results
    shown = capsys.readouterr().out
    assert "weak_fbank" in shown
    assert "25.00" in shown
    assert max(len(line) for line in shown.splitlines() if "fbank" in line) <= 120


def test_folds_made_differently_are_told_apart(tmp_path: Path) -> None:
    directory = run(tmp_path)
    path = directory / "fold3_seed1" / "provenance.yaml"
    path.write_text(path.read_text().replace("abc123", "def456").replace("2.13.0", "2.14.0"))
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "commit: abc123+dirty  # fold1_seed1 fold2_seed1" in results
    assert "commit: def456+dirty  # fold3_seed1" in results
    assert "environment.torch: 2.14.0  # fold3_seed1" in results
    assert "environment.python: 3.11.0\n" in results


def test_every_number_selected_on_the_test_fold_is_called_an_oracle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for system in ("x_fbank", "y_fbank"):
        directory = run(tmp_path, system, scheme="session-test", selection="test")
        assert directory.name == "session-test"
    stages(tmp_path)
    assert read_json(directory / "scores.json")["protocol"]["oracle"] is True
    exp = tmp_path / "exp"
    texts = {
        "screen": capsys.readouterr().out,
        "log": "\n".join(line for line in caplog.text.splitlines() if "UA" in line),
        **{name: (exp / name).read_text() for name in ("RESULTS.md", "tables/results.csv")},
        **{name: (exp / name).read_text() for name in ("tables/results.md", "tables/results.tex")},
    }
    for name, text in texts.items():
        lines = [line for line in text.splitlines() if "_fbank" in line.replace("\\_", "_")]
        assert lines, name
        assert all("oracle" in line for line in lines), name


def test_tables_in_latex_and_csv(tmp_path: Path) -> None:
    directory = run(tmp_path, "a_system_fbank", seeds=(1, 2))
    stages(tmp_path)
    tex = (tmp_path / "exp" / "tables" / "results.tex").read_text()
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"a\_system\_fbank", r"$\pm$", r"95 \%"):
        assert part in tex, part
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


def test_systems_are_compared_on_the_utterances_that_both_have(tmp_path: Path) -> None:
    run(tmp_path, "all")
    fewer = run(tmp_path, "fewer")
    path = fewer / "fold1_seed1" / "posteriors.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[5:]]))
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    (pair,) = (line for line in results.splitlines() if line.startswith("| all | fewer |"))
    assert pair.endswith("| 176 |")


def test_a_class_that_a_fold_lacks(tmp_path: Path) -> None:
    directory = run(tmp_path)
    path = directory / "fold1_seed1" / "posteriors.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "\tsad\t0" not in line))
    stages(tmp_path)
    found = read_json(directory / "scores.json")
    refs, hyps = read_pairs(path)
    assert "sad" not in refs
    recalls = [
        np.mean([h == c for r, h in zip(refs, hyps, strict=True) if r == c]) for c in CLASSES[:3]
    ]
    assert found["folds"]["1"]["ua"] == pytest.approx(100 * np.mean(recalls))


def test_one_fold_and_one_speaker_have_no_spread(tmp_path: Path) -> None:
    directory = tmp_path / "exp" / "net_fbank" / "test_split"
    fold(directory / "fold1_seed1", tmp_path, 1, 1, 1.5, 0, folds=1, cv="test_split")
    table = tmp_path / "data" / "all" / "utt2spk"
    write_table(table, dict.fromkeys(corpus(tmp_path), "Spk1"))
    stages(tmp_path)
    found = read_json(directory / "scores.json")
    assert found["fold_std"] == dict.fromkeys(("wa", "ua", "wf1", "macro_f1"))
    assert found["pooled"]["ci95"]["ua"] is None
    assert "One system" in (tmp_path / "exp" / "RESULTS.md").read_text()


def test_scoring_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = run(tmp_path)
    path, out = directory / "fold1_seed1" / "posteriors.tsv", tmp_path / "out.json"
    table = tmp_path / "data" / "all" / "utt2spk"
    score([str(path), "--clusters", str(table), "--json", str(out)])
    shown = capsys.readouterr().out
    found = json.loads(out.read_text())
    refs, hyps = read_pairs(path)
    assert found["pooled"]["ua"] == pytest.approx(100 * sk.balanced_accuracy_score(refs, hyps))
    assert found["confusion"] == sk.confusion_matrix(refs, hyps, labels=CLASSES).tolist()
    assert f"{found['pooled']['ua']:.2f} [" in shown
    assert "takes utterances as independent" not in shown
    score([str(path)])
    assert "takes utterances as independent" in capsys.readouterr().out


def test_comparing_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (
        run(tmp_path, name, skill=skill) / "fold1_seed1" / "posteriors.tsv"
        for name, skill in (("good", 3.0), ("bad", 0.3))
    )
    table = tmp_path / "data" / "all" / "utt2spk"
    compare([str(a), str(b), "--clusters", str(table)])
    shown = capsys.readouterr().out
    assert "0.5000" in shown  # two speakers cannot say more
    assert "takes utterances as independent" in shown
    compare([str(a), str(a), "--clusters", str(table)])
    assert "+0.00  1.0000" in capsys.readouterr().out
    with pytest.raises(UserError, match="lacks"):
        compare([str(a), str(b.parents[1] / "fold2_seed1" / "posteriors.tsv")])


@pytest.mark.parametrize(
    "argv", [[], ["x.tsv", "--expdir", "exp"], ["--expdir", "exp", "--json", "x"], ["--no_such"]]
)
def test_usage_errors_of_score(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        score(argv)
    assert caught.value.code == 2
    assert "cfia score" in capsys.readouterr().err


def publish(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "utils" / "publish_results.sh"), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_publish_copies_the_results(tmp_path: Path) -> None:
    recipe = tmp_path / "egs" / "ein Körpus"
    (recipe / "exp").mkdir(parents=True)
    missing = publish(str(recipe))
    assert missing.returncode == 1
    assert "no such file" in missing.stderr
    (recipe / "exp" / "RESULTS.md").write_text("# Results\n\nTrained at commit abc.\n")
    done = publish(str(recipe))
    assert (done.returncode, done.stderr) == (0, "")
    assert (recipe / "RESULTS.md").read_text() == "# Results\n\nTrained at commit abc.\n"
    (recipe / "exp" / "RESULTS.md").write_text("# Results\n\nTrained at commit abc+dirty.\n")
    dirty = publish(f"{recipe}/")
    assert dirty.returncode == 0
    assert "uncommitted" in dirty.stderr
    assert [p.name for p in recipe.iterdir() if p.is_file()] == ["RESULTS.md"]


def test_usage_of_publish(tmp_path: Path) -> None:
    shown = publish("--help")
    assert shown.returncode == 0
    assert "Usage: " in shown.stdout
    for argv in ([], ["a", "b"], ["--no-such"]):
        wrong = publish(*argv)
        assert wrong.returncode == 2, argv
        assert "Usage: " in wrong.stderr
    assert publish(str(tmp_path / "none")).returncode == 1
