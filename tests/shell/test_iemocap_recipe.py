"""egs/iemocap through run.sh: a small tree, encoders in local directories, no network."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.shell.recipes import Recipe
from tests.unit import tiny_emotion2vec, tiny_models
from tests.unit.small_iemocap import write_iemocap

TINY = ["--allow_partial", "true", "--stage", "1", "--systems", "audio_text"]
TINY += ["--train_args", "epochs=1 hidden=4 channels=2 features=2 max_frames=40"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe, its corpus (two sessions) and its models, nothing run yet."""
    made = Recipe(tmp_path_factory.mktemp("iemocap") / "project", "iemocap", TINY)
    write_iemocap(made.corpus, sessions=2)
    tiny_emotion2vec.save(made.root / "models" / "emotion2vec_base")
    tiny_models.save_bert(made.root / "models" / "bert-base-uncased")
    return made


def models(recipe: Recipe, audio: str = "emotion2vec_base") -> list[str]:
    directory = recipe.root / "models"
    return [
        "--audio_model",
        f"{directory / audio}",
        "--text_model",
        f"{directory}/bert-base-uncased",
    ]


def test_stages_1_and_2_need_no_model(recipe: Recipe) -> None:
    said = recipe.run("--stop_stage", "2", "--audio_model", "", "--text_model", "")
    assert "is not the complete release" in said
    assert (recipe.directory / "data" / "folds" / "session" / "2" / "test").is_file()
    assert (recipe.directory / "data" / "folds" / "speaker" / "4" / "test").is_file()


def test_to_the_table_which_says_what_the_encoders_saw(recipe: Recipe) -> None:
    recipe.run(*models(recipe), "--nj", "2")
    run = recipe.directory / "exp" / "cfia_net_emotion2vec_base_bert-base-uncased" / "session"
    scores = json.loads((run / "scores.json").read_text())
    assert scores["protocol"]["exposure"] == {"emotion2vec": "audio", "bert": "none"}
    results = (recipe.directory / "exp" / "RESULTS.md").read_text()
    assert "| emotion2vec: audio, bert: none |" in results
    log = (run / "fold1_seed1" / "train.log").read_text()
    assert "GB in memory" in log
    assert recipe.run(*models(recipe), "--nj", "2").count("skipping") >= 4


def test_another_cache_changes_no_byte(recipe: Recipe) -> None:
    more = ["--stage", "5", "--stop_stage", "6", "--feature_cache", "none", "--expdir", "other"]
    recipe.run(*models(recipe), *more)
    for path in (recipe.directory / "exp").rglob("*"):
        if path.name in ("checkpoint.pt", "best.pt", "posteriors.tsv"):
            other = recipe.directory / "other" / path.relative_to(recipe.directory / "exp")
            assert other.read_bytes() == path.read_bytes(), path


def test_an_encoder_that_knows_the_labels_is_refused_unless_allowed(recipe: Recipe) -> None:
    name = "emotion2vec_plus_base"
    shutil.copytree(recipe.root / "models" / "emotion2vec_base", recipe.root / "models" / name)
    arguments = [*models(recipe, name), "--stage", "3", "--stop_stage", "3"]
    said = recipe.run(*arguments, code=1)
    assert f"error: {name} was trained on the emotion labels of iemocap" in said
    assert not (recipe.directory / "dump" / name).exists()
    recipe.run(*arguments, "--allow_contaminated", "true")
    assert "exposure: labels" in (recipe.directory / "dump" / name / "frontend.yaml").read_text()


def test_all_layers_are_dumped_and_summed(recipe: Recipe) -> None:
    layers = ["--text_layer", "all", "--systems", "text"]
    recipe.run(*models(recipe), *layers, "--stop_stage", "5")
    frontend = (recipe.directory / "dump" / "bert-base-uncased_lall" / "frontend.yaml").read_text()
    assert "dim: 64" in frontend
    assert "layers: 4" in frontend
    run = recipe.directory / "exp" / "cfia_net_bert-base-uncased_lall" / "session" / "fold1_seed1"
    assert (run / "best.pt").is_file()
