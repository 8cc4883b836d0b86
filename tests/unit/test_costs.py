"""What a study costs, reckoned before it begins, against plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.config import build, load
from cfia.corpus.corpus_conf import Expected
from cfia.errors import UserError
from cfia.files import write_yaml
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.study import costs, fold_counts, tasks
from cfia.study.costs import Costs, Finished, Measured, Run, epochs, read_costs, reckon, reckoned
from cfia.study.request import read_request
from cfia.study.study_file import INPUTS_BY_MODALITIES, read_study
from cfia.study.study_plan import StudyPlan
from cfia.training.folds import make_folds
from tests.bench import iemocap
from tests.support.data_files import ROOT
from tests.support.studies import Recipe

Page = dict[str | int, Expected | None]
MEASURED = Measured("a processor", 1, 2, 0.5, "abc")
NOTHING = Finished([], {})
STUDY = """\
train_args: {frame_rate: 25, max_frames: 60}
tables:
  t:
    cv: session
    rows:
      - {systems: [cfia_net, mult, probe]}
      - {systems: [cfia_net], cv: speaker, validation: none, selection: last, seeds: [1, 2]}
      - {systems: [linear], input: text, refit: true}
      - {systems: [linear_rmsprop], input: text}
      - {systems: [cfia_net], refit: true}
      - {systems: [cfia_net], tune: 6}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """48 utterances of 1 to 3 s by four speakers in two sessions."""
    made = Recipe(tmp_path_factory.mktemp("costs"), STUDY, nj="3")
    path = made.directory / "data" / "all" / "utt2dur"
    write_table(path, {u: str(1 + i % 3) for i, u in enumerate(sorted(read_table(path)))})
    return made


def test_hours_are_those_of_plain_arithmetic(recipe: Recipe) -> None:
    known = Costs(1000, 200.0, 50.0, [
        Run(MEASURED, {"cfia_net": {"audio_text": 99.0}}),
        Run(MEASURED, {"cfia_net": {"audio_text": 80.0}, "linear": {"text": 5.0}}),
    ])  # fmt: skip
    found, without = reckon(recipe.plan(), known, NOTHING)
    cost = {one.name: one for one in found}
    # 25 frames a second, at most 60: 25, 50 and 60 for 1, 2 and 3 s.
    frames = (25 + 50 + 60) / 3
    data = DataDir.load(recipe.directory / "data" / "all", needed=())
    folds = make_folds(data, "session", "random20").values()
    session = sum(80 * len(fold.train) / 1000 * frames / 200 for fold in folds) / 3600
    one = cost["cfia_net_fbank_minilm, session"]
    assert one.hours == pytest.approx(session * 2 * 15), "twice the patience"
    assert one.most == pytest.approx(session * 100)
    # Four folds of 36 training utterances, two seeds, all epochs.
    speaker = cost["cfia_net_fbank_minilm, speaker-none-last"]
    hours = 4 * 2 * 80 * 36 / 1000 * frames / 200 / 3600 * 100
    assert (speaker.hours, speaker.most) == pytest.approx((hours, hours))
    # Text is not as long as audio is; refit trains as many epochs as the best one's number again.
    text = sum(5 * len(fold.train) / 1000 for fold in folds) / 3600
    refit = cost["linear_minilm, session-refit"]
    assert (refit.hours, refit.most) == pytest.approx((text * 45, text * 200))
    # The base's epoch; its own training has no patience.
    own = load([ROOT / "conf" / "systems" / "linear_rmsprop.yaml"]).train
    assert cost["linear_rmsprop_minilm, session"].hours == pytest.approx(text * own.epochs)
    # What is the same without them is trained once: the first pass, and one of six settings.
    again, tuned = (cost[f"cfia_net_fbank_minilm, session-{how}"] for how in ("refit", "tune6"))
    assert (again.hours, again.most) == pytest.approx((session * 15, session * 100))
    assert (tuned.hours, tuned.most) == pytest.approx((5 * one.hours, 5 * one.most))
    assert without == ["mult_fbank_minilm, session"]
    assert len(found) == 6, "a probe costs nothing"


def test_finished_trainings_tell_of_their_system_alone(recipe: Recipe) -> None:
    known = Costs(1000, 200.0, 50.0, [
        Run(MEASURED, {"cfia_net": {"audio_text": 80.0}, "linear": {"text": 5.0}})
    ])  # fmt: skip
    plan, system = recipe.plan(), "cfia_net_fbank_minilm"
    before = {cost.name: cost for cost in reckon(plan, known, NOTHING)[0]}
    trained = [recipe.exp / system / "session" / f"fold{fold}_seed1" for fold in (1, 2)]
    # Two folds of sessions; four of speakers by two seeds; five of six settings.
    seconds = {"session": 7, "speaker-none-last": 56, "session-refit": 14, "session-tune6": 70}
    for n in (1, 2):
        found, without = reckon(plan, known, Finished(trained[:n], {system: 7.0}))
        told = {cost.name: 3600 * cost.hours for cost in found if cost.told}
        left = {name: s for name, s in seconds.items() if n == 1 or name != "session"}
        assert told == pytest.approx({f"{system}, {name}": s for name, s in left.items()})
        others = [cost for cost in found if not cost.told]
        assert others == [before[cost.name] for cost in others]
        assert len(others) == 2, "the linear heads"
        assert without == ["mult_fbank_minilm, session"]


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(1, 400), st.sampled_from(["valid", "last"]), st.booleans())
def test_epochs_are_within_what_is_configured(
    most: int, patience: int, selection: str, refit: bool
) -> None:
    config = build({"epochs": most, "patience": patience})
    usual, longest = epochs(config, {"selection": selection, "refit": str(refit).lower()})
    assert 0 < usual <= longest <= most * (2 if refit else 1)
    if selection == "last" or patience >= most:
        assert usual == longest


@pytest.mark.parametrize(
    ("cv", "validation"),
    [
        ("session", "random20"), ("session", "next_session"), ("speaker", "random10"),
        ("speaker", "partner"), ("speaker", "next_speaker"), ("kfold5", "none"),
        ("utterance10", "random10"), ("session", "none"), ("speaker", "next_session"),
    ],
)  # fmt: skip
def test_folds_by_a_page_are_those_of_the_data(cv: str, validation: str, tmp_path: Path) -> None:
    utts = iemocap.utterances(400)
    data = iemocap.write_data(tmp_path, utts)
    made = fold_counts.count(data, cv, validation)
    speakers = dict.fromkeys(utts.values(), 40)
    sessions = {speaker[:-1]: 80 for speaker in utts.values()}
    page: Page = {"4": {"total": 400, "sessions": sessions, "speakers": speakers}}
    by_page = fold_counts.expected({"expect": page}, "4", cv, validation)
    assert by_page.number == made.number > 1
    assert by_page.train == pytest.approx(made.train, abs=4), "classes are shared out whole"


def test_folds_that_nobody_can_know() -> None:
    total: Page = {"4": {"total": 400}}
    pages: list[tuple[Page, str]] = [
        (total, "session"), (total, "given"), ({}, "kfold5"), ({"4": None}, "kfold5")
    ]  # fmt: skip
    for page, cv in pages:
        assert fold_counts.expected({"expect": page}, "4", cv, "random20").number == 0
    assert fold_counts.expected({"expect": total}, "4", "kfold5", "partner").number == 0


def test_the_study_of_peers_is_reckoned_before_there_is_data(tmp_path: Path) -> None:
    directory, place = ROOT / "egs" / "iemocap", str(tmp_path)
    options = {
        "study": "peers", "nj": "2", "datadir": place, "dumpdir": place, "expdir": place,
        "labels": "4", "audio_upstream": "emotion2vec", "text_upstream": "bert",
        "corpus_dir": "none",
    }  # fmt: skip
    plan = StudyPlan(read_request(options, directory, directory))
    said = reckoned(plan, NOTHING)
    assert "reckoned, not measured: " in said[0]
    assert " with 2 at a time" in said[0]
    assert "conf/costs.yaml: " in said[1]
    assert len(said) == 3, "all of it is reckoned"
    found, _ = reckon(plan, read_costs(), NOTHING)
    hours = {cost.name: cost.hours for cost in found}
    known = read_costs().epoch(ROOT / "conf" / "systems" / "linear.yaml", "text")
    assert known
    # 5 folds of 4/5 of 4/5 of 5531 utterances, 30 epochs.
    expected = 5 * 30 * known * 5531 * 0.64 / 4425 / 3600
    assert hours["linear_bert, session"] == pytest.approx(expected)


def test_all_systems_of_the_studies_have_an_epoch() -> None:
    known = read_costs()
    for path in (ROOT / "conf" / "study").glob("*.yaml"):
        for row in read_study(path).rows:
            system = ROOT / "conf" / "systems" / f"{row.system}.yaml"
            if load([system]).seeded:
                given = INPUTS_BY_MODALITIES[row.modalities]
                assert known.epoch(system, given), (path, row.system, given)


def test_costs_are_said_of_what_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = "{input: audio, cv: session, rows: [{systems: [%s]}]}"
    study = f"train_args: {{epochs: 1}}\ntables: {{t: {table}}}"
    recipe = Recipe(tmp_path, study % "linear", nj="2")
    more = recipe.directory / "conf" / "study" / "more.yaml"
    more.write_text(study % "linear, superb")
    caplog.set_level("INFO")

    def said(plan: StudyPlan) -> list[str]:
        caplog.clear()
        tasks.describe(plan)
        first = [i for i, line in enumerate(caplog.messages) if "  reckoned, not measur" in line]
        return caplog.messages[first[0] :] if first else []

    first, how, _ = said(recipe.plan())
    assert " with 2 at a time if trainings stop after 2 times their patience" in first
    assert how.startswith("  (epochs of features 768 wide by conf/costs.yaml: ")
    assert not said(recipe.plan(ngpu="1"))
    assert not said(recipe.plan(""))  # of no study
    recipe.list_trainings()
    recipe.train()
    recipe.test()
    assert not said(recipe.plan()), "nothing is left"
    # What has been trained before says nothing of another system, and all of its own.
    first, how, dearest = said(recipe.plan("more"))
    assert " if trainings stop after " in first
    assert how.startswith("  (epochs of features 768 wide by conf/costs.yaml: ")
    assert dearest.startswith("  the dearest: superb_fbank, session ")
    assert "linear" not in dearest
    first, how, dearest = said(recipe.plan("more", seeds="1 2"))
    assert how.startswith("  (1 of 2 experiments by trainings of the same systems that are finish")
    first, how, _ = said(recipe.plan(seeds="1 2"))
    assert first == "  reckoned, not measured: 1 min with 2 at a time"
    assert how == "  (by trainings of the same systems that are finished)"


def test_a_broken_file_of_costs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "costs.yaml"
    write_yaml(path, {"utterances": "many", "frames": 1.0, "frame_rate": 50.0, "runs": []})
    with pytest.raises(UserError, match=r"costs.yaml: utterances is 'many', not a whole"):
        costs.read_costs(path)
