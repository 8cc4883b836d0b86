"""Scores of single files from any toolkit, and publishing results."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest
from sklearn import metrics as sk

from cfia.bin.compare import main as compare
from cfia.bin.score import main as score
from cfia.errors import UserError
from tests.support.made_up_experiments import CLASSES, fold, read_pairs, run, write_experiment

ROOT = Path(__file__).resolve().parents[2]


def test_scoring_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = run(tmp_path)
    path, out = directory / "fold1_seed1" / "posteriors.tsv", tmp_path / "out.json"
    table = tmp_path / "data" / "all" / "utt2spk"
    score([str(path), "--clusters", str(table), "--json", str(out)])
    shown = capsys.readouterr().out
    found = json.loads(out.read_text())
    refs, hyps = read_pairs(path)
    assert found["pooled"]["ua"] == pytest.approx(100 * sk.balanced_accuracy_score(refs, hyps))
    matrix = sk.confusion_matrix(refs, hyps, labels=CLASSES).tolist()
    assert found["pooled"]["confusion"] == matrix
    assert f"{found['pooled']['ua']:.2f} [" in shown
    assert "takes utterances as independent" not in shown
    score([str(path)])
    assert "takes utterances as independent" in capsys.readouterr().out


def test_the_json_of_a_file_has_the_layout_of_a_run(tmp_path: Path) -> None:
    """One run of one fold, and the same posteriors by another toolkit: the same scores."""
    directory = tmp_path / "exp" / "net" / "test_split"
    write_experiment(directory, tmp_path / "data" / "all", folds=1)
    fold(directory / "fold1_seed1", tmp_path, 1, 1, 1.0, 0)
    score(["--expdir", str(tmp_path / "exp")])
    ours = json.loads((directory / "scores.json").read_text())
    table, theirs = tmp_path / "data" / "all" / "utt2spk", tmp_path / "theirs.tsv"
    head, *rows = (directory / "fold1_seed1" / "posteriors.tsv").read_text().splitlines()
    rounded = ["\t".join([*r.split("\t")[:2], *map(shorter, r.split("\t")[2:])]) for r in rows]
    random.Random(1).shuffle(rounded)
    theirs.write_text("\n".join([head, *rounded]) + "\n")
    speakers = table.read_text().splitlines()
    random.Random(2).shuffle(speakers)
    table.write_text("\n".join(speakers) + "\n")
    score([str(theirs), "--clusters", str(table), "--json", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.pop("protocol")["interval"] == ours.pop("protocol")["interval"]
    assert found == ours


def shorter(probability: str) -> str:
    return f"{float(probability):.3f}"


def test_ties_that_rounding_made_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.tsv"
    path.write_text("utt\tref\ta\tb\nu1\tb\t0.50\t0.50\nu2\ta\t0.49\t0.52\n")
    score([str(path)])
    assert "1 utterance: several classes are the most probable" in capsys.readouterr().out


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
    lines = [line.split("\t") for line in b.read_text().splitlines()]
    b.write_text("".join("\t".join([*r[:2], *reversed(r[2:])]) + "\n" for r in lines))
    compare([str(a), str(b), "--clusters", str(table)])
    assert capsys.readouterr().out == shown, "columns in another order"
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
