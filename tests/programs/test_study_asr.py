"""Networks that are trained with gold text and tested with other text: what a study plans, does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cfia import experiment, marker
from cfia.directories import remove
from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.kaldi.table import read_table
from cfia.study import tasks
from cfia.study.plan_lines import describe_plan
from cfia.training.training import TAKEN, Training, train
from tests.support.experiment import seal, write_dump
from tests.support.studies import Recipe, entry

STUDY = """\
train_args: {epochs: 1, hidden: 4, channels: 2, features: 2, batch_size: 32}
cv: session
tables:
  table:
    layout: texts
    rows:
      - {systems: [cfia_net], text_source: gold, tested: [gold, asr, 0, 10]}
      - {systems: [cfia_net], text_source: asr, tested: [asr]}
      - {systems: [linear], input: audio, tested: [gold, asr]}
"""
GOLD = "cfia_net_fbank_minilm"
TESTED = {
    f"{GOLD}_tested-asr-pocketsphinx": "pocketsphinx",
    f"{GOLD}_tested-asr-pocketsphinx-errors10": "pocketsphinx-errors10",
}
FIRST = next(iter(TESTED))
ASR = f"{GOLD}_asr-pocketsphinx"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    recipe = Recipe(tmp_path_factory.mktemp("asr"), STUDY, asr_model="pocketsphinx")
    labels = read_table(recipe.directory / "data" / "all" / "utt2emo")
    rng = np.random.default_rng(1)
    for text in TESTED.values():
        write_dump(recipe.directory / "dump" / f"minilm_asr-{text}", labels, 5, rng, "minilm")
    return recipe


def work_off(recipe: Recipe) -> list[list[str]]:
    """Train as ser.sh does, until nothing is left; what each round listed."""
    rounds = []
    while recipe.list_trainings(nj="9"):
        rounds.append([line.split(" --")[0] for line in recipe.listed()])
        recipe.train()
    return rounds


def test_names_say_what_networks_are_tested_with(recipe: Recipe) -> None:
    plan = recipe.plan()
    by_name = {planned.system: planned for planned in plan.experiments}
    assert list(by_name) == [GOLD, *TESTED, ASR, "linear_fbank"]
    for name, text in TESTED.items():
        planned = by_name[name]
        assert planned.trained_in == by_name[GOLD]
        assert planned.dumps == by_name[GOLD].dumps
        assert planned.tested is not None
        tested = {dump.modality: dump for dump in planned.tested.dumps}
        assert tested["text"].directory.name == f"minilm_asr-{text}"
        assert tested["text"].text == planned.data / "asr" / text / "text"
        assert tested["audio"] == planned.dumps[0]
    assert by_name[ASR].trained_in is None
    data = recipe.directory / "data" / "all"
    assert plan.corrupted == {data / "asr" / "pocketsphinx-errors10": 10}
    assert entry(plan, system="linear").row.tested is None  # it has no text
    # Text with no errors is gold text.
    assert [e.experiment == by_name[GOLD] for e in plan.entries].count(True) == 2
    lines = describe_plan(plan, [])
    assert lines[0].startswith("study toy: 6 trainings; 5 experiments")
    assert f"  {FIRST}, session: 2 networks of {GOLD} (table)" in lines


def test_a_recogniser_is_asked_for_before_anything_is_made(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="--text_source asr needs --asr_model"):
        recipe.plan(asr_model="")
    gold = STUDY.replace("text_source: asr, tested: [asr]", "text_source: gold")
    study = recipe.directory / "conf" / "study" / "gold.yaml"
    study.write_text(gold.replace("gold, asr, 0, 10", "0"))
    assert recipe.plan("gold", asr_model="").experiments
    for wrong in ("whisper", "101", "-1", "true", "0.5"):
        study.write_text(gold.replace("0, 10", wrong))
        with pytest.raises(UserError, match=r"gold\.yaml: table: .*tested"):
            recipe.plan("gold")


def test_rows_whose_text_cannot_be_are_left_out_and_say_why(tmp_path: Path) -> None:
    without = Recipe(tmp_path, STUDY, data=False, asr_model="pocketsphinx")
    (without.directory / "conf" / "corpus.yaml").write_text("transcripts: false\n")
    plan = without.plan()
    # A recogniser needs no transcripts; errors are made in gold text.
    assert [planned.system for planned in plan.experiments] == [ASR, "linear_fbank"]
    assert {e.reason for e in plan.entries if e.reason} == {
        "the corpus has no transcripts (conf/corpus.yaml)"
    }
    dump = without.directory / "dump" / "words"
    dump.mkdir(parents=True)
    marker.finish(dump, {"text_upstream": "words", "imported": "words.scp"}, {})
    imported = without.plan(text_upstream="words")
    reasons = {e.row.tested: e.reason for e in imported.entries}
    assert "the features of words were imported" in reasons["asr"]
    assert "the features of words were imported" in reasons[10]
    assert reasons["gold"] == ""


def test_networks_are_trained_once_and_tested_with_each_text(recipe: Recipe) -> None:
    first, second = work_off(recipe)
    assert {Path(line).parent.name for line in first} == {GOLD, ASR, "linear_fbank"}
    assert {Path(line).parent.name for line in second} == {*TESTED}
    recipe.test()
    scheme = recipe.exp / GOLD / "session"
    networks = [(scheme / f"fold{k}_seed1" / "best.pt").read_bytes() for k in (1, 2)]
    texts = {(scheme / "fold1_seed1" / "posteriors.tsv").read_bytes()}
    for name, text in TESTED.items():
        tested = recipe.exp / name / "session"
        assert [(tested / f"fold{k}_seed1" / "best.pt").read_bytes() for k in (1, 2)] == networks
        texts.add((tested / "fold1_seed1" / "posteriors.tsv").read_bytes())
        assert experiment.read(tested).protocol["tested_text"] == text
        assert experiment.read(tested).recogniser == ""
    assert len(texts) == 1 + len(TESTED)  # the same networks, other features
    assert tasks.list_posteriors(recipe.plan()) == 0
    assert work_off(recipe) == []


def test_a_kill_while_a_network_is_copied_changes_no_byte(recipe: Recipe) -> None:
    work_off(recipe)
    tested = experiment.read(recipe.exp / FIRST / "session")
    training = Training(tested, 1, 1)
    before = {name: (training.directory / name).read_bytes() for name in TAKEN}
    remove(training.directory)
    marker.start(training.directory, *training.marked())
    (training.directory / ".best.pt.tmp.1").write_bytes(before["best.pt"][:100])
    assert len(work_off(recipe)) == 1
    assert {name: (training.directory / name).read_bytes() for name in TAKEN} == before


def test_a_network_that_was_made_differently_is_not_tested(recipe: Recipe) -> None:
    work_off(recipe)
    path = recipe.exp / FIRST / "session" / experiment.NAME
    before, values = path.read_bytes(), read_yaml(path)
    values["config"]["lr"] = 0.25
    seal(path, values)
    changed = experiment.read(path.parent)
    with pytest.raises(UserError, match="which was made differently; run stage 5"):
        train(Training(changed, 1, 1), 60, force=True)
    assert (path.parent / "fold1_seed1" / "best.pt").exists()
    path.write_bytes(before)


def test_an_oracle_is_trained_for_each_text(recipe: Recipe) -> None:
    plan = recipe.plan(selection="test")
    assert all(planned.trained_in is None for planned in plan.experiments)
