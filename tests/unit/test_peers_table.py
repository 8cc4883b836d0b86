"""The table of the field's systems, on made-up runs, against plain versions."""

from __future__ import annotations

import csv
import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from cfia.config import load
from cfia.errors import UserError
from cfia.model.registry import build
from cfia.networks import GRADES, NETWORKS, grade
from cfia.scoring.significance import holm
from cfia.study.published import read_published
from cfia.study.study_plan import StudyPlan
from cfia.study.write import write_tables
from tests.support.data_files import ROOT
from tests.support.made_up_experiments import read_pairs, run
from tests.support.studies import Recipe

STUDY = """\
note: A note of the study.
against: cfia_net
schemes: [{cv: session}]
leave_out: [mult]
tables:
  peers:
    layout: peers
    rows:
      - {block: Audio and text, systems: [memocmt], name: MemoCMT-style, published: [memocmt]}
      - {block: Audio and text, systems: [memocmt_own, mult], name: MemoCMT-style/own}
      - block: Audio and text
        systems: [cfia_net]
        name: CFIA-Net
        published: [cfia_session, cfia_speaker]
      - {block: Audio and text, systems: [probe], name: Probe}
      - {block: Audio, input: audio, systems: [linear], name: Linear, published: [linear, wavlm]}
      - {block: Audio, input: audio, systems: [superb_asp]}
      - {block: Audio, input: audio, systems: [cfia_net], name: CFIA-Net}
"""
SKILLS = {"memocmt": 2.0, "memocmt_own": 1.5, "cfia_net": 1.0, "probe": 1.2, "linear": 0.8}
TEXT = {"name": "minilm", "model": None, "dim": 384}
Lines = dict[tuple[str, str], dict[str, str]]


def trained(tmp: Path, plan: StudyPlan, seeds: tuple[int, ...]) -> None:
    """A made-up run for each experiment of a plan but that of superb_asp."""
    for planned in plan.experiments:
        config = load(planned.files, planned.overrides)
        name = planned.files[-1].stem
        if name != "superb_asp":
            run(
                tmp, planned.system, skill=SKILLS[name], seeds=seeds if config.seeded else (1,),
                text=TEXT if "minilm" in planned.system else None, **config.flat(),
            )  # fmt: skip


def lines(directory: Path) -> Lines:
    """The rows of a table's CSV by their heading and the first column."""
    with open(directory / "tables" / "peers_session.csv", newline="") as handle:
        return {(row["block"], row["method"]): row for row in csv.DictReader(handle)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment directory of a study whose tables are written."""
    tmp = tmp_path_factory.mktemp("peers")
    recipe = Recipe(tmp, STUDY, data=False, expdir=str(tmp / "exp"))
    trained(tmp, recipe.plan(), (1,))
    for number, path in enumerate(sorted((tmp / "exp").glob("memocmt_*/*/fold*"))):
        (path / "checkpoint.pt").touch()
        os.utime(path / "provenance.yaml", (1000, 1000))
        os.utime(path / "checkpoint.pt", (1000, 1010 + number))
    write_tables(recipe.plan())
    return tmp / "exp"


def test_systems_stand_by_input_with_their_grades_weights_and_training(made: Path) -> None:
    found = lines(made)
    assert list(found) == [
        ("Audio and text", "MemoCMT-style"), ("Audio and text", "MemoCMT-style/own"),
        ("Audio and text", "CFIA-Net"), ("Audio and text", "Probe"),
        ("Audio", "Linear"), ("Audio", "superb_asp"), ("Audio", "CFIA-Net"),
    ]  # fmt: skip
    assert [row["grade"] for row in found.values()] == ["A", "A", "", "", "", "", ""]
    for key, name, dims in (
        (("Audio and text", "MemoCMT-style"), "memocmt", {"audio": 80, "text": 384}),
        (("Audio", "CFIA-Net"), "cfia_net", {"audio": 80}),
    ):
        model = load([ROOT / "conf" / "systems" / f"{name}.yaml"]).model
        drawn = sum(weight.numel() for weight in build(dims, 4, model).parameters())
        assert int(found[key]["weights"]) == drawn
    training = {method: row["training"] for (_, method), row in found.items()}
    assert training["MemoCMT-style/own"] == (
        "adam, lr 0.0001 step; batches of 1; 100 epochs, of which the best WA on the part that "
        "selects counts"
    )
    assert training["CFIA-Net"].endswith(
        "at most 100 epochs, of which the best UA on the part that selects counts, stopped after "
        "15 without a better one"
    )
    assert training["Probe"] == "fitted"
    unfinished = found["Audio", "superb_asp"]
    assert unfinished["source"] == "not finished: run the study again"
    assert not any(unfinished[key] for key in ("grade", "weights", "ua", "training", "protocol"))


def test_scores_and_differences_are_those_of_the_posteriors(made: Path) -> None:
    found = lines(made)

    def pooled(system: str) -> float:
        parts = [read_pairs(path) for path in sorted(made.glob(f"{system}/*/*/posteriors.tsv"))]
        refs, hyps = ([label for part in parts for label in part[i]] for i in (0, 1))
        return 100 * float(balanced_accuracy_score(refs, hyps))

    compared = {
        ("Audio and text", "MemoCMT-style"): "memocmt_fbank_minilm",
        ("Audio and text", "MemoCMT-style/own"): "memocmt_own_fbank_minilm",
        ("Audio and text", "Probe"): "probe_fbank_minilm",
        ("Audio", "Linear"): "linear_fbank",
    }
    for key, ours in compared.items():
        row, reference = found[key], f"cfia_net_fbank{ours.partition('_fbank')[2]}"
        assert float(row["ua"]) == pytest.approx(pooled(ours), abs=1e-4)
        assert float(row["ua_low"]) < float(row["ua"]) < float(row["ua_high"])
        assert float(row["difference"]) == pytest.approx(pooled(ours) - pooled(reference), abs=1e-3)
    assert {key for key, row in found.items() if row["difference"]} == {*compared}
    rows = [found[key] for key in compared]
    corrected = holm([float(row["p"]) for row in rows])
    assert [float(row["holm"]) for row in rows] == pytest.approx(corrected, abs=1e-5)


def test_published_numbers_stand_beside_with_what_made_them(made: Path) -> None:
    found = lines(made)
    memocmt, own = found["Audio and text", "MemoCMT-style"], found["Audio and text", "CFIA-Net"]
    assert memocmt["published"] == "81.85/81.33"
    assert "a tenth of the utterances at random, once" in memocmt["how"]
    assert own["published"] == "80.67/81.01; 83.37/83.67"
    assert "tested on: sessions; epoch chosen on: ?); 83.37/83.67" in own["how"]
    assert found["Audio", "Linear"]["published"] == "71.79/–; 70.50/71.70"
    assert found["Audio", "CFIA-Net"]["published"] == ""
    # All that is published has a table of its own, in its order.
    published = read_published(ROOT / "conf" / "published.yaml")["peers"]
    with open(made / "tables" / "peers_published.csv", newline="") as handle:
        printed = list(csv.DictReader(handle))
    expected = [row for block in published.blocks for row in block.rows.values()]
    assert [row["source"] for row in printed] == [row["source"] for row in expected]
    assert [float(row["wa"] or 0) for row in printed] == [row["wa"] or 0 for row in expected]


def test_the_page_says_how_every_number_was_made(made: Path) -> None:
    page = (made / "study" / "toy" / "report.html").read_text()
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    for words in (
        "scheme session, on toy, one seed",
        "X-style: the network of X, rebuilt from public text or code",
        "Grade A: the head exactly as in public code",
        "Features: fbank for the audio and minilm for the text",
        "Parameters: weights that training changes",
        "WA, UA, WF1: pooled over the test utterances of all folds",
        "In brackets: ",
        "Held against: cfia_net of the same input.",
        "corrected for 4 comparisons, those of this table",
        "all patterns of signs",
        "Protocol of all networks: leave one session out, 3 folds; validation random20; epoch",
        "Of a probe: leave one session out, 3 folds; validation random20; C selected",
        "All have the same fold lists.",
        "Validation random20: 20 % of a fold&#39;s utterances outside its test, drawn at random",
        "Trained as the recipe trains, none tuned for itself unless a note says so (columns: ",
        "Of this corpus their own training saw: ",
        "Published WA/UA: on IEMOCAP",
        "A note of the study.",
        "Left out of this recipe&#39;s study: mult.",
        "A network that does not beat it has shown nothing.",
        "UA in percent: Audio and text, MemoCMT-style",
    ):
        assert words in (text if words[:2] != "UA" else page), words
    results = (made / "study" / "toy" / "results.md").read_text()
    assert "Published WA/UA" in results
    # What is the same in all rows is said once, and stands in the CSV.
    (heading,) = re.findall(r"^\| System \| grade .*$", results, re.MULTILINE)
    titles = heading.strip("| ").split(" | ")
    assert {"training", "UA over the probe"} <= {*titles}
    assert not {"protocol", "encoders saw", "published WA/UA"} & {*titles}
    assert all(row["protocol"] for row in lines(made).values() if row["ua"])


def test_what_it_shows_is_said_in_words_that_follow_from_the_table(made: Path) -> None:
    found, results = lines(made), (made / "study" / "toy" / "results.md").read_text()
    (said,) = re.findall(r"^Audio and text: UA .*$", results, re.MULTILINE)
    of_both = {method: row for (block, method), row in found.items() if block == "Audio and text"}
    ua = {method: float(row["ua"]) for method, row in of_both.items()}
    low, high = min(ua, key=lambda name: ua[name]), max(ua, key=lambda name: ua[name])
    assert f"from {low} ({ua[low]:.1f}) to {high} ({ua[high]:.1f})." in said
    far = [name for name, row in of_both.items() if row["holm"] and float(row["holm"]) < 0.05]
    count = f"{len(far)} of 3 differ" if far else "None of 3 differs"
    assert f"{count} from CFIA-Net ({ua['CFIA-Net']:.1f}) by more than chance" in said
    above = sum(value > ua["Probe"] for value in ua.values())
    verb = "is" if above == 1 else "are"
    assert f"The probe has {ua['Probe']:.1f}; {above} of 3 networks {verb} above it;" in said
    # The source of a peer, and what was inferred of it, stand below, once.
    assert results.count("- MemoCMT-style: ") == results.count("- CFIA-Net: ") == 1
    assert re.search(r"- MemoCMT-style/own: as MemoCMT-style, but with .*batch_size 1\b", results)
    assert "Inferred: a linear layer to the width of 768" in results


def test_times_are_on_a_page_of_their_own(made: Path) -> None:
    study = made / "study" / "toy"
    with open(study / "times.csv", newline="") as handle:
        rows = {row["method"]: row for row in csv.DictReader(handle)}
    # 1010 + 0, 1, 2 seconds of the three folds of one system, 3, 4, 5 of the other.
    assert {name: row["median"] for name, row in rows.items()} == {
        "MemoCMT-style": "11", "MemoCMT-style/own": "14"
    }  # fmt: skip
    assert (rows["MemoCMT-style"]["shortest"], rows["MemoCMT-style"]["longest"]) == ("10", "12")
    assert "MemoCMT-style/own" in (study / "times.html").read_text()
    page = (study / "report.html").read_text()
    assert 'href="./times.html"' in page
    assert "seconds, median" not in page + (study / "results.md").read_text()


def test_several_seeds_and_one_input(tmp_path: Path) -> None:
    study = STUDY.replace("[mult]", "[mult, memocmt_own, probe, linear, superb_asp]")
    study = study.replace("block: Audio and text", "block: Mine") + "inputs: [audio_text]\n"
    recipe = Recipe(tmp_path, study, data=False, expdir=str(tmp_path / "exp"), seeds="1 2")
    trained(tmp_path, recipe.plan(), (1, 2))
    write_tables(recipe.plan())
    table = (tmp_path / "exp" / "tables" / "peers_session.md").read_text()
    assert "on toy**" in table
    assert "the mean over the seeds of what single networks score" in table
    row = lines(tmp_path / "exp")["Mine", "MemoCMT-style"]
    assert float(row["seeds"]) > 0
    published = (tmp_path / "exp" / "tables" / "peers_published.csv").read_text()
    assert "MemoCMT" in published
    assert "SUPERB" not in published, "no system here has audio alone"
    files = [sorted((tmp_path / "exp").glob(f"memocmt_fbank*/*/*seed{s}/*.tsv")) for s in (1, 2)]
    parts = [list(map(read_pairs, of_seed)) for of_seed in files]
    by_seed = [balanced_accuracy_score(*map(sum, zip(*of, strict=True), ([], []))) for of in parts]
    assert float(row["ua"]) == pytest.approx(100 * np.mean(by_seed), abs=1e-4)


def test_a_published_row_that_is_not_there_is_named(tmp_path: Path) -> None:
    study = STUDY.replace("[memocmt]}", "[memo]}")
    recipe = Recipe(tmp_path, study, data=False, expdir=str(tmp_path / "exp"))
    with pytest.raises(UserError, match=r"peers_session: a row has published: 'memo', but .*smcn"):
        write_tables(recipe.plan())


def test_grades_are_those_of_the_docstrings_and_of_the_page() -> None:
    systems = {path.stem: load([path]) for path in (ROOT / "conf" / "systems").glob("*.yaml")}
    said: Mapping[str, str] = {
        network: re.findall(r"Grade ([ABC])\.", _class(path).__doc__ or "")[0]
        for network, path in NETWORKS.items()
        if ".peers." in path
    }
    assert said == GRADES
    page = (ROOT / "conf" / "README.md").read_text()
    for line in re.findall(r"^\| (`.*) \|$", page, re.MULTILINE):
        names, _, what = line.partition(" | ")
        if graded := re.search(r"-style \(([ABC])\)", what):
            for name in re.findall("`(\\w+)`", names):
                assert grade(systems[name].model) == graded[1]
    assert grade(systems["superb_asp"].model) == grade(systems["cfia_net"].model) == ""


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found
