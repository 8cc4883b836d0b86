"""The study of what the paper leaves open, on made-up runs, and its picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem

from cfia.figures.style import style
from cfia.report.table import to_csv
from cfia.study.curve import ORACLE, SEED, draw, plot_curve, points
from cfia.study.paper_tables import Corpus
from cfia.study.readings import readings_table, sweeps
from cfia.study.study_rows import results
from cfia.study.write import write_tables
from tests.support.made_up_experiments import pooled_recall, run
from tests.support.pictures import words_apart
from tests.support.studies import Recipe

STUDY = """\
tables:
  readings:
    layout: readings
    cv: session
    rows:
      - {block: Audio and text, systems: [cfia_net], seeds: [1, 2, 3]}
      - block: Audio and text
        systems: [cfia_net]
        moves: {mlp: [two, split], layers: [2], consistency: [[]], selection: [test]}
      - {block: Audio alone, input: audio, systems: [cfia_net], seeds: [1, 2, 3]}
      - {block: Audio alone, input: audio, systems: [cfia_net], moves: {unimodal: [bypass]}}
"""
BASE = "cfia_net_fbank_minilm"
CORPUS = Corpus("toy", ())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Runs of the base with three seeds, of one choice far better and one not finished."""
    tmp = tmp_path_factory.mktemp("readings")
    config: dict[str, Any] = {"mlp": "two", "layers": 1, "consistency": [5e-4, 3e-4, 1e-4]}
    run(tmp, BASE, seeds=(1, 2, 3), skill=1.0, **config)
    run(tmp, f"{BASE}_mlp-split", skill=4.0, **config)
    run(tmp, f"{BASE}_consistency-none", skill=1.0, seeds=(1, 2), **config)
    run(tmp, BASE, "session-test", skill=1.2, selection="test", **config)
    return Recipe(tmp, STUDY, data=False, expdir=str(tmp / "exp"), study_seeds="1 2")


def lines(recipe: Recipe) -> tuple[dict[str, dict[str, str]], list[str]]:
    plan = recipe.plan()
    table = readings_table(plan, results(plan), CORPUS)
    rows = csv.DictReader(io.StringIO(to_csv(table)))
    return {row["point"]: row for row in rows if row["block"] == "Audio and text"}, list(
        table.notes
    )


def test_each_choice_is_held_against_the_base_with_its_seeds(recipe: Recipe) -> None:
    rows, notes = lines(recipe)
    assert list(rows) == ["the base", "mlp", "layers", "consistency", "selection"]
    exp = Path(recipe.options["expdir"])
    seeds = [pooled_recall(exp / BASE / "session", seed) for seed in (1, 2, 3)]
    assert float(rows["the base"]["ua"]) == pytest.approx(np.mean(seeds), abs=1e-4)
    assert float(rows["the base"]["ua_std"]) == pytest.approx(np.std(seeds, ddof=1), abs=1e-4)
    split = pooled_recall(exp / f"{BASE}_mlp-split" / "session", 1)
    assert rows["mlp"]["here"] == "two"
    assert rows["mlp"]["value"] == "split"
    assert rows["mlp"]["beyond"] == "yes"
    assert float(rows["mlp"]["difference"]) == pytest.approx(split - seeds[0], abs=1e-4)
    assert rows["mlp"]["source"] == "ours; not finished: without seed 2"
    assert rows["layers"]["source"] == "not finished: run the study again"
    assert rows["layers"]["ua"] == ""
    assert rows["consistency"]["value"] == "none"
    # Two seeds: the difference is of the mean of single networks, the base's with the same seeds.
    moved = [pooled_recall(exp / f"{BASE}_consistency-none" / "session", seed) for seed in (1, 2)]
    difference = np.mean(moved) - np.mean(seeds[:2])
    assert float(rows["consistency"]["difference"]) == pytest.approx(difference, abs=1e-4)
    luck = np.hypot(sem(moved), sem(seeds[:2]))
    assert float(rows["consistency"]["seeds"]) == pytest.approx(luck, abs=1e-4)
    assert rows["mlp"]["seeds"] == ""
    assert rows["selection"]["source"].startswith("ours (oracle)")
    assert rows["selection"]["system"].endswith("(oracle)")
    assert any(f"3 seeds of the base give UA from {min(seeds):.2f} to {max(seeds):.2f}" in note
               for note in notes)  # fmt: skip
    assert "Left out, for the base has them here: mlp two." in notes


def test_the_curve_shows_every_result_once_in_rising_order(recipe: Recipe) -> None:
    plan = recipe.plan()
    both, alone = sweeps(results(plan))
    found = points(both)
    assert [p.value for p in found] == sorted(p.value for p in found)
    assert sum(p.marker is SEED for p in found) == 3
    (oracle,) = [p for p in found if p.marker is ORACLE]
    assert oracle.line == "selection: test (oracle)"
    assert sorted({p.line for p in found}) == [
        "consistency: none", "mlp: split", "selection: test (oracle)", "the base, 3 seeds"
    ]  # fmt: skip
    assert points(alone) == []


def test_the_picture_is_the_same_bytes_and_is_there_only_with_results(
    recipe: Recipe, tmp_path: Path
) -> None:
    first = plot_curve("t", sweeps(results(recipe.plan())))
    assert first is not None
    assert first.png.startswith(b"\x89PNG")
    assert b"<svg" in first.svg
    assert first == plot_curve("t", sweeps(results(recipe.plan())))
    empty = Recipe(tmp_path, STUDY, data=False)
    assert plot_curve("t", sweeps(results(empty.plan()))) is None
    write_tables(recipe.plan())
    tables = Path(recipe.options["expdir"]) / "tables"
    assert sorted(path.suffix for path in tables.glob("readings.*")) == [
        ".csv", ".md", ".png", ".svg", ".tex"
    ]  # fmt: skip


def test_nothing_in_the_picture_overlaps_or_is_cut_off(recipe: Recipe) -> None:
    with style():
        title = "A title that is rather long, on a corpus of ten speakers, and longer than a line"
        figure = draw(title, sweeps(results(recipe.plan())))
        assert figure is not None
        assert words_apart(figure) > 15


def test_the_title_is_of_the_choices_and_p_values_are_corrected_within_a_block(
    recipe: Recipe, tmp_path: Path
) -> None:
    run(tmp_path, BASE, seeds=(1, 2, 3))
    run(tmp_path, f"{BASE}_mlp-split")
    run(tmp_path, "cfia_net_fbank", seeds=(1, 2, 3))
    run(tmp_path, "cfia_net_fbank_unimodal-bypass")
    one = Recipe(tmp_path, STUDY, data=False, expdir=str(tmp_path / "exp"))
    for which, ends in ((one, True), (recipe, False)):  # the base has three in both
        plan = which.plan()
        table = readings_table(plan, results(plan), CORPUS)
        assert table.title.endswith(", one seed") == ends
    plan = one.plan()
    notes = " ".join(readings_table(plan, results(plan), CORPUS).notes)
    assert "corrected for comparisons together: Audio and text, 1; Audio alone, 1." in notes
