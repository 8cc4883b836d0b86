"""egs/iemocap through run.sh: a small tree, and encoders by their ids or in local directories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
import yaml

from tests.hub.repositories import BUILDERS
from tests.hub.server import Hub
from tests.shell.recipes import Recipe
from tests.support import tiny_emotion2vec, tiny_models
from tests.support.dump_data import features, same
from tests.support.iemocap_tree import write_iemocap

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


@pytest.fixture(scope="module")
def hub(recipe: Recipe) -> Iterator[Hub]:
    """A hub with the models that the recipe takes where none is named."""
    with Hub() as hub:
        recipe.environment = hub.environment(recipe.root / "cache")
        for model in ("emotion2vec/emotion2vec_base", "bert-base-uncased"):
            directory = recipe.root / "hub" / model
            directory.parent.mkdir(parents=True, exist_ok=True)
            BUILDERS[model](directory)
            hub.add(model, directory)
        yield hub


@pytest.fixture(scope="module")
def said(recipe: Recipe, hub: Hub) -> str:
    """What the first run says, of models that the hub gives."""
    return recipe.run("--nj", "2")


def test_to_the_table_from_ids_alone(recipe: Recipe, hub: Hub, said: str) -> None:
    assert "emotion2vec/emotion2vec_base: downloading commit" in said
    run = recipe.directory / "exp" / "cfia_net_emotion2vec_bert" / "session"
    scores = json.loads((run / "scores.json").read_text())
    assert scores["protocol"]["exposure"] == {"emotion2vec": "audio", "bert": "none"}
    results = (recipe.directory / "exp" / "RESULTS.md").read_text()
    assert "| emotion2vec: audio, bert: none |" in results
    log = (run / "fold1_seed1" / "train.log").read_text()
    assert "GB in memory" in log
    # Stage 3 by two jobs and stage 4: `main` of each model is asked for once, by the plan.
    asked = [path for _, path in hub.requests if path.endswith("/revision/main")]
    assert len(asked) == 2
    assert all("/api/models/" in path or "/resolve/" in path for _, path in hub.requests)
    frontend = yaml.safe_load((recipe.directory / "dump/emotion2vec/frontend.yaml").read_text())
    assert frontend["identity"] == "not the file published as emotion2vec_base, whose name it has"


@pytest.mark.usefixtures("said")
def test_and_again_without_the_hub(recipe: Recipe, hub: Hub) -> None:
    hub.requests.clear()
    assert recipe.run("--nj", "2").count("skipping") >= 4
    assert hub.requests == []  # though it is there
    hub.stop()
    assert recipe.run("--nj", "2", "--stop_stage", "4").count("skipping") >= 4


@pytest.mark.slow
@pytest.mark.usefixtures("said")
def test_from_the_cache_to_the_table_without_the_hub(recipe: Recipe, hub: Hub) -> None:
    hub.stop()
    recipe.run("--stage", "3", "--dumpdir", "dump2", "--expdir", "exp2")
    for name in ("emotion2vec", "bert"):
        first, second = (features(recipe.directory / dump / name) for dump in ("dump", "dump2"))
        assert same(first, second)
    scores = "cfia_net_emotion2vec_bert/session/scores.json"
    numbers = [(recipe.directory / exp / scores).read_bytes() for exp in ("exp", "exp2")]
    assert numbers[0] == numbers[1]


@pytest.mark.usefixtures("said")
def test_another_cache_changes_no_byte(recipe: Recipe) -> None:
    more = ["--stage", "5", "--stop_stage", "6", "--feature_cache", "none", "--expdir", "other"]
    recipe.run(*more, "--nj", "1")
    compared = 0
    for path in (recipe.directory / "exp").rglob("*"):
        if path.name in ("checkpoint.pt", "best.pt", "posteriors.tsv"):
            other = recipe.directory / "other" / path.relative_to(recipe.directory / "exp")
            assert other.read_bytes() == path.read_bytes(), path
            compared += 1
    assert compared == 6


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
    layers = ["--text_layer", "all", "--systems", "text", "--folds", "1"]
    recipe.run(*models(recipe), *layers, "--stop_stage", "5")
    frontend = (recipe.directory / "dump" / "bert-base-uncased_lall" / "frontend.yaml").read_text()
    assert "dim: 64" in frontend
    assert "layers: 4" in frontend
    run = recipe.directory / "exp" / "cfia_net_bert-base-uncased_lall" / "session" / "fold1_seed1"
    assert (run / "best.pt").is_file()
