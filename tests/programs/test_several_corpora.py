"""A recipe of several corpora: --corpus names one, in directories, experiments and exposure."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cfia.corpus.several import conf_of
from cfia.errors import UserError
from cfia.experiment import read
from cfia.upstream.choice import Choice
from cfia.upstream.exposure import exposure
from cfia.upstream.registry import Identity
from tests.shell.recipes import Recipe
from tests.support import tiny_models
from tests.support.data_files import ROOT, tree
from tests.support.emobox_tree import EmoBox, one_fold
from tests.support.stages import Toy

EMOBOX = ROOT / "egs" / "emobox"
SCHEME = Path("cfia_net_fbank") / "session"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    made = Toy(tmp_path)
    made.options["systems"] = "audio"
    return made


def run_sh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call egs/emobox/run.sh, with what no stage is made of."""
    return subprocess.run(
        ["bash", str(EMOBOX / "run.sh"), *arguments], capture_output=True, text=True, check=False
    )


def test_two_corpora_of_a_recipe_share_no_path_and_have_their_names(toy: Toy) -> None:
    (toy.directory / "conf" / "corpus.yaml").unlink()  # which has a title
    assert toy.run(1, 3, corpus="ravdess").code == 0
    first = tree(toy.directory)
    assert toy.run(1, 8, corpus="esd").code == 0
    both = tree(toy.directory)
    assert {name: both[name] for name in first} == first
    assert {name.split("/")[1] for name in both.keys() - first.keys()} == {"esd"}
    assert read(toy.directory / "exp" / "esd" / SCHEME).corpus == "esd"
    assert (toy.directory / "exp" / "esd" / "RESULTS.md").read_text().startswith("# esd: results")


def test_an_encoder_that_learned_from_the_corpus_is_refused_by_the_corpuss_name(
    tmp_path: Path,
) -> None:
    recipe = Recipe(tmp_path / "R&D", "emobox", ("--corpus", "ravdess", "--stop_stage", "3"))
    names = [f"03-01-05-01-02-01-{i:02}" for i in range(1, 13)]
    recipe.corpus = EmoBox(tmp_path, "ravdess", one_fold("ravdess", names)).root
    model = tmp_path / "emotion2vec_plus_base"
    tiny_models.save_wav2vec2(model)
    said = recipe.run("--audio_upstream", "wav2vec2", "--audio_model", str(model), code=1)
    assert "emotion2vec_plus_base was trained on the emotion labels of ravdess" in said
    assert not [path for path in recipe.directory.glob("dump/**/*") if path.is_file()]
    assert (recipe.directory / "data/ravdess/folds/given/1/test").read_text().split() == [
        f"{name[-2:]}-{name}" for name in names[6:]
    ]


def test_the_encoder_that_learned_from_emobox_is_known_by_all_of_its_names() -> None:
    choice = Choice("audio", "wav2vec2", "iic/emotion2vec_plus_base")
    for corpus in yaml.safe_load((EMOBOX / "conf" / "corpora.yaml").read_text()):
        assert exposure(ROOT / "conf" / "exposure.yaml", choice, corpus, Identity()) == "labels"


def test_what_is_said_of_one_corpus_goes_into_its_tables(tmp_path: Path) -> None:
    shutil.copytree(EMOBOX / "conf", tmp_path / "conf")
    page = tmp_path / "conf" / "corpus.yaml"
    meld, iemocap, unlisted = (conf_of(name, page) for name in ("meld", "iemocap", "another"))
    assert (meld["title"], meld["standard"]["validation"]) == ("MELD", "given")
    assert iemocap["standard"]["validation"] == "random20"
    assert iemocap["note"] == (
        "The lists, folds and classes of EmoBox. English. Excitement counts as happiness."
    )
    assert "title" not in unlisted
    corpora = page.with_name("corpora.yaml")
    for wrong, why in (
        ("{speaker: {name: '('}}", "of meld: missing )"),
        ("{speaker: x}", "speaker is 'x', not a mapping"),
        ("{speakers: {}}", "has the key speakers; it may have title"),
        ("{standard: {cv: given, validation: partner}}", "standard is 'given' with validation"),
    ):
        corpora.write_text(f"meld: {wrong}\n")
        with pytest.raises(UserError, match=re.escape(why)):
            conf_of("meld", page)


def test_run_sh_says_which_corpora_there_are(tmp_path: Path) -> None:
    for name in ("emodb", "ravdess"):
        (tmp_path / "data" / name / "fold_1").mkdir(parents=True)
    (tmp_path / "data" / "track2").mkdir()
    place = ("--corpus_dir", str(tmp_path))
    for arguments, why in (
        (place, f"--corpus must name one corpus; {tmp_path} has emodb ravdess\n"),
        ((*place, "--corpus", "track2"), f"is 'track2'; {tmp_path} has emodb ravdess\n"),
        (("--stage", "5"), "--corpus must name one corpus; this recipe is of several corpora\n"),
    ):
        done = run_sh(*arguments)
        assert done.returncode == 2
        assert done.stderr.endswith(why)
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("words", "validation"), [
    (["--corpus", "ravdess"], "random20"), (["--corpus", "meld"], "given"),
    (["--corpus=m3ed"], "given"), (["--corpus", "meld", "--validation", "none"], "none"),
])  # fmt: skip
def test_the_given_validation_where_there_is_one(words: list[str], validation: str) -> None:
    said = run_sh(*words, "--help").stdout
    assert re.search(rf"--validation .*\[{validation}\]$", said, re.MULTILINE)


def test_audio_apart_is_for_such_a_recipe_alone(toy: Toy) -> None:
    refused = toy.run(1, 1, audio_dir="elsewhere")
    assert refused.code == 2
