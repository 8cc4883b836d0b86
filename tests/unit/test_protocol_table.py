"""The study of what a habit is worth, on made-up runs, against plain recomputation."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import t

from cfia.errors import UserError
from cfia.figures.points import draw
from cfia.figures.style import VERMILION, style
from cfia.kaldi.table import write_table
from cfia.posteriors import read_posteriors
from cfia.report.table import Table, markdown, to_csv
from cfia.study.paper_tables import Corpus
from cfia.study.protocol_rows import blocks
from cfia.study.protocol_table import lead, pictured, protocol_table
from cfia.study.study_rows import results
from cfia.study.write import write_tables
from tests.support.made_up_experiments import SPEAKERS, corpus, mark, pooled_recall, run
from tests.support.pictures import words_apart
from tests.support.studies import Recipe

STUDY = """\
cv: session
validation: random20
selection: valid
seeds: [1]
tables:
  protocol:
    layout: protocol
    blocks: [{block: Linear, systems: [linear], input: audio}, {block: Both, systems: [cfia_net]}]
    rows:
      - {name: base, seeds: [1, 2]}
      - {name: fixed, validation: none, selection: last}
      - {name: oracle, selection: test}
      - {name: own, selection: test, reported: own_epochs}
      - {name: best, seeds: [1, 2], reported: best_seed}
      - {name: all, seeds: [1, 2], reported: ensemble}
      - {name: random, cv: utterance3}
      - {name: part, cv: utterance10, folds: [1]}
      - {name: again, refit: true}
"""
SYSTEM = "linear_fbank"
CORPUS = Corpus("toy", ())
HEAD = "epoch,lr,train_loss,train_ce,train_con,con_grad_ratio,valid_loss,valid_wa,valid_ua,selected"
OWN = {1: (70.0, 66.0), 2: (60.0, 61.0), 3: (50.0, 59.0)}  # of each fold, the best WA and UA


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """All runs of the first system but the last row's; none of the second."""
    tmp = tmp_path_factory.mktemp("protocol")
    run(tmp, SYSTEM, skill=1.0, seeds=(1, 2), cv="session")
    run(tmp, SYSTEM, "session-none-last", skill=0.9, validation="none", selection="last")
    oracle = run(tmp, SYSTEM, "session-test", skill=1.3, selection="test")
    run(tmp, SYSTEM, "utterance3", skill=3.0, cv="utterance3")
    part: dict[str, Any] = {"cv": "utterance10", "only_folds": "1"}
    run(tmp, SYSTEM, "utterance10-fold1", skill=2.0, folds=(1,), **part)
    for k, (wa, ua) in OWN.items():
        rows = [f"1,1,1,1,0,0,1,{wa},{ua - 9},0", f"2,1,1,1,0,0,1,{wa - 5},{ua},1"]
        (oracle / f"fold{k}_seed1" / "history.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    mark(oracle)
    return Recipe(tmp, STUDY, data=False, expdir=str(tmp / "exp"))


@pytest.fixture(scope="module")
def table(recipe: Recipe) -> Table:
    plan = recipe.plan()
    return protocol_table(plan, blocks(results(plan)), CORPUS)


@pytest.fixture(scope="module")
def rows(table: Table) -> dict[str, dict[str, str]]:
    found = csv.DictReader(io.StringIO(to_csv(table)))
    return {row["method"]: row for row in found if row["block"] == "Linear"}


def exp(recipe: Recipe) -> Path:
    return Path(recipe.options["expdir"]) / SYSTEM


def fold_recall(directory: Path, k: int) -> float:
    """UA of a fold of the first seed, which tests two speakers."""
    found = read_posteriors(directory / f"fold{k}_seed1" / "posteriors.tsv")
    hits = [np.mean(found.hyps[found.refs == c] == c) for c in np.unique(found.refs)]
    return 100 * float(np.mean(hits))


def jackknifed(values: Sequence[float]) -> float:
    """Half of the 95 % interval of an estimate, from its values without each speaker."""
    n = len(values)
    variance = (n - 1) / n * sum((value - np.mean(values)) ** 2 for value in values)
    return float(t.ppf(0.975, n - 1) * np.sqrt(variance))


def test_points_are_over_the_honest_row_with_its_seeds_and_speakers(
    recipe: Recipe, rows: dict[str, dict[str, str]]
) -> None:
    base = exp(recipe) / "session"
    mean = np.mean([pooled_recall(base, seed) for seed in (1, 2)])
    assert float(rows["base"]["ua"]) == pytest.approx(mean, abs=1e-4)
    assert rows["base"]["difference"] == ""
    for name, scheme in (("fixed", "session-none-last"), ("oracle", "session-test")):
        row, directory = rows[name], exp(recipe) / scheme
        value = pooled_recall(directory, 1) - pooled_recall(base, 1)
        assert float(row["ua"]) == pytest.approx(pooled_recall(directory, 1), abs=1e-4)
        assert float(row["difference"]) == pytest.approx(value, abs=1e-4)
        without = [
            pooled_recall(directory, 1, speaker) - pooled_recall(base, 1, speaker)
            for speaker in SPEAKERS
        ]
        half = jackknifed(without)
        assert float(row["difference_low"]) == pytest.approx(value - half, abs=1e-3)
        assert float(row["difference_high"]) == pytest.approx(value + half, abs=1e-3)
        assert 0 < float(row["p"]) <= float(row["holm"])


def test_every_row_says_what_it_is(rows: dict[str, dict[str, str]]) -> None:
    assert {name: row["stamp"] for name, row in rows.items()} == {
        "base": "honest",
        "fixed": "honest; the recipe's 100 epochs",
        "oracle": "oracle",
        "own": "oracle; WA and UA of different epochs",
        "best": "best of 2 seeds on the test folds",
        "all": "ensemble of 2",
        "random": "speakers in training and test",
        "part": "speakers in training and test; fold 1 of 3 alone",
        "again": "",
    }
    assert rows["again"]["source"] == "not finished: run the study again"
    assert re.search(r"; seed [12] of seeds 1 2$", rows["best"]["protocol"])


def test_best_epochs_of_their_own_are_read_and_held_against_the_folds(
    recipe: Recipe, rows: dict[str, dict[str, str]]
) -> None:
    row, base = rows["own"], exp(recipe) / "session"
    was, uas = zip(*OWN.values(), strict=True)
    assert float(row["wa"]) == pytest.approx(np.mean(was), abs=1e-4)
    assert float(row["ua"]) == pytest.approx(np.mean(uas), abs=1e-4)
    of_base = [fold_recall(base, k) for k in OWN]
    differences = np.subtract(uas, of_base)
    half = t.ppf(0.975, 2) * differences.std(ddof=1) / np.sqrt(3)
    assert float(row["difference"]) == pytest.approx(differences.mean(), abs=1e-3)
    assert float(row["difference_low"]) == pytest.approx(differences.mean() - half, abs=1e-3)
    assert row["p"] == ""


def test_the_best_seed_and_the_ensemble_are_of_the_same_networks(
    recipe: Recipe, rows: dict[str, dict[str, str]]
) -> None:
    base = exp(recipe) / "session"
    seeds = [pooled_recall(base, seed) for seed in (1, 2)]
    assert float(rows["best"]["ua"]) == pytest.approx(max(seeds), abs=1e-4)
    assert float(rows["best"]["difference"]) == pytest.approx(max(seeds) - np.mean(seeds), abs=1e-4)
    assert rows["best"]["p"] == "", "what was chosen for its score"
    right: list[list[int]] = [[0, 0] for _ in range(4)]
    for k in (1, 2, 3):
        both = [read_posteriors(base / f"fold{k}_seed{s}" / "posteriors.tsv") for s in (1, 2)]
        hyps = (both[0].probs + both[1].probs).argmax(1)
        for ref, hyp in zip(both[0].refs, hyps, strict=True):
            right[ref][0] += ref == hyp
            right[ref][1] += 1
    ua = 100 * np.mean([hits / n for hits, n in right])
    assert float(rows["all"]["ua"]) == pytest.approx(ua, abs=1e-4)
    assert float(rows["all"]["difference"]) == pytest.approx(ua - np.mean(seeds), abs=1e-4)


def test_a_fold_alone_is_not_paired(recipe: Recipe, rows: dict[str, dict[str, str]]) -> None:
    part, base = rows["part"], pooled_recall(exp(recipe) / "session", 1)
    assert part["n"] == "60"
    for end in ("", "_low", "_high"):
        moved = float(part[f"ua{end}"]) - base
        assert float(part[f"difference{end}"]) == pytest.approx(moved, abs=1e-3)
    assert part["p"] == ""


def test_the_words_above_and_below_say_what_it_shows_and_how_it_was_made(table: Table) -> None:
    first, linear, last = table.lead
    assert "Rows that are not honest have " in first
    assert linear.startswith("Linear (honest row ")
    for kind in ("not honest, more than noise: random +", "within noise: "):
        assert kind in linear
    assert last.endswith("is its users' to run (egs/iemocap/README.md).")
    said = " ".join(table.notes)
    for words in ("Honest: nothing was", "oracle: each", "delete-one-speaker jackknife of the",
                  "different epochs: the highest", "Best of the seeds: ", "part: tests 60 utt",
                  "corrected for comparisons together: Linear, 4.", "Trained, Linear: adam",
                  "Validation none: no", "Tested: 180 utterances of 6 speakers"):  # fmt: skip
        assert words in said
    assert markdown(table).index(linear) < markdown(table).index("| habit |")


def test_the_picture_marks_what_is_not_honest_and_has_room_for_all_names(recipe: Recipe) -> None:
    (block,) = pictured(blocks(results(recipe.plan())))
    with style():
        figure = draw("What a habit is worth", [block])
        assert words_apart(figure) > 12
    axes = figure.axes[0]
    names = {text.get_text().split(" [")[0]: to_hex(text.get_color()).upper()
             for text in axes.get_yticklabels()}  # fmt: skip
    stamped = {name for name, colour in names.items() if colour == VERMILION}
    assert stamped == {"oracle", "own", "best", "all", "random", "part"}
    assert set(names) - stamped == {"fixed"}
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    drawn = [line for line in hollow if np.size(line.get_xdata())]
    assert len(drawn) == 2, "own and part are not paired"


def test_its_files_are_written_and_a_study_without_results_has_no_picture(
    recipe: Recipe, tmp_path: Path
) -> None:
    shown = write_tables(recipe.plan())
    assert "What it shows" in shown
    tables = Path(recipe.options["expdir"]) / "tables"
    assert {path.suffix for path in tables.glob("protocol.*")} == {
        ".csv", ".md", ".png", ".svg", ".tex"
    }  # fmt: skip
    page = (Path(recipe.options["expdir"]) / "study" / "toy" / "report.html").read_text()
    assert page.index("What it shows") < page.index("<table>")
    empty = Recipe(tmp_path, STUDY, data=False)
    plan = empty.plan()
    table = protocol_table(plan, blocks(results(plan)), CORPUS)
    assert not table.lead
    assert not pictured(blocks(results(plan)))


def test_the_corpus_of_published_numbers_is_not_sent_elsewhere(recipe: Recipe) -> None:
    shown = blocks(results(recipe.plan()))
    assert lead(shown, Corpus("IEMOCAP", ()), "iemocap")[-1] == "These are numbers of IEMOCAP."


@pytest.mark.parametrize(
    ("sessions", "words"),
    [("AABBCC", "honest"), ("ABABCC", "honest; sessions of the test in training")],
)
def test_a_session_on_both_sides_is_named_and_no_stamp(
    sessions: str, words: str, tmp_path: Path
) -> None:
    """A fold tests speakers 1 and 2, 3 and 4, or 5 and 6."""
    of_speaker = dict(zip(SPEAKERS, sessions, strict=True))
    table = {utt: of_speaker[utt.split("-")[0]] for utt in corpus(tmp_path)}
    write_table(tmp_path / "data" / "all" / "utt2session", table)
    run(tmp_path, SYSTEM, cv="session")
    plan = Recipe(tmp_path, STUDY, data=False, expdir=str(tmp_path / "exp")).plan()
    base = blocks(results(plan))[0].base
    assert base.honest
    assert base.in_words == words


def test_a_row_that_has_no_second_seed_says_so(recipe: Recipe, tmp_path: Path) -> None:
    study = STUDY.replace("seeds: [1, 2]", "seeds: [1]")
    study = "\n".join(line for line in study.splitlines() if "again" not in line)
    study = study.replace(", {block: Both, systems: [cfia_net]}", "")
    plan = Recipe(tmp_path, study, data=False, expdir=recipe.options["expdir"]).plan()
    text = markdown(protocol_table(plan, blocks(results(plan)), CORPUS))
    for name in ("best", "all"):
        assert re.search(rf"\| {name} \|.* one seed: there are no others beside it \|", text)


def test_own_epochs_are_of_a_row_that_selects_on_the_test_fold(tmp_path: Path) -> None:
    study = STUDY.replace("selection: test, reported", "reported")
    with pytest.raises(UserError, match="reported: own_epochs needs selection: test in its row"):
        Recipe(tmp_path, study, data=False).plan()
