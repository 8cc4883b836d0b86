"""Scores by class and of subsets, in scores.json and RESULTS.md."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from sklearn import metrics as sk

from cfia.bin.score import main as score
from cfia.errors import UserError
from cfia.files import read_json
from cfia.kaldi.table import write_table
from cfia.report.part_tables import subset_tables
from cfia.report.table import markdown
from cfia.scoring.scores_file import score as score_one
from cfia.scoring.trained import find_trained
from tests.support.made_up_experiments import CLASSES, SPEAKERS, corpus, run, stages


def rows(directory: Path, seed: int = 1) -> list[dict[str, str]]:
    """The rows of all posteriors of one seed."""
    found: list[dict[str, str]] = []
    for path in sorted(directory.glob(f"fold*_seed{seed}/posteriors.tsv")):
        with open(path, newline="") as handle:
            found += csv.DictReader(handle, delimiter="\t")
    return found


def hypothesis(row: dict[str, str]) -> str:
    return max(CLASSES, key=lambda name: float(row[name]))


def test_scores_of_each_class_are_those_of_scikit_learn(tmp_path: Path) -> None:
    directory = run(tmp_path, skill=0.7)
    stages(tmp_path)
    pooled = read_json(directory / "scores.json")["pooled"]
    table = rows(directory)
    refs, hyps = [row["ref"] for row in table], [hypothesis(row) for row in table]
    assert pooled["confusion"] == sk.confusion_matrix(refs, hyps, labels=CLASSES).tolist()
    expected = sk.classification_report(refs, hyps, labels=CLASSES, output_dict=True)
    assert list(pooled["classes"]) == CLASSES
    for name, found in pooled["classes"].items():
        assert found["n"] == expected[name]["support"]
        for ours, theirs in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
            assert found[ours] == pytest.approx(100 * expected[name][theirs], abs=1e-12)
    line = pooled["confusion"][0]
    happy = pooled["classes"]["ang"]
    assert (
        f"| ang | {' | '.join(map(str, line))} | {happy['n']} | {happy['precision']:.2f} |"
        in (tmp_path / "exp" / "RESULTS.md").read_text()
    )


def with_tables(tmp_path: Path) -> dict[str, dict[str, str]]:
    """What subsets need: types, transcripts, those with tags, and the fold lists."""
    utts = list(corpus(tmp_path))
    tables = {
        "utt2type": {utt: "script" if int(utt[-2:]) % 3 else "impro" for utt in utts},
        # Ten lines that each speaker says, and twenty of their own.
        "text": {utt: utt[-1] if utt[-2] == "0" else f"words of {utt}" for utt in utts},
    }
    tables["raw"] = {
        utt: f"{text} [LAUGHTER]" if utt.endswith("7") else text
        for utt, text in tables["text"].items()
    }
    data, keep = tmp_path / "data" / "all", tmp_path / "data" / "all_keep"
    keep.mkdir(parents=True)
    write_table(data / "utt2type", tables["utt2type"])
    write_table(data / "text", tables["text"])
    write_table(keep / "text", tables["raw"])
    for k in (1, 2, 3):
        path = tmp_path / "data" / "folds" / str(k) / "train"
        train = [utt for utt in path.read_text().splitlines() if not utt.endswith("05")]
        path.write_text("".join(f"{utt}\n" for utt in train))
    return tables


def test_subsets_are_scored_as_if_they_were_all(tmp_path: Path) -> None:
    tables = with_tables(tmp_path)
    directory = run(tmp_path, skill=0.7, seeds=(1, 2))
    stages(tmp_path)
    found = read_json(directory / "scores.json")["pooled"]["subsets"]
    wanted = {
        "improvised": {u for u, of in tables["utt2type"].items() if of == "impro"},
        "scripted": {u for u, of in tables["utt2type"].items() if of == "script"},
        # Line 5 was left out of every training list.
        "unseen_text": {u for u in tables["text"] if u[-2] != "0" or u.endswith("05")},
        "tagged": {u for u in tables["raw"] if u.endswith("7")},
    }
    assert list(found) == list(wanted)
    for name, utts in wanted.items():
        wa, ua = [], []
        for seed in (1, 2):
            part = [row for row in rows(directory, seed) if row["utt"] in utts]
            refs, hyps = [row["ref"] for row in part], [hypothesis(row) for row in part]
            wa.append(100 * sk.accuracy_score(refs, hyps))
            ua.append(100 * sk.balanced_accuracy_score(refs, hyps))
        assert found[name]["n"] == len(utts) == len(part)
        assert found[name]["ua"] == pytest.approx((ua[0] + ua[1]) / 2)
        assert found[name]["wa"] == pytest.approx((wa[0] + wa[1]) / 2)
        low, high = found[name]["ci95"]["ua"]
        assert low < found[name]["ua"] < high
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "**Subsets of the test utterances, scheme session**" in results
    assert "Utterances: improvised 60, scripted 120, text not seen in training 126" in results


def test_transcripts_with_their_tags_say_it_themselves(tmp_path: Path) -> None:
    tables = with_tables(tmp_path)
    keep = tmp_path / "data" / "all_keep"
    shutil.copy(tmp_path / "data" / "all" / "utt2spk", keep)
    directory = run(tmp_path, text_tags="keep", data=keep)
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")["pooled"]["subsets"]
    assert {name: of["n"] for name, of in found.items()} == {
        "unseen_text": sum(u[-2] != "0" or u.endswith("05") for u in tables["raw"]),
        "tagged": sum("[" in text for text in tables["raw"].values()),
    }


def test_columns_of_the_corpus_are_tables_of_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utts = corpus(tmp_path)
    data = tmp_path / "data" / "all"
    genders = {speaker: "fm"[i % 2] for i, speaker in enumerate(SPEAKERS)}
    write_table(data / "spk2gender", genders)
    levels = {utt: "low" if ref == "ang" else "high" for utt, ref in utts.items()}
    write_table(data / "utt2level", levels)
    write_table(data / "utt2wav", {utt: f"{utt}.wav" for utt in utts})
    run(tmp_path, "other_fbank")
    directory = run(tmp_path, seeds=(1, 2))
    score(["--expdir", str(tmp_path / "exp")])
    found = read_json(directory / "scores.json")["pooled"]["subsets"]
    assert list(found) == ["gender f", "gender m", "level high", "level low"]
    part = [row for row in rows(directory) if genders[row["utt"].split("-")[0]] == "f"]
    assert found["gender f"]["n"] == len(part) == 90
    assert found["level low"]["absent"] == ["hap", "neu", "sad"]
    assert "absent" not in found["gender f"]
    tables = subset_tables(
        [score_one(trained) for trained in find_trained(tmp_path / "exp")]
    ).values()
    results = "".join(map(markdown, tables))
    assert "| system | UA, gender f | UA, gender m |" in results
    assert "**Subsets of the test utterances by level, scheme session**" in results
    assert "UA is over the classes that there are: level high lacks ang; level low lacks" in results
    assert "Utterances: gender f 90, gender m 90." in results
    said = [message for message in caplog.messages if "makes no subsets" in message]
    assert len(said) == 1, "once, not for each system"
    assert "utt2wav makes no subsets: it has 180 values" in said[0]


def test_a_subset_that_the_data_does_not_know_is_left_out(tmp_path: Path) -> None:
    directory = run(tmp_path)
    stages(tmp_path)
    assert read_json(directory / "scores.json")["pooled"]["subsets"] == {}
    assert "Subsets" not in (tmp_path / "exp" / "RESULTS.md").read_text()


def test_fold_lists_that_were_made_again_do_not_go_unseen(tmp_path: Path) -> None:
    with_tables(tmp_path)
    run(tmp_path)
    (tmp_path / "data" / "folds" / "2" / "train").write_text("Spk3-00\n")
    with pytest.raises(UserError, match=r"folds is not what .* was trained with; put it back, tra"):
        score(["--expdir", str(tmp_path / "exp")])
    run(tmp_path, "trained_with_them")
    shutil.rmtree(tmp_path / "exp" / "net_fbank")
    with pytest.raises(UserError, match=r"2/train names Spk3-00, .* train again"):
        score(["--expdir", str(tmp_path / "exp")])
