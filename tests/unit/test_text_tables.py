"""The study asr: its tables and its curve on made-up runs, against plain versions."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem

from cfia.figures.word_errors import ErrorCurve, draw
from cfia.scoring.cells import Estimate
from cfia.study.study_plan import StudyPlan
from cfia.study.write import write_tables
from tests.support.made_up_experiments import recall, run
from tests.support.recognised import write_error_rate
from tests.support.studies import Recipe

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
# How well the systems do, and how much less by 10 % of word errors.
SKILLS = {"cfia_net_fbank_minilm": (2.5, 0.2), "cfia_net_minilm": (2.0, 0.45),
          "late_fusion_fbank_minilm": (2.2, 0.3), "cfia_net_fbank": (1.0, 0.0)}  # fmt: skip
SYSTEMS = dict(zip(("CFIA-Net", "Text alone", "Late fusion", "Audio alone"), SKILLS, strict=True))
RECOGNISED = 21.0  # percent of its words that the recogniser has wrong
MEASURED = 0.25  # more than what was asked for


def study() -> str:
    """The study itself, with fewer rates."""
    text = (ROOT / "conf" / "study" / "asr.yaml").read_text()
    assert text.count("tested: [0, 5, 10, 20, 30, 40, asr]") == 1
    return text.replace("[0, 5, 10, 20, 30, 40, asr]", "[0, 10, 40, asr]")


@dataclass(frozen=True)
class Written:
    """The study with all of its experiments made up, and what it writes."""

    plan: StudyPlan
    shown: str

    @property
    def tables(self) -> Path:
        return self.plan.request.expdir / "tables"

    def lines(self, name: str) -> list[dict[str, str]]:
        with open(self.tables / f"{name}.csv", newline="") as handle:
            return list(csv.DictReader(handle))

    def note(self, name: str, words: str) -> str:
        """The one note of a table that has these words."""
        page = (self.tables / f"{name}.md").read_text()
        (found,) = [line for line in page.splitlines() if words in line]
        return found

    def of(self, system: str) -> list[float]:
        """UA of each seed, all folds together."""
        return list(_pooled(self.plan.request.expdir / system / "session"))


def _pooled(directory: Path) -> Iterator[float]:
    for seed in SEEDS:
        texts = [(directory / f"fold{k}_seed{seed}" / "posteriors.tsv").read_text().splitlines()
                 for k in (1, 2, 3)]  # fmt: skip
        pooled = directory.with_name("pooled.tsv")
        pooled.write_text("\n".join(texts[0] + texts[1][1:] + texts[2][1:]) + "\n")
        yield recall(pooled)
        pooled.unlink()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    tmp = tmp_path_factory.mktemp("text")
    recipe = Recipe(tmp, study(), data=False, expdir=str(tmp / "exp"), asr_model="pocketsphinx")
    plan = recipe.plan(seeds="1 2")
    for planned in plan.experiments:
        name = planned.tested_text or ("pocketsphinx" if "_asr-" in planned.system else "")
        rate = 0.0
        if name:
            rate = float(name.partition("-errors")[2] or RECOGNISED) + MEASURED
            write_error_rate(tmp / "data" / "all" / "asr" / name, rate)
        skill, loss = SKILLS[planned.system.split("_asr-")[0].split("_tested-")[0]]
        text: dict[str, Any] = {"tested_text": planned.tested_text} if planned.tested_text else {}
        if "_asr-" in planned.system:
            text = {"text_source": "asr", "asr_model": "pocketsphinx"}
        source = planned.trained_in and planned.trained_in.directory
        run(tmp, planned.system, skill=skill - loss * rate / 10, seeds=SEEDS, trained_in=source,
            **text)  # fmt: skip
    return Written(plan, write_tables(plan))


def test_each_text_is_held_against_gold_text(written: Written) -> None:
    lines = written.lines("asr")
    texts = [(line["block"], line["trained"], line["tested"]) for line in lines]
    assert texts == [
        (block, trained, tested)
        for block in ("CFIA-Net", "Text alone", "Late fusion")
        for trained, tested in (
            ("gold", "gold"), ("gold", "pocketsphinx"), ("pocketsphinx", "pocketsphinx")
        )
    ]  # fmt: skip
    for base in (0, 3, 6):
        before = np.array(written.of(lines[base]["system"]))
        assert lines[base]["difference"] == ""
        assert float(lines[base]["wer"]) == 0
        for line in lines[base + 1 : base + 3]:
            after = np.array(written.of(line["system"]))
            assert float(line["wer"]) == pytest.approx(RECOGNISED + MEASURED)
            assert float(line["ua"]) == pytest.approx(after.mean(), abs=1e-3)
            assert float(line["ua_low"]) < float(line["ua"]) < float(line["ua_high"])
            assert float(line["difference"]) == pytest.approx((after - before).mean(), abs=1e-3)
            assert float(line["holm"]) >= float(line["p"])
            # The same networks have the same luck; others have their own.
            same = "_tested-" in line["system"]
            luck = sem(after - before) if same else np.hypot(sem(after), sem(before))
            assert float(line["seeds"]) == pytest.approx(luck, abs=1e-3)
            assert line["protocol"].endswith("seeds 1 2")
    assert written.note("asr", "corrected for 6 comparisons")
    assert "21.2 % (85 substitutions, " in written.note("asr", "pocketsphinx on this corpus")


def test_who_leans_on_text_most_is_said_by_the_numbers(written: Written) -> None:
    note = written.note("asr", "Who leans on text most")
    losses = {
        name: np.mean(written.of(f"{system}_tested-asr-pocketsphinx")) - np.mean(written.of(system))
        for name, system in SYSTEMS.items()
        if "minilm" in system
    }
    order = sorted(losses, key=lambda name: losses[name])
    assert ", ".join(f"{name} {losses[name]:+.2f}" for name in order) in note
    more = losses[order[2]] - losses[order[0]]
    assert f"{order[0]} loses {more:.2f} more than {order[2]} (p (Holm) " in note
    assert note.count("p (Holm)") == 3


def test_slopes_are_over_the_rates_as_measured(written: Written) -> None:
    lines = written.lines("asr_curve")
    note = written.note("asr_curve", "Who leans on text most")
    slopes = {}
    for name in ("CFIA-Net", "Text alone", "Late fusion"):
        rows = [line for line in lines if line["block"] == name]
        assert [line["tested"] for line in rows] == [
            "gold", "gold, 10 % errors", "gold, 40 % errors", "pocketsphinx"
        ]  # fmt: skip
        rates = [float(line["wer"]) for line in rows]
        assert rates == [0, 10 + MEASURED, 40 + MEASURED, RECOGNISED + MEASURED]
        points = [float(line["ua"]) for line in rows]
        slopes[name] = 10 * float(np.polyfit(rates[:3], points[:3], 1)[0])
    order = sorted(slopes, key=lambda name: slopes[name])
    assert ", ".join(f"{name} {slopes[name]:+.2f}" for name in order) in note
    (alone,) = [float(line["ua"]) for line in lines if line["block"] == "Audio alone"]
    worst = [line for line in lines if line["tested"] == "gold, 40 % errors"]
    above = {line["block"]: float(line["ua"]) - alone for line in worst}
    beside = written.note("asr_curve", "beside Audio alone")
    assert all(f"{name} {value:+.2f} (at 40.2 %)" in beside for name, value in above.items())


def test_tables_and_figures_are_files_and_part_of_the_page(written: Written) -> None:
    names = {f"{name}.{end}" for name in ("asr", "asr_curve")
             for end in ("md", "tex", "csv", "png", "svg")}  # fmt: skip
    files = {path.name for path in written.tables.iterdir() if not path.name.startswith(".")}
    assert files == names
    assert "gold, 10 % errors" in written.shown
    assert (written.plan.directory / "results.md").read_text().count("Who leans on text") == 2


def test_rows_that_are_not_finished_say_so(tmp_path: Path) -> None:
    empty = Recipe(tmp_path, study(), data=False, asr_model="pocketsphinx").plan()
    shown = write_tables(empty)
    assert shown.count("not finished: run the study again") == len(empty.entries)
    assert "Who leans" not in shown


def test_the_curve_has_bands_a_level_and_the_recognisers_own_point() -> None:
    points = [(0.0, Estimate(80.0, 70.0, 90.0)), (9.5, Estimate(70.0, 60.0, 81.0))]
    curves = [ErrorCurve("one", points, (20.0, Estimate(60.0))), ErrorCurve("other", points)]
    level = ErrorCurve("audio", [(0.0, Estimate(55.0))])
    (axes,) = draw("t", curves, level, "a-model").axes
    drawn = {str(line.get_label()): np.column_stack(line.get_data()) for line in axes.lines}
    assert drawn["one"].tolist() == [[0, 80], [9.5, 70]]
    assert drawn["audio"][:, 1].tolist() == [55, 55]
    assert "text of a-model" in drawn
    assert [20.0, 60.0] in [xy.tolist()[0] for xy in drawn.values() if len(xy) == 1]
    assert len(axes.collections) == 2
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:3:2]}
    assert len(styles) == 2
    # No interval and no recogniser: the lines alone.
    (bare,) = draw("t", [ErrorCurve("one", [(0.0, Estimate(80.0))])], None, "").axes
    assert len(bare.collections) == 0
    assert len(bare.lines) == 1
