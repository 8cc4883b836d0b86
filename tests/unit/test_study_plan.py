"""What a study plans: which trainings, which are shared, which cannot be and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia.errors import UserError
from cfia.study import tasks
from cfia.study.plan_lines import describe_plan
from tests.support.studies import TOY, Recipe, entry

ABLATIONS = {
    "cfia_net", "cfia_net_paper", "cfia_net_no_con", "cfia_net_paper_no_con", "cfia_net_con1",
    "cfia_net_con2", "cfia_net_con3", "cfia_net_sum", "cfia_net_sum_con1", "cfia_net_sum_con2",
    "cfia_net_sum_con3", "cfia_net_paper_sum", "cfia_net_2", "cfia_net_1", "addition",
    "one_share", "share_per_f", "late_fusion", "probe",
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe(tmp_path_factory.mktemp("plan"))


def test_the_papers_study_trains_each_system_once(recipe: Recipe) -> None:
    plan = recipe.plan("paper")
    both = {(f"{name}_fbank_minilm", "speaker") for name in ABLATIONS}
    for name in ("cfia_net", "cfia_net_paper", "probe"):
        both |= {(f"{name}_fbank_minilm", scheme) for scheme in ("session", "speaker-partner")}
    alone = ("linear", "linear_rmsprop", "cfia_net", "probe")
    audio = {(f"{name}_fbank", "session") for name in alone}
    found = [(one.directory.parent.name, one.directory.name) for one in plan.experiments]
    assert len(found) == len(set(found))
    assert set(found) == both | audio
    # Two sessions of two speakers each; what is shared is counted once.
    lines = describe_plan(plan, [])
    assert f"{4 * 22 + 2 * 3 + 2 * 4} trainings" in lines[0]
    assert "  cfia_net_fbank_minilm, speaker: 4 trainings (table1, table3)" in lines
    assert "  cfia_net_no_con_fbank_minilm, speaker: 4 trainings (table3, table4)" in lines


def test_a_row_without_its_model_is_not_run_and_says_why(recipe: Recipe, tmp_path: Path) -> None:
    plan = recipe.plan("paper")
    assert entry(plan, system="linear", upstreams={"audio": "wavlm"}).experiment is None
    reason = "no model given (--audio_model wavlm=DIR)"
    assert entry(plan, system="linear", upstreams={"audio": "wavlm"}).reason == reason
    assert f"  not run (table2): linear on wavlm, session: {reason}" in describe_plan(plan, [])
    model = tmp_path / "wavlm-tiny"
    model.mkdir()
    given = recipe.plan("paper", audio_model=f"wavlm={model}")
    training = entry(given, system="linear", upstreams={"audio": "wavlm"}).experiment
    assert training.system == "linear_wavlm-tiny"
    assert [(dump.upstream, dump.model) for dump in training.dumps] == [("wavlm", str(model))]
    assert training.dumps[0].directory.name == "wavlm-tiny"
    with pytest.raises(UserError, match=r"--audio_model: no such directory /none"):
        recipe.plan("paper", audio_model="wavlm=/none")
    with pytest.raises(UserError, match=r"there is no encoder 'wavelm'; it is one of fbank"):
        recipe.plan("paper", audio_model="wavelm=/none")
    for first in ("/none", "my model"):  # of a list, each is checked before stage 1
        with pytest.raises(UserError, match=r"no such directory /none|rename it or give a symb"):
            recipe.request("paper", audio_model=f"wavlm={first},hubert={model}")
    without = recipe.plan("paper", audio_model="fbank=")
    assert not without.experiments
    own = {"audio_model": "wavlm=microsoft/wavlm-large"}
    assert entry(
        recipe.plan("paper", **own), system="linear", upstreams={"audio": "wavlm"}
    ).experiment
    elsewhere = entry(
        recipe.plan("paper", **own, hub="ms"), system="linear", upstreams={"audio": "wavlm"}
    )
    assert elsewhere.reason == "no id of it is known for --hub ms (--audio_model wavlm=DIR)"


def test_a_model_for_the_recipes_own_encoder_and_the_defaults_short_name(
    recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "my-bert").mkdir()
    options = {"text_upstream": "bert", "text_model": str(tmp_path / "my-bert")}
    systems = {one.system for one in recipe.plan("paper", **options).experiments}
    assert "cfia_net_fbank_my-bert" in systems
    options["text_model"] = "bert=bert-base-uncased"
    systems = {one.system for one in recipe.plan("paper", **options).experiments}
    assert "cfia_net_fbank_bert" in systems


def test_a_protocol_that_the_corpus_cannot_have_is_not_run(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    (recipe.directory / "data" / "all" / "utt2session").unlink()
    plan = recipe.plan("paper")
    reasons = {e.row.protocol["cv"]: e.reason for e in plan.entries if e.row.table != "table2"}
    assert "session" in reasons["session"]
    assert {one.options["cv"] for one in plan.experiments} == {"speaker"}


def test_a_row_that_cannot_have_its_protocol_is_not_run(recipe: Recipe) -> None:
    plan = recipe.plan("paper", cv="speaker", validation="partner")
    reasons = {e.reason for e in plan.entries if e.row.protocol.get("cv") == "session"}
    assert any("--validation partner needs --cv speaker" in reason for reason in reasons)
    assert plan.experiments


def test_a_damaged_data_directory_does_not_keep_stage_1_from_running(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path)
    (recipe.directory / "data" / "all" / "utt2emo").unlink()
    assert describe_plan(recipe.plan(""), [])[1].endswith("folds not known before stage 1")


def test_two_configurations_do_not_share_a_directory(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "cfia_net.yaml"
    path.write_text("channels: 4\n")
    plan = recipe.plan("", train_config=str(path), systems="audio cfia_net_audio")
    with pytest.raises(UserError, match="would be of two configurations"):
        plan.experiments  # noqa: B018


def test_before_there_is_data_nothing_is_counted(tmp_path: Path) -> None:
    lines = describe_plan(Recipe(tmp_path, data=False).plan("paper"), [])
    assert lines[0].startswith("study paper: trainings not counted yet; 29 experiments")
    assert lines[1].endswith("folds not known before stage 1 (table1)")


def test_seeds_of_a_row_of_the_study_and_of_the_user(recipe: Recipe) -> None:
    def seeds(**options: str) -> dict[str, tuple[int, ...]]:
        plan = recipe.plan("readings", **options)
        return {one.directory.parent.name: one.seeds for one in plan.experiments
                if one.scheme == "session"}  # fmt: skip

    moved = "cfia_net_fbank_minilm_mlp-split"
    own = seeds(study_seeds="1 2")
    assert (own["cfia_net_fbank_minilm"], own[moved]) == ((1, 2, 3, 4, 5), (1, 2))
    given = seeds(study_seeds="1 2", seeds="7")
    assert (given["cfia_net_fbank_minilm"], given[moved]) == ((7,), (7,))
    assert {one["probe_fbank_minilm"] for one in (own, given)} == {(1,)}, "it has none"


@pytest.mark.parametrize("seeds", ["[99999999999999999999]", "[one]", "3", "[true]", "[-1]"])
def test_seeds_of_a_row_are_numbers(seeds: str, tmp_path: Path) -> None:
    study = TOY.replace("{under: session,", f"{{seeds: {seeds}, under: session,")
    with pytest.raises(UserError, match=r"toy.yaml: table1: seeds(\[0\])? is "):
        Recipe(tmp_path, study, data=False).plan()


def test_a_tag_that_no_directory_can_be_named_by(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row of table1 in the study toy .* the name 'v1>v2', but"):
        Recipe(tmp_path, f"tag: v1>v2\n{TOY}", data=False).plan()


@pytest.mark.parametrize(
    "name",
    ["data/all", "dump/minilm", "exp/log", "exp/cfia_net_fbank", "exp/cfia_net_fbank/session"],
)
def test_what_stands_in_the_way_of_a_stage_is_named(name: str, tmp_path: Path) -> None:
    recipe = Recipe(tmp_path, data=False)
    place = recipe.directory / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    with pytest.raises(UserError, match=f"{name} is a file; move it away"):
        tasks.variables(recipe.plan(""))
    place.unlink()
    place.symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=f"{name} is a link to .*, which is not there"):
        tasks.variables(recipe.plan(""))
    (tmp_path / "gone").mkdir()
    assert tasks.variables(recipe.plan(""))["job"] == "CFIA_JOB"


def test_what_moves_nothing_is_left_out(recipe: Recipe) -> None:
    plan = recipe.plan("readings")
    left = [dict(row.moved) for row in plan.left_out]
    assert left == [{"normalisation": "none"}, {"dropout": 0.0}, {"schedule": "constant"}]
    systems = [one.system for one in plan.experiments]
    assert "cfia_net_fbank_minilm_dropout-0.3" in systems
    assert "cfia_net_fbank_minilm_consistency-none" in systems
    assert "cfia_net_fbank_minilm_align-pad_mask-none" in systems
    moved = recipe.plan("readings", train_args="dropout=0.3")
    assert {"dropout": 0.3} in [dict(row.moved) for row in moved.left_out]
    assert {"dropout": 0.0} not in [dict(row.moved) for row in moved.left_out]


def test_a_tag_keeps_a_study_apart(recipe: Recipe) -> None:
    plan = recipe.plan("smoke", tag="mine")
    assert {one.system for one in plan.experiments} >= {"cfia_net_fbank_minilm_smoke_mine"}
    assert plan.tag == "smoke_mine"
    assert plan.directory == recipe.exp / "study" / "smoke_mine"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("input: audio", "imput: audio", "table2: unknown key 'imput'; the keys are cv, val"),
        ("input: audio", "input: video", "table2: input is 'video'; one of audio_text, audio, te"),
        ("systems: [cfia_net]", "set: {}", "table1: a row names no `systems`"),
        ("cv: session, ", "set: {epoch: 3}, ", "table1: unknown key 'epoch'; the keys are align"),
        ("cv: session, ", "cv: dialogue, ", "--cv is 'dialogue'; expected session, speaker, kfold"),
        ("[cfia_net]", "[cfia_nets]", "no system 'cfia_nets'"),
        ("tables:", "rows:", "unknown key 'rows'; the keys are tag, note, encoders, train"),
        ("cv: session, ", "folds: [0], ", "table1: folds is [0]; expected a list of numbers from"),
        ("cv: session, ", "folds: 1, ", "table1: folds is 1, not a list; see"),
        ("cv: session, ", "reported: own_epochs, ", "reported is for a table of the layout prot"),
        ("cv: session, ", "reported: mean, ", "reported is 'mean'; one of own_epochs, best_seed"),
        ("input: audio", "blocks: [{moves: {}}]", "table2: unknown key 'moves'; the keys are cv,"),
    ],
)
def test_mistakes_in_a_study_are_named(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert old in TOY
    recipe = Recipe(tmp_path, TOY.replace(old, new, 1), data=False)
    with pytest.raises(UserError) as error:
        recipe.plan()
    assert expected in str(error.value)


BLOCKS = """\
cv: session
tables:
  t:
    blocks:
      - {block: One, systems: [linear], input: audio}
      - {block: Both, systems: [cfia_net], seeds: [9]}
    rows: [{name: base, seeds: [1, 2]}, {name: again, refit: true}, {name: one fold, folds: [2]}]
"""


def test_rows_stand_in_every_block_whose_keys_win(recipe: Recipe, tmp_path: Path) -> None:
    plan = Recipe(tmp_path, BLOCKS, data=False, datadir=str(recipe.directory / "data")).plan()
    found = [(e.row.block, e.row.name, e.experiment.directory.name, e.experiment.seeds)
             for e in plan.entries if e.experiment]  # fmt: skip
    assert found == [
        ("One", "base", "session", (1, 2)),
        ("One", "again", "session-refit", (1,)),
        ("One", "one fold", "session-fold2", (1,)),
        ("Both", "base", "session", (9,)),
        ("Both", "again", "session-refit", (9,)),
        ("Both", "one fold", "session-fold2", (9,)),
    ]
    lines = describe_plan(plan, [])
    assert "  linear_fbank, session-fold2: 1 training (t)" in lines
    assert lines[0] == "study toy: 12 trainings; 6 experiments, seeds 1 2 or 1 or 9, by row"


def test_the_honest_row_stays_honest_whatever_the_run_asks_for(recipe: Recipe) -> None:
    plain = {one.directory for one in recipe.plan("protocol").experiments}
    for options in ({"refit": "true", "tune": "2"}, {"selection": "test"}, {"cv": "speaker"}):
        asked = recipe.plan("protocol", **options)
        assert {one.directory for one in asked.experiments} == plain
        bases = [e for e in asked.entries if e.row.name.startswith("epoch by validation")]
        assert [e.experiment.scheme for e in bases if e.experiment] == ["session"] * 3


def test_a_fold_that_there_is_not_is_not_run(recipe: Recipe, tmp_path: Path) -> None:
    study = BLOCKS.replace("folds: [2]", "folds: [2, 3]")
    plan = Recipe(tmp_path, study, data=False, datadir=str(recipe.directory / "data")).plan()
    reasons = [e.reason for e in plan.entries if e.row.folds]
    assert all(reason.startswith("there is no fold 3: ") for reason in reasons)
    assert all(reason.endswith("folds/session has 1 to 2") for reason in reasons)


def test_a_row_may_be_tuned_by_the_recipes_own_file(tmp_path: Path) -> None:
    rows = "[{systems: [cfia_net], moves: {tune: [2]}}, {systems: [probe], tune: 3}]"
    recipe = Recipe(tmp_path, f"tables: {{t: {{cv: session, rows: {rows}}}}}", data=False)
    (recipe.directory / "conf" / "tune.yaml").write_text("lr: [own, x2]\nhidden: [own]")
    with pytest.raises(UserError, match=r"--tune is 3, but .*toy/conf/tune.yaml has 2 combin"):
        recipe.plan()
    (recipe.directory / "conf" / "tune.yaml").write_text("lr: [own, x2, x3]\nhidden: [own]")
    found = [entry.experiment for entry in recipe.plan().entries if entry.experiment]
    assert [planned.directory.name for planned in found] == ["session-tune2", "session-tune3"]
    trials = ({"lr": 1e-4, "hidden": 128}, {"lr": 2e-4, "hidden": 128})
    assert [planned.trials for planned in found] == [trials, ()]
    left = [entry.row.system for entry in recipe.plan(tune="2").entries]
    assert left == ["probe"]  # the other one moves nothing
    (recipe.directory / "conf" / "tune.yaml").write_text("schedule: [own, plateau, step]")
    with pytest.raises(UserError, match=r"tune.yaml, with schedule plateau: `schedule: plateau` n"):
        recipe.plan(refit="true")


def test_a_row_may_train_again_and_moves_nothing_where_the_run_does(tmp_path: Path) -> None:
    rows = "[{systems: [cfia_net], moves: {refit: [true]}}, {systems: [linear], refit: false}]"
    recipe = Recipe(tmp_path, f"tables: {{t: {{cv: session, rows: {rows}}}}}", data=False)
    plan = recipe.plan()
    schemes = [entry.experiment.directory.name for entry in plan.entries if entry.experiment]
    assert schemes == ["session-refit", "session"]
    with_option = recipe.plan(refit="true").entries
    assert [(e.row.system, bool(e.experiment)) for e in with_option] == [("linear", True)]
    with pytest.raises(UserError, match=r"refit is 1, not true or false"):
        Recipe(tmp_path / "b", "refit: 1\ntables: {t: {}}", data=False).plan()
