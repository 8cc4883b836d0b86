"""The study asr by run.sh itself: from audio to the table and the curve, and again."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cfia.asr import word_errors
from tests.shell.recipes import Recipe
from tests.shell.test_recipe import CHECKOUT, SMALL, make_corpus
from tests.support.tiny_recognisers import save_ctc

pytestmark = pytest.mark.slow


def test_the_study_as_a_user_runs_it(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / CHECKOUT, "mini_iemocap", SMALL)
    make_corpus(recipe)
    study = ["--study", "asr", "--asr_model", str(save_ctc(tmp_path / "ctc"))]
    assert "--text_source asr needs --asr_model" in recipe.run(*study[:2], code=2)
    said = recipe.run(*study)
    assert "Who leans on text most" in said
    d = recipe.directory
    for percent in (5, 10, 20, 30, 40):
        measured = word_errors.read(d / "data" / "all" / "asr" / f"ctc-errors{percent}")
        assert measured is not None
        assert measured.whole.rate == pytest.approx(percent, abs=0.5)
    with open(d / "exp" / "tables" / "asr_curve.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["source"] for row in rows] == ["ours"] * (3 * 7 + 1)
    for row in rows:
        assert float(row["ua"]) >= 0, row
    for name in ("asr", "asr_curve"):
        for end in ("png", "svg", "md", "tex"):
            assert (d / "exp" / "tables" / f"{name}.{end}").is_file()
    assert "Study asr" in (d / "exp" / "RESULTS.md").read_text()
    # Networks are those of gold text, and the first have logs of their training.
    gold, tested = (d / "exp" / f"cfia_net_minilm{end}" / "session" / "fold1_seed1"
                    for end in ("", "_tested-asr-ctc-errors40"))  # fmt: skip
    assert (gold / "best.pt").read_bytes() == (tested / "best.pt").read_bytes()
    assert "epoch 2/2" in (gold / "train.log").read_text()
    assert "its network is that of" in (tested / "train.log").read_text()
    before = recipe.files()
    assert "up to date" in recipe.run(*study)
    assert recipe.files() == before
