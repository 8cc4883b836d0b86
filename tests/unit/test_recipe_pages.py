"""Each recipe's page, label sets and README: none contradicts another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia.corpus.corpus_conf import WAYS_IN, read_corpus_conf
from cfia.corpus.layout import describe
from cfia.corpus.utterances import LEFT_OUT, label_map
from tests.support.data_files import RECIPES, ROOT

PAGES = [name for name in RECIPES if name != "mini_iemocap"]  # which is made, and has no page
READ = [name for name in PAGES if name not in ("emodb", "iemocap")]


def label_sets(recipe: str) -> dict[str, dict[str, str]]:
    files = sorted((ROOT / "egs" / recipe / "conf" / "labels").glob("*.yaml"))
    return {path.stem: label_map(path) for path in files}


@pytest.mark.parametrize("recipe", PAGES)
def test_every_label_set_lists_every_label(recipe: str) -> None:
    sets = label_sets(recipe)
    assert len({frozenset(labels) for labels in sets.values()}) == 1
    classes = {c for labels in sets.values() for c in labels.values()} - {LEFT_OUT}
    assert all(len(name) == 3 for name in classes)
    assert {"ang", "hap", "neu", "sad"} == {*sets["4"].values()} - {LEFT_OUT}


@pytest.mark.parametrize("recipe", PAGES)
def test_what_is_expected_adds_up(recipe: str) -> None:
    conf = read_corpus_conf(ROOT / "egs" / recipe / "conf" / "corpus.yaml")
    sets = label_sets(recipe)
    for name, expected in (conf.get("expect") or {}).items():
        assert expected is not None
        assert {*expected["classes"]} == {*sets[str(name)].values()} - {LEFT_OUT}
        counts = [expected[key].values() for key in ("classes", "sessions", "speakers")
                  if key in expected]  # fmt: skip
        assert {sum(values) for values in counts} == {expected["total"]}


@pytest.mark.parametrize("recipe", PAGES)
def test_a_page_is_short_and_stage_0_says_where_the_corpus_is(recipe: str, tmp_path: Path) -> None:
    directory = ROOT / "egs" / recipe
    page = directory / "conf" / "corpus.yaml"
    conf = read_corpus_conf(page)
    if any(way in conf for way in WAYS_IN):
        assert len(page.read_text().splitlines()) <= 40
        assert not [*directory.glob("local/prepare_*.py")]
    said = describe(page, tmp_path).splitlines()
    assert said[0] == f"from     {conf['source']}"
    assert said[1] == f"licence  {conf['licence']}"
    differs = [line for line in said if line.startswith("differs  ")]
    assert len(differs) == len(conf["layout"]) == len(said) - len(differs) - 2


@pytest.mark.parametrize("recipe", READ)
def test_a_readme_says_what_the_page_says(recipe: str) -> None:
    readme = " ".join((ROOT / "egs" / recipe / "README.md").read_text().split())
    conf = read_corpus_conf(ROOT / "egs" / recipe / "conf" / "corpus.yaml")
    address = next(word for word in conf["source"].split() if word.startswith("http"))
    for said in (conf["licence"], address.rstrip(":,"), f"--cv {conf['standard']['cv']}"):
        assert said in readme
    total = (conf.get("expect") or {}).get("all", {}).get("total")  # type: ignore[union-attr]
    assert total is None or str(total) in readme.replace(",", "")


def test_a_directory_is_told_what_it_lacks(tmp_path: Path) -> None:
    page = ROOT / "egs" / "emodb" / "conf" / "corpus.yaml"
    assert describe(page, None).count("\n") == 2
    (tmp_path / "wav").mkdir()
    (said,) = describe(page, tmp_path).splitlines()[3:]
    assert said == f"differs  {tmp_path} has no [01]*, directly or in wav, flac"
    (tmp_path / "wav" / "03a01Fa.wav").touch()
    assert describe(page, tmp_path) == describe(page, None)
    (said,) = describe(page, tmp_path / "no").splitlines()[3:]
    assert said == f"differs  there is no directory {tmp_path}/no; give the corpus by --corpus_dir"
    (tmp_path / "corpus.yaml").write_text("title: mine\n")
    assert describe(tmp_path / "corpus.yaml", tmp_path) == ""
