"""The paper's tables with our rows, on made-up runs, against plain versions."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import sem
from sklearn.metrics import balanced_accuracy_score

from cfia.errors import UserError
from cfia.report.table import Column, Table, latex, markdown, plain, to_csv
from cfia.scoring.cells import Cell, Spread
from cfia.study.paper_tables import Corpus, paper_table
from cfia.study.published import read_published
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import results
from cfia.study.write import write_tables
from tests.support.made_up_experiments import read_pairs, recall, run
from tests.support.studies import Recipe

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = read_published(ROOT / "conf" / "published.yaml")
LINES = list[dict[str, str]]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe without data: only its experiment directory is read."""
    return Recipe(tmp_path, data=False, expdir=str(tmp_path / "exp"))


def made(plan: StudyPlan, name: str) -> tuple[LINES, list[str]]:
    """A table's lines, from its CSV, and its notes."""
    rows = [result for result in results(plan) if result.row.table == name]
    table = paper_table(plan, name, rows, PUBLISHED[name], Corpus("toy", ()))
    return list(csv.DictReader(io.StringIO(to_csv(table)))), list(table.notes)


def test_the_papers_rows_come_in_its_order_as_published(recipe: Recipe) -> None:
    plan = recipe.plan("paper")
    for name in dict.fromkeys(row.table for row in plan.study.rows):
        table = PUBLISHED[name]
        lines, notes = made(plan, name)
        found = [line for line in lines if line["source"] == "as published"]
        expected = [row for block in table.blocks for row in block.rows.values()]
        assert len(found) == len(expected)
        for line, row in zip(found, expected, strict=True):
            for key, value in row.items():
                shown = f"{value:.4f}" if isinstance(value, float) else str(value or "")
                assert line[key] == shown, (name, row)
            assert line["protocol"].startswith(("5-fold CV", "10-fold CV"))
        assert notes[-len(table.notes) :] == list(table.notes) or not table.notes
        ours = [line for line in lines if line["source"] != "as published"]
        assert {line["source"] for line in ours} <= {
            "not finished: run the study again",
            "not run: no model given (--audio_model wavlm=DIR)",
        }
        assert {line["wa"] for line in ours} == {""}


def test_ours_stand_below_the_published_row(recipe: Recipe) -> None:
    lines, _ = made(recipe.plan("paper"), "table1")
    session = [line for line in lines if line["block"] == "5-fold CV"]
    assert [line["system"] for line in session[-3:]] == ["", "cfia_net", "cfia_net_paper"]
    assert [line["audio"] for line in session[-3:]] == ["emotion2vec", "fbank", "fbank"]
    lines, _ = made(recipe.plan("paper"), "table3")
    ticks = ["".join("x" if line[f"con{i}"] else "-" for i in (1, 2, 3)) for line in lines]
    assert ticks == ["---"] * 3 + ["x--"] * 3 + ["-x-"] * 3 + ["--x"] * 3 + ["xxx"] * 5 + ["---"]
    lines, _ = made(recipe.plan("paper"), "table4")
    assert [line["system"] for line in lines if line["block"] == "Controls"] == [
        "one_share", "share_per_f", "late_fusion"]  # fmt: skip
    assert [line["system"] for line in lines if not line["block"]][-2:] == ["", "addition"]


def pooled(directory: Path, n_seeds: int) -> list[float]:
    """UA of each seed's folds together."""
    found = []
    for seed in range(1, n_seeds + 1):
        pairs = [
            read_pairs(directory / f"fold{k}_seed{seed}" / "posteriors.tsv") for k in (1, 2, 3)
        ]
        refs, hyps = ([label for pair in pairs for label in pair[i]] for i in (0, 1))
        found.append(100 * balanced_accuracy_score(refs, hyps))
    return found


def test_scores_over_folds_and_seeds_by_hand(recipe: Recipe, tmp_path: Path) -> None:
    system = "cfia_net_fbank_minilm"
    directory = run(tmp_path, system, seeds=(1, 2, 3, 9), skill=1.0)
    lines, notes = made(recipe.plan("paper", seeds="1 2 3"), "table1")
    (line,) = [line for line in lines if line["system"] == system and line["wa"]]
    by_seed = [
        np.mean([recall(directory / f"fold{k}_seed{s}" / "posteriors.tsv") for k in (1, 2, 3)])
        for s in (1, 2, 3)
    ]
    assert float(line["ua"]) == pytest.approx(np.mean(by_seed), abs=1e-4)
    assert float(line["ua_std"]) == pytest.approx(np.std(by_seed, ddof=1), abs=1e-4)
    assert float(line["ua_pooled_low"]) < float(line["ua_pooled"]) < float(line["ua_pooled_high"])
    assert float(line["ua_pooled"]) == pytest.approx(np.mean(pooled(directory, 3)), abs=1e-4)
    (ensemble,) = [line for line in lines if "ensemble" in line["system"]]
    assert ensemble["system"] == f"{system}, ensemble of 3"
    assert lines.index(ensemble) == lines.index(line) + 1
    assert float(ensemble["ua_pooled"]) > float(line["ua_pooled"])
    assert ensemble["wa"] == ensemble["ua"] == "", "not in the columns of the published numbers"
    assert line["protocol"] == (
        "leave one session out, 3 folds; validation random20; epoch selected on the validation "
        "part; seeds 1 2 3"
    )
    assert line["exposure"] == "whisper: unknown"
    assert "±" in notes[0]
    one, notes = made(recipe.plan("paper", seeds="1"), "table1")
    (line,) = [line for line in one if line["system"] == system and line["wa"]]
    assert float(line["ua"]) == pytest.approx(by_seed[0], abs=1e-4)
    assert "ua_std" in line
    assert line["ua_std"] == ""
    assert "±" not in notes[0]
    missing, _ = made(recipe.plan("paper", seeds="1 4"), "table1")
    assert "ours; not finished: without seed 4" in {line["source"] for line in missing}


def test_what_was_selected_on_the_test_fold_says_oracle(recipe: Recipe, tmp_path: Path) -> None:
    run(tmp_path, "cfia_net_fbank_minilm", "session-test", selection="test")
    lines, _ = made(recipe.plan("paper", selection="test"), "table1")
    (line,) = [line for line in lines if line["ua_pooled"]]
    assert line["source"] == "ours (oracle)"
    assert line["system"].endswith("(oracle)")
    assert "oracle: epoch selected on the test fold" in line["protocol"]


def histories(directory: Path, power: int) -> None:
    """A history.csv for each fold; the second epoch, of share 10^-(2 + power), is selected."""
    for path in directory.glob("fold*"):
        rows = [f"{epoch},{10.0 ** -(epoch + power)},{int(epoch == 2)}" for epoch in (1, 2, 3)]
        lines = ["epoch,con_grad_ratio,selected", *rows]
        (path / "history.csv").write_text("\n".join(lines) + "\n")


def test_an_ablation_says_what_it_could_have_detected(recipe: Recipe, tmp_path: Path) -> None:
    weights = {"no_con_": [], "con2_": [0, 3e-4, 0], "sum_": [5e-4, 3e-4, 1e-4], "": [5e-4, 0, 0]}
    for number, (kind, consistency) in enumerate(weights.items()):
        form = "sum_per_utt" if kind == "sum_" else "mean"
        directory = run(tmp_path, f"cfia_net_{kind}fbank_minilm", "speaker", skill=1 + number,
                        cv="speaker", consistency=consistency, consistency_loss=form)  # fmt: skip
        histories(directory, number)
    lines, notes = made(recipe.plan("paper"), "table3")
    rows = {line["system"]: line for line in lines if line["ua_pooled"]}
    assert rows["cfia_net_no_con_fbank_minilm"]["form"] == "none"
    assert rows["cfia_net_no_con_fbank_minilm"]["difference"] == ""
    assert rows["cfia_net_con2_fbank_minilm"]["form"] == "mean"
    assert rows["cfia_net_con2_fbank_minilm"]["share"] == "1.0e-03"
    assert rows["cfia_net_sum_fbank_minilm"]["form"] == "summed per utterance"
    base = float(rows["cfia_net_no_con_fbank_minilm"]["ua_pooled"])
    compared = [row for row in rows.values() if row["difference"]]
    assert len(compared) == 3
    for row in compared:
        assert row["against"] == "cfia_net_no_con"
        assert float(row["difference"]) == pytest.approx(float(row["ua_pooled"]) - base, abs=2e-4)
        assert float(row["holm"]) >= float(row["p"])
    # The two of the paper that were not made have nothing to be compared with.
    assert sum("corrected for 3 comparisons" in note for note in notes) == 1
    smallest = min(float(row["detectable"]) for row in compared)
    largest = max(float(row["detectable"]) for row in compared)
    (note,) = [note for note in notes if "could have detected" in note]
    assert f"{smallest:.2f} to {largest:.2f} points" in note


def test_differences_of_several_seeds_say_what_seeds_make_of_them(
    recipe: Recipe, tmp_path: Path
) -> None:
    directories = [
        run(tmp_path, f"cfia_net_{kind}fbank_minilm", "speaker", skill=skill, cv="speaker",
            seeds=(1, 2, 3), consistency=[])
        for kind, skill in (("no_con_", 1.0), ("con2_", 2.0))
    ]  # fmt: skip
    lines, notes = made(recipe.plan("paper", seeds="1 2 3"), "table3")
    (row,) = [line for line in lines if line["difference"]]
    base, moved = (pooled(directory, 3) for directory in directories)
    assert float(row["difference"]) == pytest.approx(np.mean(moved) - np.mean(base), abs=1e-4)
    assert float(row["seeds"]) == pytest.approx(np.hypot(sem(base), sem(moved)), abs=1e-4)
    assert sum("luck of the seeds" in note for note in notes) == 1


def test_titles_say_one_seed_where_there_is_one(recipe: Recipe, tmp_path: Path) -> None:
    run(tmp_path, "cfia_net_fbank_minilm", seeds=(1, 2))
    for seeds, one in (("1", True), ("1 2", False)):
        plan = recipe.plan("paper", seeds=seeds)
        rows = [result for result in results(plan) if result.row.table == "table1"]
        title = paper_table(plan, "table1", rows, PUBLISHED["table1"], Corpus("toy", ())).title
        assert title.endswith(", one seed") == one


def test_a_recipe_says_which_encoders_stand_in(recipe: Recipe) -> None:
    _, notes = made(recipe.plan("paper"), "table2")
    stands = [note for note in notes if "in its place" in note]
    assert len(stands) == 1
    assert "The paper's audio encoder is emotion2vec" in stands[0]
    assert "fbank" in stands[0]
    own = {
        "audio_upstream": "emotion2vec",
        "audio_model": "emotion2vec=emotion2vec/emotion2vec_base",
    }
    _, notes = made(recipe.plan("paper", **own), "table2")
    assert not [note for note in notes if "in its place" in note]


def test_all_files_are_written_once_and_kept_by_the_tag(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, "cfia_net_fbank_minilm_smoke")
    caplog.set_level("INFO")
    shown = write_tables(recipe.plan("smoke"))
    tables = tmp_path / "exp" / "tables" / "smoke"
    of_study = ("table1", "table2", "table3", "table4", "peers", "peers_published", "protocol")
    names = {f"{table}.{end}" for table in of_study for end in ("csv", "md", "tex")}
    with_results = ("table1", "table3", "peers")
    names |= {f"{n}.{end}" for n in with_results for end in ("png", "svg")}
    files = [path for path in tables.iterdir() if not path.name.startswith(".")]
    assert {path.name for path in files} == names
    assert "This study sets epochs=1 hidden=8" in (tables / "table1.md").read_text()
    files.append(tmp_path / "exp" / "study" / "smoke" / "report.html")
    page = files[-1].read_text()
    assert "5-fold CV</th></tr>" in page
    assert 'href="./../../cfia_net_fbank_minilm_smoke/session/"' in page
    assert page.count("<img") == 3
    assert "cfia_net_fbank_minilm_smoke" in shown
    before = {path: path.read_bytes() for path in files}
    write_tables(recipe.plan("smoke"))
    assert "up to date" in caplog.text
    assert before == {path: path.read_bytes() for path in files}


def test_a_row_under_no_published_one_is_named(tmp_path: Path) -> None:
    study = (ROOT / "conf" / "study" / "smoke.yaml").read_text()
    assert "under: session," in study
    study = study.replace("under: session,", "under: sessions,")
    recipe = Recipe(tmp_path, study, data=False)
    with pytest.raises(UserError, match="a row stands under 'sessions'"):
        write_tables(recipe.plan())


def test_headings_inside_a_table() -> None:
    columns = [Column("name", "Name"), Column("ua", "UA")]
    rows: list[dict[str, Cell]] = [
        {"name": name, "ua": Spread(float(n), None)} for n, name in enumerate("abc")
    ]
    table = Table("T", columns, rows, blocks={0: "5-fold_CV", 2: "Other"})
    shown = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert shown[2:] == [
        "| **5-fold_CV** |  |", "| a | 0.00 |", "| b | 1.00 |", "| **Other** |  |", "| c | 2.00 |",
    ]  # fmt: skip
    body = latex(table, "t").split("\\toprule")[1].split("\\bottomrule")[0]
    assert body.count("\\midrule") == 2
    assert "\\multicolumn{2}{l}{\\textit{5-fold\\_CV}} \\\\" in body
    assert to_csv(table).splitlines() == [
        "block,name,ua,ua_std", "5-fold_CV,a,0.0000,", "5-fold_CV,b,1.0000,", "Other,c,2.0000,"
    ]  # fmt: skip
    assert plain(table).splitlines()[4:] == ["", "5-fold_CV", "a     0.00", "b     1.00", "",
                                             "Other", "c     2.00"]  # fmt: skip
    assert table.only(["name"]).blocks == table.blocks
    without = Table("T", columns, rows)
    assert to_csv(without).startswith("name,ua,ua_std\n")
    assert latex(without, "t").count("\\midrule") == 1
