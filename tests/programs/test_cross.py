"""Corpora that are trained and tested on each other: data, lists, linked features, the table."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia import marker
from cfia.errors import UserError
from cfia.experiment import read
from cfia.files import read_json
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table, write_table
from cfia.options import EVERY
from cfia.posteriors import read_posteriors
from cfia.report.cross_table import cross_table
from cfia.report.table import Table
from cfia.scoring.cells import Estimate
from cfia.scoring.scores_file import score
from cfia.scoring.trained import find_trained
from cfia.study.request import read_request
from cfia.training.fold_check import check
from cfia.training.folds import read_folds
from tests.support.cross import Cross
from tests.support.experiment import mark_again
from tests.support.stages import Outcome

SYSTEM = Path("exp/linear_fbank")
THREE = ("first", "second", "third")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora through all stages, two seeds; the first has its own experiment, too."""
    root = tmp_path_factory.mktemp("cross")
    cross = Cross(root)
    first = cross.corpora["first"]
    assert first.run(2, 2) == Outcome(0)
    assert first.run(5, 7) == Outcome(0)
    assert cross.run(1, 8, seeds="1 2") == Outcome(0)
    return root


@pytest.fixture
def cross(finished: Path, tmp_path: Path) -> Cross:
    """A copy of the finished recipes, in another place."""
    shutil.copytree(finished / "egs", tmp_path / "egs", symlinks=True)
    return Cross(tmp_path)


@pytest.fixture
def new(tmp_path: Path) -> Cross:
    """Recipes whose stages 1 to 4 are done, and nothing across them yet."""
    return Cross(tmp_path)


def cells(cross: Cross) -> dict[str, dict[str, str]]:
    """The cells of the table, by its first column."""
    with (cross.directory / "exp/tables/cross.csv").open(newline="") as handle:
        return {row["train"]: row for row in csv.DictReader(handle)}


def across(cross: Cross) -> Table:
    """The table as stage 8 makes it, whose figures take seconds."""
    with cross.environment():
        table = cross_table([score(trained) for trained in find_trained(Path("exp"))])
    assert table is not None
    return table


def bytes_of(directory: Path) -> dict[Path, tuple[int, bytes]]:
    """The files of a recipe, and when those were written that take long to make."""
    return {
        path: (path.stat().st_mtime_ns * (path.suffix == ".pt"), path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".log" and path.suffix != ".list"
    }


def test_each_corpus_trains_and_the_other_is_tested(cross: Cross) -> None:
    experiment = read(cross.directory / SYSTEM / "train-first")
    assert experiment.scheme == experiment.protocol["cv"] == "train-first"
    assert [str(experiment.parts[p].data) for p in ("train", "valid", "test")] == [
        "data/first", "data/first", "data/second",
    ]  # fmt: skip
    assert str(experiment.dumps("test")["audio"]) == "dump/second_fbank"
    fold = read_folds(cross.directory / experiment.folds.directory)[1]
    both = {name: corpus.data for name, corpus in cross.corpora.items()}
    every = {name: {f"{name}-{u}" for u in read_table(d / "utt2spk")} for name, d in both.items()}
    assert {*fold.train, *fold.valid} == every["first"]
    assert set(fold.test) == every["second"]
    assert len(fold.valid) == round(0.2 * len(every["first"]))
    tested = read_posteriors(cross.directory / SYSTEM / "train-first/fold1_seed1/posteriors.tsv")
    assert set(tested.utts) == every["second"]
    refs = [tested.classes[i] for i in tested.refs]
    labels = read_table(both["second"] / "utt2emo")
    assert refs == [labels[utt.removeprefix("second-")] for utt in tested.utts]


def test_the_table_has_every_pair_and_its_interval(cross: Cross) -> None:
    table = cells(cross)
    for train, test in (("first", "second"), ("second", "first")):
        pooled = read_json(cross.directory / SYSTEM / f"train-{train}" / "scores.json")["pooled"]
        values = [table[train][f"{test}{end}"] for end in ("", "_low", "_high")]
        assert [float(v) for v in values] == pytest.approx(
            [pooled["ua"], *pooled["ci95"]["ua"]], abs=1e-4
        )
        assert table[train]["exposure"] == f"fbank: {train} none, {test} none"
    for page in ("RESULTS.md", "report.html", "tables/cross.md", "tables/cross.tex"):
        assert "tested on second" in (cross.directory / "exp" / page).read_text()


def test_the_diagonal_is_of_the_recipe_itself_or_says_how_to_make_it(cross: Cross) -> None:
    own = cross.corpora["first"].directory / SYSTEM / "session" / "scores.json"
    table = cells(cross)
    assert float(table["first"]["first"]) == pytest.approx(read_json(own)["pooled"]["ua"], abs=1e-4)
    assert table["second"]["second"] == "not made: note 2"
    results = (cross.directory / "exp/RESULTS.md").read_text()
    assert "within first: ../first/exp/linear_fbank/session, leave one session out" in results
    assert "../second/run.sh --stage 2 --cv session" in results
    assert "--systems linear_audio" in results


def test_of_other_classes_the_diagonal_takes_nothing(cross: Cross) -> None:
    cross.label_map('"*":\n  classes: {ang: ang, hap: hap, neu: neu}\n', "3")
    assert cross.run(1, 7, labels="3") == Outcome(0)
    table = across(cross)
    (block,) = (i for i, group in table.blocks.items() if group == "linear_fbank_3 (3)")
    assert str(table.rows[block]["first"]).startswith("not made")
    assert "with --labels NAME of a label set that has these classes alone" in table.notes[-1]


def test_finished_stages_do_nothing_wherever_the_recipes_are_now(cross: Cross) -> None:
    before = bytes_of(cross.directory)
    assert cross.run(1, 8, seeds="1 2") == Outcome(0)
    assert bytes_of(cross.directory) == before
    linked = sorted((cross.directory / "dump/first_fbank").glob("*.ark"))
    assert [path.resolve() for path in linked] == [cross.corpora["first"].dump / "raw.1.ark"]


def test_speakers_of_one_name_are_different_people(cross: Cross) -> None:
    speakers = [
        set(read_table(cross.directory / "data" / name / "utt2spk").values())
        for name in ("first", "second")
    ]
    assert {s.partition("-")[2] for s in speakers[0]} == {s.partition("-")[2] for s in speakers[1]}
    assert speakers[0].isdisjoint(speakers[1])


def test_of_three_corpora_two_are_tested_and_scored_apart(tmp_path: Path) -> None:
    cross = Cross(tmp_path, THREE)
    assert cross.run(1, 7) == Outcome(0)
    experiment = read(cross.directory / SYSTEM / "train-first")
    assert str(experiment.parts["test"].data) == "data/second+third"
    scores = read_json(cross.directory / SYSTEM / "train-first" / "scores.json")["pooled"]
    of_third = scores["subsets"]["corpus third"]
    assert of_third["n"] == len(read_table(cross.corpora["third"].data / "utt2spk"))
    table = across(cross)
    assert table.rows[0]["third"] == Estimate.of(of_third, "ua")
    assert all(row[name] for row in table.rows for name in THREE)


def test_classes_outside_the_map_are_left_out(new: Cross) -> None:
    new.label_map("first:\n  classes: {ang: bad, sad: bad, hap: good}\n"
                  'second:\n  classes: {ang: bad, hap: good, neu: "-"}\n')  # fmt: skip
    assert new.run(1, 2) == Outcome(0)
    labels = read_table(new.corpora["second"].data / "utt2emo")
    wanted = {f"second-{u}": {"ang": "bad", "hap": "good"}[e] for u, e in labels.items()
              if e in ("ang", "hap")}  # fmt: skip
    assert read_table(new.directory / "data/second/utt2emo") == wanted


def test_a_class_that_a_corpus_lacks_is_named(new: Cross) -> None:
    new.label_map("first:\n  classes: {ang: ang, hap: hap, neu: neu, sad: sad}\n"
                  "second:\n  classes: {ang: ang, hap: hap, fea: neu, sad: sad}\n")  # fmt: skip
    said = new.run(1, 1)
    assert said.code == 1
    assert "../second/data/all has no class that conf/labels/4.yaml calls neu" in said.said
    assert "it has ang, hap, neu, sad" in said.said
    assert not (new.directory / "data").exists()


def test_a_corpus_that_the_map_does_not_know_is_named(new: Cross) -> None:
    new.label_map("first:\n  classes: {ang: ang}\n")
    assert "says nothing of second" in new.run(1, 1).said


def test_encoders_that_differ_are_refused(new: Cross) -> None:
    new.corpora["second"].describe(weights="0123")
    assert new.run(1, 2) == Outcome(0)
    said = new.run(3, 3)
    assert said.code == 1
    assert "../first/dump/fbank and ../second/dump/fbank are of different encoders" in said.said
    assert "(weights: None and 0123)" in said.said
    assert not (new.directory / "dump").exists()


def test_an_encoder_that_saw_the_labels_of_one_corpus_is_refused(new: Cross) -> None:
    new.corpora["second"].describe(exposure="labels")
    assert new.run(1, 2) == Outcome(0)
    assert "trained on the emotion labels of second" in new.run(3, 3).said
    assert new.run(3, 3, allow_contaminated="true") == Outcome(0)
    assert Frontend.read(new.directory / "dump/second_fbank").exposure == "second labels"


@pytest.mark.parametrize(
    ("part", "utterance", "said"),
    [
        ("train", "second-Ses0F-000", "which is of another corpus"),
        ("test", "first-Ses0F-000", "which is of another corpus"),
        ("train", "third-Ses0F-000", "which the data directory lacks"),
    ],
)
def test_a_list_that_mixes_the_corpora_is_refused(
    new: Cross, part: str, utterance: str, said: str
) -> None:
    assert new.run(1, 2) == Outcome(0)
    data, lists = new.directory / "data", new.directory / "data/folds/train-first/1"
    for name in ("train", "valid", "test"):
        own = set((lists / name).read_text().split()) - {utterance}
        own |= {utterance} if name == part else set()
        (lists / name).write_text("".join(f"{utt}\n" for utt in sorted(own)))
    with pytest.raises(UserError, match=f"{part} names {utterance}, {said}"):
        check(data / "first", lists.parent, "train-first", "random20", tested=data / "second")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corpora": ""}, "--cv cross needs --corpora"),
        ({"corpora": "../first"}, "takes two recipes or more"),
        ({"corpora": "../first ../nowhere"}, "names ../nowhere, which is no recipe"),
        ({"corpora": "../first ."}, "names ., which is no recipe"),
        ({"corpora": "../first ../../other/first"}, "names two recipes first"),
        ({"corpora": "'../first ../second"}, "a quotation mark that is not closed"),
        ({"cv": "speaker"}, "--corpora goes with --cv cross"),
        ({"validation": "partner"}, "--validation partner does not go with --cv cross"),
        ({"study": "smoke"}, "--study is of one corpus"),
    ],
)
def test_options_that_do_not_go_together_are_mistakes_of_usage(
    new: Cross, options: dict[str, str], said: str
) -> None:
    (new.directory.parents[1] / "other" / "first").mkdir(parents=True)
    values = {option.name: option.default for option in EVERY} | new.options | options
    with pytest.raises(UserError, match=re.escape(said)):
        read_request(values, new.directory, new.directory)


def test_features_that_a_recipe_lacks_are_named(new: Cross) -> None:
    shutil.rmtree(new.corpora["second"].dump)
    assert new.run(1, 2) == Outcome(0)
    assert "../second/run.sh --stage 3 --stop_stage 3" in new.run(3, 3).said


def relabel(cross: Cross) -> None:
    table = cross.corpora["second"].data / "utt2emo"
    labels = read_table(table)
    write_table(table, {**labels, min(labels): "sad", max(labels): "ang"})


def dump_again(cross: Cross) -> None:
    marker.finish(cross.corpora["second"].dump, {"num_threads": 2}, {"seed": "0"})


def overwrite(cross: Cross) -> None:
    path = cross.corpora["second"].dump / "raw.1.ark"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    mark_again(cross.corpora["second"].dump)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (relabel, "data/second was made differently (its input second utt2emo has changed)"),
        (dump_again, "../second/dump/fbank was made again since dump/second_fbank was linked"),
        (overwrite, "dump/second_fbank: its file raw_second.1.ark was changed"),
    ],
)
def test_a_recipe_that_has_changed_since_is_noticed(
    cross: Cross, change: Callable[[Cross], None], said: str
) -> None:
    change(cross)
    refused = cross.run(5, 5, seeds="1 2")
    assert (refused.code, said in refused.said) == (1, True), refused
    assert cross.run(1, 3, force="true") == Outcome(0)
