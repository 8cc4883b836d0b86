"""Scores and comparisons of files from any toolkit, and publishing results."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from sklearn import metrics as sk

from cfia.bin.compare import main as compare
from cfia.bin.score import main as score
from cfia.errors import UserError
from tests.support.made_up_experiments import CLASSES, read_pairs, run, run_fold, untest

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
    directory = run_fold(tmp_path)
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


def files(directory: Path, folds: Sequence[int] = (1, 2, 3), seed: int = 1) -> list[str]:
    return [str(directory / f"fold{k}_seed{seed}" / "posteriors.tsv") for k in folds]


def test_files_of_the_same_utterances_are_seeds_and_others_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the run that the files are from, whichever way the shell has sorted them."""
    directory = run(tmp_path, seeds=(1, 2))
    score(["--expdir", str(tmp_path / "exp")])
    ours = json.loads((directory / "scores.json").read_text())
    table, out = str(tmp_path / "data" / "all" / "utt2spk"), tmp_path / "out.json"
    capsys.readouterr()
    by_fold = [path for k in (1, 2, 3) for s in (1, 2) for path in files(directory, [k], s)]
    for paths in (files(directory) + files(directory, seed=2), by_fold):
        score([*paths, "--clusters", table, "--json", str(out)])
        shown = capsys.readouterr().out
        found = json.loads(out.read_text())
        assert found.pop("protocol")["interval"] == ours["protocol"]["interval"]
        assert found == {key: value for key, value in ours.items() if key != "protocol"}
        assert shown.startswith("180 utterances, 2 seeds, 3 folds\n")
        assert f"and 5 more, ensemble of 2  {found['ensemble']['wa']:.2f}" in shown
    score([*files(directory), "--clusters", table])
    assert capsys.readouterr().out.startswith("180 utterances, 1 seed, 3 folds\n")
    score([*files(directory, [1]), *files(directory, [1], 2)])
    shown = capsys.readouterr().out
    assert shown.startswith("60 utterances, 2 seeds, 1 fold\n")
    assert "takes utterances as independent" in shown


def test_files_that_are_neither_seeds_nor_folds_are_named(tmp_path: Path) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    one, two, again = files(directory, [1]), files(directory, [2]), files(directory, [1], 2)
    with pytest.raises(UserError, match=r"fold1_seed1/posteriors\.tsv is named twice"):
        score([*one, *two, *one])
    with pytest.raises(
        UserError, match=r"2 of the files test the utterances of .*fold1_seed1.* but 1 those of "
        r".*fold2_seed1/posteriors\.tsv; name as many"
    ):  # fmt: skip
        score([*one, *two, *again])
    mixed = tmp_path / "mixed.tsv"
    head, *rows = Path(two[0]).read_text().splitlines()
    mixed.write_text("\n".join([head, *rows, Path(one[0]).read_text().splitlines()[5]]) + "\n")
    with pytest.raises(
        UserError, match=r"fold1_seed1/posteriors\.tsv and .*mixed\.tsv overlap in part: both have "
        r"Spk1-04, but only .*fold1_seed1/posteriors\.tsv has Spk1-00; name files of the same"
    ):  # fmt: skip
        score([*one, str(mixed)])
    part = tmp_path / "part.tsv"
    part.write_text("\n".join([head, *rows[:-1]]) + "\n")
    with pytest.raises(UserError, match=r"both have Spk3-00, but only .*fold2_seed1.* has Spk4-29"):
        score([str(part), *two])
    other = tmp_path / "other.tsv"
    utt, ref, *probs = rows[0].split("\t")
    relabelled = "\t".join([utt, "sad" if ref == "ang" else "ang", *probs])
    other.write_text("\n".join([head, relabelled, *rows[1:]]) + "\n")
    with pytest.raises(
        UserError, match=r"Spk3-00 is .* in .*fold2_seed1.*, but .* in .*other\.tsv"
    ):
        score([*two, str(other)])


def difference(shown: str) -> list[str]:
    """The numbers of the table of the difference."""
    lines = shown[shown.index("Difference") :].splitlines()
    return lines[4].split()


def test_comparing_systems_of_several_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run(tmp_path, "aa", seeds=(1, 2, 3)), run(tmp_path, "b", skill=1.0, seeds=(1, 2))
    score(["--expdir", str(tmp_path / "exp")])
    scores = [json.loads((directory / "scores.json").read_text()) for directory in (a, b)]
    expected = scores[0]["pooled"]["ua"] - scores[1]["pooled"]["ua"]
    table = str(tmp_path / "data" / "all" / "utt2spk")
    of_a = [path for seed in (1, 2, 3) for path in files(a, seed=seed)]
    of_b = [path for seed in (1, 2) for path in files(b, seed=seed)]
    capsys.readouterr()
    compare([*of_a, "--with", *of_b, "--clusters", table])
    by_files = capsys.readouterr().out
    assert difference(by_files)[0] == f"{expected:+.2f}"
    assert "and 8 more, ensemble of 3" in by_files
    assert "180 utterances, 6 speakers" in by_files
    assert "seeds ±" in by_files
    assert by_files.count("–") >= 2, "McNemar's test is of single networks"
    compare([str(a), str(b)])
    by_directory = capsys.readouterr().out
    assert difference(by_directory) == difference(by_files)
    compare([str(a), "--with", *of_b])  # the speakers are those of the experiment
    assert difference(capsys.readouterr().out) == difference(by_files)


def test_what_cannot_be_compared_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run(tmp_path, "aa", seeds=(1, 2)), run(tmp_path, "b")
    with pytest.raises(
        UserError, match=r"exp/aa has no experiment\.yaml; name a directory exp/<sys"
    ):
        compare([str(a.parent), str(b)])
    untest(a / "fold3_seed2")
    compare([str(a), str(b)])
    assert "no posteriors of fold3_seed2; these seeds are left out" in caplog.text
    assert "ensemble" not in capsys.readouterr().out
    untest(a / "fold3_seed1")
    with pytest.raises(
        UserError, match=r"no posteriors of fold3_seed1 fold3_seed2; .* run stage 6"
    ):
        compare([str(a), str(b)])
    with pytest.raises(UserError, match=r"lacks Spk3-00"):
        compare([*files(b), "--with", *files(b, [1])])
    for argv in ([str(a)], [str(a), str(b), str(b)], [str(a), "--with"]):
        with pytest.raises(SystemExit) as caught:
            compare(argv)
        assert caught.value.code == 2
        assert "cfia compare" in capsys.readouterr().err


def test_a_file_that_always_answers_one_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone, other = tmp_path / "lone.tsv", tmp_path / "other.tsv"
    rows = [("u1", "a"), ("u2", "b"), ("u3", "b"), ("u4", "a")]
    lone.write_text("utt\tref\ta\tb\n" + "".join(f"{u}\t{r}\t0.3\t0.7\n" for u, r in rows))
    other.write_text(lone.read_text().replace("a\t0.3\t0.7", "a\t0.8\t0.2"))
    score([str(lone), "--json", str(tmp_path / "out.json")])
    shown = capsys.readouterr().out
    assert "  no interval: always answers b" in shown
    assert "In brackets" not in shown
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["pooled"]["ua"] == 50
    assert set(found["pooled"]["ci95"].values()) == {None}
    compare([str(other), str(lone)])
    shown = capsys.readouterr().out
    assert "B: no interval: always answers b." in shown
    assert "A: no interval" not in shown


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


def test_what_was_found_stands_before_the_tables(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "exp" / "RESULTS.md").write_text("# Results\n\nHow to.\n\n## One\n\n## Two\n")
    (tmp_path / "conf" / "findings.md").write_text("## What they show\n\nNothing & more \\1.\n")
    assert publish(str(tmp_path)).returncode == 0
    assert (tmp_path / "RESULTS.md").read_text() == (
        "# Results\n\nHow to.\n\n## What they show\n\nNothing & more \\1.\n\n## One\n\n## Two\n"
    )


def test_a_study_that_is_not_under_exp_stays_as_it_was_published(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    page = "# Results\n\n## Scheme session\n\n%s## By class\n\n## How it was made\n"
    study = "## Study {}\n\n| {} |\n\nTrained at commit {} by\n\n"
    old = [study.format(name, "1", "abc") for name in ("asr", "paper", "readings")]
    new = [study.format(name, "2", "def") for name in ("fusion", "paper", "peers", "protocol")]
    (tmp_path / "RESULTS.md").write_text(page % "".join(old))
    (tmp_path / "exp" / "RESULTS.md").write_text(page % "".join(new))
    assert publish(str(tmp_path)).returncode == 0
    wanted = page % "".join([old[0], *new, old[2]])
    assert (tmp_path / "RESULTS.md").read_text() == wanted
    assert publish(str(tmp_path)).returncode == 0
    assert (tmp_path / "RESULTS.md").read_text() == wanted
    (tmp_path / "exp" / "RESULTS.md").write_text("# Results\n\n## Scheme session\n")
    assert publish(str(tmp_path)).returncode == 0
    assert (tmp_path / "RESULTS.md").read_text() == "# Results\n\n## Scheme session\n" + "".join(
        [old[0], *new, old[2]]
    )


def test_where_exp_has_studies_alone_all_else_stays_as_it_was_published(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "conf").mkdir()
    page = "# Results\n\nAt {}.\n\n{}## Scheme speaker\n\n{}## By class\n\n## How it was made\n"
    findings, study = "## What they show\n\n{}.\n", "## Study peers\n\n### Networks\n\n| {} |\n\n"
    (tmp_path / "RESULTS.md").write_text(page.format("abc", findings.format("Old") + "\n", ""))
    (tmp_path / "conf" / "findings.md").write_text(findings.format("New"))
    for number in (1, 2):
        made = "# Results\n\nAt def.\n\n" + study.format(number)
        (tmp_path / "exp" / "RESULTS.md").write_text(made)
        assert publish(str(tmp_path)).returncode == 0
        assert (tmp_path / "RESULTS.md").read_text() == page.format(
            "abc", findings.format("New") + "\n", study.format(number)
        )


def test_usage_of_publish(tmp_path: Path) -> None:
    shown = publish("--help")
    assert shown.returncode == 0
    assert "Usage: " in shown.stdout
    for argv in ([], ["a", "b"], ["--no-such"]):
        wrong = publish(*argv)
        assert wrong.returncode == 2, argv
        assert "Usage: " in wrong.stderr
    assert publish(str(tmp_path / "none")).returncode == 1


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("utt2spk", "speaker"), ("utt2session", "session"), ("utt2type", "type"),
        ("utt2dialogue", "dialogue"), ("utt2microphone.txt", "microphone"), ("mine", "cluster"),
    ],
)  # fmt: skip
def test_an_interval_is_named_after_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, left_out: str
) -> None:
    path, table = run_fold(tmp_path) / "fold1_seed1" / "posteriors.tsv", tmp_path / name
    if name != "utt2spk":
        shutil.copy(tmp_path / "data" / "all" / "utt2spk", table)
    else:
        table = tmp_path / "data" / "all" / "utt2spk"
    score([str(path), "--clusters", str(table), "--json", str(tmp_path / "out.json")])
    assert f"delete-one-{left_out} jackknife" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["protocol"]["clusters"] == left_out
    compare([str(path), str(path), "--clusters", str(table)])
    shown = capsys.readouterr().out
    assert f"over the {left_out}s' contributions" in shown
    assert left_out == "speaker" or "speaker" not in shown
