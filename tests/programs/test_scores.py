"""Stage 7 on made-up runs: scores.json."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from cfia.bin.report import main as report
from cfia.bin.score import main as score
from cfia.errors import UserError
from cfia.files import read_json, read_yaml
from cfia.metrics import METRICS
from tests.support.experiment import seal
from tests.support.made_up_experiments import CLASSES, corpus, mark, read_pairs, run, stages, untest


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
    for name in METRICS:
        low, high = pooled["ci95"][name]
        assert 0 < low < pooled[name] < high < 100
    assert found["seeds"]["1"]["pooled"]["ua"] == pooled["ua"]
    assert found["seed_std"] == dict.fromkeys(METRICS)
    assert "ensemble" not in found


def test_the_keys_of_scores_json(tmp_path: Path) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    names = list(METRICS)
    assert names[:4] == ["wa", "ua", "wf1", "macro_f1"]
    spreads = ["fold_mean", "fold_std", "seed_std"]
    assert list(found) == ["pooled", "folds", *spreads, "seeds", "ensemble", "protocol"]
    ours = ["classes", "confusion", "subsets"]
    assert list(found["pooled"]) == list(found["ensemble"]) == [*names, "n", "ci95", *ours]
    assert list(found["pooled"]["ci95"]) == list(found["fold_mean"]) == names
    assert list(found["seed_std"]) == names
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


def pairs(directory: Path, seed: int) -> tuple[list[str], list[str]]:
    """References and hypotheses of all folds of a seed."""
    refs, hyps = [], []
    for k in (1, 2, 3):
        of_fold = read_pairs(directory / f"fold{k}_seed{seed}" / "posteriors.tsv")
        refs += of_fold[0]
        hyps += of_fold[1]
    return refs, hyps


def test_scores_are_means_over_the_seeds_of_what_single_networks_score(tmp_path: Path) -> None:
    directory = run(tmp_path, skill=0.8, seeds=(1, 2, 3))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    pooled, single = found["pooled"], [pairs(directory, seed) for seed in (1, 2, 3)]
    by_seed = {
        "wa": [100 * sk.accuracy_score(*pair) for pair in single],
        "ua": [100 * sk.balanced_accuracy_score(*pair) for pair in single],
        "wf1": [100 * sk.f1_score(*pair, average="weighted") for pair in single],
        "macro_f1": [100 * sk.f1_score(*pair, average="macro") for pair in single],
    }
    for name, values in by_seed.items():
        assert pooled[name] == pytest.approx(np.mean(values))
        assert found["seed_std"][name] == pytest.approx(np.std(values, ddof=1))
        assert found["seed_std"][name] > 0
    assert pooled["n"] == 180, "each utterance counts once"
    matrices = [sk.confusion_matrix(*pair, labels=CLASSES) for pair in single]
    assert pooled["confusion"] == np.sum(matrices, axis=0).tolist()
    for i, name in enumerate(CLASSES):
        precision, _, f1, n = np.mean(
            [[v[i] for v in sk.precision_recall_fscore_support(*pair)] for pair in single], axis=0
        )
        assert pooled["classes"][name]["precision"] == pytest.approx(100 * precision)
        assert pooled["classes"][name]["f1"] == pytest.approx(100 * f1)
        assert pooled["classes"][name]["n"] == n
    fold_2 = [read_pairs(directory / f"fold2_seed{seed}" / "posteriors.tsv") for seed in (1, 2, 3)]
    expected = np.mean([100 * sk.f1_score(*pair, average="macro") for pair in fold_2])
    assert found["folds"]["2"]["macro_f1"] == pytest.approx(expected)
    assert found["folds"]["2"]["n"] == 60
    by_fold = [found["folds"][k]["ua"] for k in ("1", "2", "3")]
    assert found["fold_mean"]["ua"] == pytest.approx(np.mean(by_fold))
    assert found["fold_std"]["ua"] == pytest.approx(np.std(by_fold, ddof=1))


def test_the_ensemble_stands_apart(tmp_path: Path) -> None:
    directory = run(tmp_path, skill=0.8, seeds=(1, 2, 3))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")
    refs: dict[str, str] = {}
    sums: dict[str, list[float]] = {}
    for path in directory.glob("fold*/posteriors.tsv"):
        with open(path, newline="") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                refs[row["utt"]] = row["ref"]
                old = sums.get(row["utt"], [0.0] * 4)
                sums[row["utt"]] = [a + float(row[c]) for a, c in zip(old, CLASSES, strict=True)]
    hyps = {utt: CLASSES[int(np.argmax(values))] for utt, values in sums.items()}
    pair = [refs[utt] for utt in sorted(refs)], [hyps[utt] for utt in sorted(refs)]
    ensemble = found["ensemble"]
    assert ensemble["ua"] == pytest.approx(100 * sk.balanced_accuracy_score(*pair))
    assert ensemble["confusion"] == sk.confusion_matrix(*pair, labels=CLASSES).tolist()
    assert ensemble["ua"] > found["pooled"]["ua"] + found["seed_std"]["ua"]
    low, high = ensemble["ci95"]["ua"]
    assert low < ensemble["ua"] < high


def test_who_always_answers_one_class_has_scores_without_an_interval(tmp_path: Path) -> None:
    lone, other = run(tmp_path, "lone", seeds=(1, 2)), run(tmp_path, "other")
    for path in lone.glob("fold*/posteriors.tsv"):
        head, *rows = path.read_text().splitlines()
        cells = ["\t".join([*row.split("\t")[:2], "0.1", "0.2", "0.6", "0.1"]) for row in rows]
        path.write_text("\n".join([head, *cells]) + "\n")
    mark(lone)
    stages(tmp_path)
    found = read_json(lone / "scores.json")
    assert found["pooled"]["ua"] == 25
    assert found["pooled"]["ci95"] == found["ensemble"]["ci95"] == dict.fromkeys(METRICS)
    assert found["protocol"]["interval"] == "no interval: always answers neu"
    assert read_json(other / "scores.json")["pooled"]["ci95"]["ua"] is not None
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "- lone: no interval: always answers neu.\n" in results
    assert "other: no interval" not in results
    assert "| 25.00 |" in next(line for line in results.splitlines() if line.startswith("| lone |"))


def test_posteriors_of_other_utterances_or_labels_are_an_error(tmp_path: Path) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    path = directory / "fold2_seed2" / "posteriors.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match=r"fold2_seed2/posteriors\.tsv is not as it was"):
        score(["--expdir", str(tmp_path / "exp")])
    mark(directory)
    with pytest.raises(UserError, match=r"fold2_seed2/posteriors\.tsv: Spk4-29 is not there, but"):
        score(["--expdir", str(tmp_path / "exp")])
    utt, ref, *rest = lines[-1].split("\t")
    other = "ang" if ref == "sad" else "sad"
    path.write_text("".join([*lines[:-1], "\t".join([utt, other, *rest])]))
    mark(directory)
    with pytest.raises(UserError, match=rf"Spk4-29 is {other}, but of the fold's test it is {ref}"):
        score(["--expdir", str(tmp_path / "exp")])


def test_a_seed_without_all_folds_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = run(tmp_path, seeds=(1, 2))
    other = run(tmp_path, system="other")
    untest(directory / "fold2_seed2")
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
    untest(directory / "fold1_seed1")
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
    untest(directory / "fold1_seed1")
    with pytest.raises(UserError, match="run stages 5 and 6, or give"):
        score(["--expdir", str(tmp_path / "exp")])
    with pytest.raises(UserError, match="run stage 6"):
        report(["--expdir", str(tmp_path / "exp")])


def test_what_an_earlier_version_trained_is_left_out_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = run(tmp_path, "old"), run(tmp_path, "new")
    shutil.copytree(new, new.with_name(".session.old.7"))  # a killed process was removing it
    (old / "experiment.yaml").unlink()
    score(["--expdir", str(tmp_path / "exp")])
    assert "old/session is left out: it has no experiment.yaml, for an earlier" in caplog.text
    assert (new / "scores.json").exists()
    assert not (old / "scores.json").exists()
    assert not (new.with_name(".session.old.7") / "scores.json").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("net_fbank/session/fold1_seed1", "--fold was 1, now 2"),
        ("other/session/fold2_seed1", "its input experiment.yaml has changed"),
    ],
)
def test_another_training_is_not_scored_in_its_place(
    tmp_path: Path, other: str, message: str
) -> None:
    run(tmp_path, "other")
    place = run(tmp_path) / "fold2_seed1"
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "exp" / other, place)
    with pytest.raises(UserError, match=rf"fold2_seed1 was made differently \({message}.*stage 5"):
        score(["--expdir", str(tmp_path / "exp")])


def test_posteriors_of_another_network_are_not_scored(tmp_path: Path) -> None:
    directory = run(tmp_path)
    untest(directory / "fold2_seed1")
    for name in ("posteriors.tsv", ".posteriors.json"):
        shutil.copy(directory / "fold1_seed1" / name, directory / "fold2_seed1" / name)
    with pytest.raises(UserError, match=r"was made differently .*stage 6 .* with --force true"):
        score(["--expdir", str(tmp_path / "exp")])


def test_an_experiment_that_was_edited_or_lacks_a_key_is_named(tmp_path: Path) -> None:
    path = run(tmp_path) / "experiment.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("protocol:", "protocol", 1))
    with pytest.raises(UserError, match=r"experiment.yaml is not valid YAML: .*; run stage 5"):
        score(["--expdir", str(tmp_path / "exp")])
    path.write_text(whole.replace("protocol:", "protokoll:"))
    with pytest.raises(UserError, match=r"experiment.yaml was cut or edited, .*; run stage 5"):
        score(["--expdir", str(tmp_path / "exp")])
    seal(path, read_yaml(path))
    with pytest.raises(
        UserError, match=r"experiment.yaml is not as cfia writes it \(it lacks protocol"
    ):
        score(["--expdir", str(tmp_path / "exp")])


def test_an_utterance_without_a_speaker_is_named(tmp_path: Path) -> None:
    corpus(tmp_path)
    path = tmp_path / "data" / "all" / "utt2spk"
    before = path.read_text()
    path.write_text("".join(before.splitlines(keepends=True)[1:]))
    run(tmp_path)
    with pytest.raises(UserError, match="utt2spk lacks Spk1-00"):
        score(["--expdir", str(tmp_path / "exp")])
    path.write_text(before)  # other speakers than at the time of the training
    with pytest.raises(UserError, match=r"utt2spk is not what .* was trained with; put it back"):
        score(["--expdir", str(tmp_path / "exp")])


def test_stage_8_wants_the_scores_of_these_posteriors(tmp_path: Path) -> None:
    directory = run(tmp_path)
    report(["--expdir", str(tmp_path / "exp")])  # of a run that has not come to stage 7
    reported = (directory / "scores.json").read_bytes()
    stages(tmp_path)
    assert (directory / "scores.json").read_bytes() == reported
    shutil.copy(
        run(tmp_path, "better", skill=4) / "fold1_seed1" / "posteriors.tsv",
        directory / "fold1_seed1" / "posteriors.tsv",
    )
    with pytest.raises(UserError, match=r"its file posteriors\.tsv has .*stage 6"):
        report(["--expdir", str(tmp_path / "exp")])
    mark(directory)
    score(["--expdir", str(tmp_path / "exp")])
    os.truncate(directory / "scores.json", 100)
    with pytest.raises(UserError, match=r"net_fbank/session/scores.json does not go"):
        report(["--expdir", str(tmp_path / "exp")])
