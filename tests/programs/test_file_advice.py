"""Advice about a file that a user wrote, edited or copied, followed to the letter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia import config
from cfia.bin import score
from cfia.corpus.corpus_conf import read_corpus_conf
from cfia.errors import UserError
from cfia.kaldi.table import read_table
from cfia.study.models import read_models
from cfia.study.study_file import read_study
from cfia.upstream import registry
from cfia.upstream.choice import Choice
from tests.support import tiny_models
from tests.support.iemocap_tree import FIRST, SmallIemocap, edit
from tests.support.studies import TOY

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4f14ddf7\nsize 231508\n"
OTHER = "Ses01F_impro01_F001"


def refused(work: Callable[[], object], advice: str, name: str) -> None:
    """Some work is refused with this advice, in one sentence that names the file."""
    with pytest.raises(UserError, match=advice) as error:
        work()
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "advice", "mended"),
    [
        (b"a x\n\nb y\n", "line 2: the line is empty; delete it", b"a x\nb y\n"),
        (b"a x\nb\n", "line 2: b has no value; add it or", b"a x\nb y\n"),
        (b"a x\nb\n", "or delete the line", b"a x\n"),
        (b"a x\nb\xe2\x80\x8b y\n", r"line 2: .* U\+200B; delete it there", b"a x\nb y\n"),
        (b"a x\na y\n", "line 2: a is there twice; delete one line", b"a x\n"),
        (b"a x\nb \xfc\n", "line 2: not UTF-8; convert the file with iconv", "a x\nb ü\n".encode()),
        (b"a x\nb y", "or add the newline where nothing is missing", b"a x\nb y\n"),
    ],
)
def test_a_table(tmp_path: Path, content: bytes, advice: str, mended: bytes) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    refused(lambda: read_table(path), advice, "mine.txt")
    path.write_bytes(mended)
    read_table(path)


HEADER, ROW = "utt\tref\tsad\tneu\n", "s1-a\tsad\t0.5\t0.5\n"
ROWS = ROW + "s2-b\tneu\t0.1\t0.9\n"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ((HEADER + ROWS).replace("\t", ","), "line 1: the header must be .* separated by tabs"),
        (HEADER.replace("neu", "sad") + ROWS, "line 1: a class stands there twice; rename it"),
        (HEADER + ROWS.replace("\t0.9", ""), "line 3: expected 4 columns separated by tabs"),
        (HEADER + ROWS.replace("0.9", "2.3"), "line 3: '2.3' of s2-b is not a probability"),
        (HEADER + ROWS.replace("0.9", "0.1"), "line 3: .* sum to 0.2, not 1; apply a softmax"),
        (HEADER + ROWS + ROW, "line 4: s1-a stands there twice; delete one of its lines"),
        (HEADER + ROWS.replace("sad", "SAD"), "line 2: .* is none of .*; correct the line or the"),
        (HEADER, "holds no utterance; make it again"),
        ("", "is empty; make it again"),
    ],
)
def test_posteriors(tmp_path: Path, content: str, advice: str) -> None:
    """Each is what is left of `HEADER + ROWS` when something has gone wrong in one way."""
    path = tmp_path / "posteriors.tsv"
    path.write_text(content)
    refused(lambda: score.main([str(path)]), advice, "posteriors.tsv")
    path.write_text(HEADER + ROWS)
    score.main([str(path)])


@pytest.fixture
def small(tmp_path: Path) -> SmallIemocap:
    return SmallIemocap(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "advice", "mended"),
    [
        (
            "fru: ",
            "frustrated: ",
            "have the label 'fru' .*, which .* does not list; add it there",
            "fru: ",
        ),
        ("ang: ang", "ang: [ang]", "write both as words", "ang: ang"),
        ("ang: ang", "ang: no", "write both as words, in quotes if YAML takes", 'ang: "no"'),
    ],
)
def test_a_label_map(small: SmallIemocap, old: str, new: str, advice: str, mended: str) -> None:
    path = small.conf / "labels" / "4.yaml"
    edit(path, old, new)
    refused(small.prepare, advice, "4.yaml")
    edit(path, new, mended)
    small.prepare()


def test_a_text_file_that_lacks_an_utterance(small: SmallIemocap, tmp_path: Path) -> None:
    texts = read_table(small.prepare() / "text")
    path = tmp_path / "asr.txt"
    path.write_text("".join(f"{u} well\n" for u in list(texts)[1:]))
    options = ("--text_file", str(path), "--force", "true")
    refused(lambda: small.prepare(*options), r"lacks 1 of .*; add them there, with the", "asr.txt")
    path.write_text(path.read_text() + f"{next(iter(texts))} ...\n")
    small.prepare(*options)


def test_a_turn_that_is_there_twice(small: SmallIemocap) -> None:
    line = next(x for x in small.labels_file.read_text().splitlines(True) if FIRST in x)
    other = small.labels_file.with_name("Ses01F_impro01 (copy).txt")
    other.write_text(line)
    refused(small.prepare, f"{FIRST} is in .* and again in .*; keep one of them", other.name)
    other.unlink()
    small.prepare()


@pytest.mark.parametrize(
    ("damage", "options"),
    [
        (lambda path: path.unlink(), ["--allow_partial", "true"]),
        (lambda path: path.write_bytes(b""), ["--skip_bad", "true"]),
        (lambda path: path.write_bytes(b"RIFF\0"), ["--skip_bad", "true"]),
    ],
)
def test_audio_that_is_not_there_or_none(
    small: SmallIemocap, damage: Callable[[Path], object], options: list[str]
) -> None:
    path = small.wav_file()
    damage(path)
    refused(small.prepare, " ".join(options), path.stem)
    small.prepare(*options)


def test_speakers_that_look_like_numbers(tmp_path: Path) -> None:
    path = tmp_path / "corpus.yaml"
    path.write_text("expect: {4: {speakers: {03: 49, 08: 58}}}\n")
    refused(lambda: read_corpus_conf(path), "in quotes, such as '03'", "corpus.yaml")
    path.write_text("expect: {4: {speakers: {'03': 49, 08: 58}}}\n")
    found = read_corpus_conf(path)["expect"]
    assert found == {4: {"speakers": {"03": 49, "08": 58}}}


MODELS = {"hub": "hf", "audio_model": "", "text_model": "", "dumpdir": "dump"}


@pytest.mark.parametrize(
    ("content", "advice", "mended"),
    [
        ("wavlm: [a, b]\n", "give each encoder a directory or an id", "wavlm: a/b\n"),
        ("wavelm: a/b\n", "no encoder 'wavelm'; choose from .* wavlm", "wavlm: a/b\n"),
        ("wavlm: a/b\nwavlm: a/c\n", "the key wavlm is there again in line 2", "wavlm: a/b\n"),
    ],
)
def test_models_yaml(tmp_path: Path, content: str, advice: str, mended: str) -> None:
    path = tmp_path / "conf" / "models.yaml"
    path.parent.mkdir()
    path.write_text(content)
    refused(lambda: read_models(tmp_path, MODELS, tmp_path), advice, "models.yaml")
    path.write_text(mended)
    read_models(tmp_path, MODELS, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("tables:", "table:", "unknown key 'table'; the keys are .*tables"),
        ("input: audio", "input: sound", "input is 'sound'; one of .*audio"),
        ("systems: [cfia_net]", "systems: []", "a row names no `systems`"),
        ("systems: [cfia_net]", "seeds: [-1], systems: [cfia_net]", r"a list such as \[1, 2\]"),
        ("  table1:\n", "  table1:\n    layout: wide\n", "layout is 'wide'; one of paper"),
        ("  table1:\n", "  table1: 7\n  x:\n", "see conf/study/paper.yaml"),
    ],
)
def test_a_study(tmp_path: Path, old: str, new: str, advice: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TOY)
    edit(path, old, new)
    refused(lambda: read_study(path), advice, "mine.yaml")
    path.write_text(TOY)
    read_study(path)


@pytest.mark.parametrize(
    ("content", "advice", "mended"),
    [
        ("base: cfia_nett\n", "give the name, without .yaml, of another", "base: cfia_net\n"),
        ("base: other\n", "its own base.*; remove one `base:`", "{}\n"),
        ("lr: 1e-3\n".encode("utf-16"), "is not UTF-8; convert it with iconv", "lr: 1e-3\n"),
        ("lrate: 1\n", "unknown key 'lrate'; the keys are .* lr, ", "lr: 1\n"),
        ("schedule: cycle\n", "legal values are .*cyclic", "schedule: cyclic\n"),
        ("lr: fast\n", "expected a number, above 0", "lr: 1e-3\n"),
        ("lr: 0\n", "legal values are", "lr: 1e-3\n"),
        (
            "consistency: 1\n",
            r"expected a list such as \[5e-4",
            "consistency: [1e-3, 1e-3, 0]\n",
        ),
        ("n_modules: 1\n", "give as many, or .. for none", "n_modules: 1\nconsistency: []\n"),
    ],
)
def test_a_configuration(tmp_path: Path, content: str | bytes, advice: str, mended: str) -> None:
    path = tmp_path / "mine.yaml"
    (tmp_path / "other.yaml").write_text("base: mine\n")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: config.load((path,), []), advice, "mine.yaml")
    path.write_text(mended)
    config.load((path,), [])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    tiny_models.save_bert(directory / "bert")
    tiny_models.save_wav2vec2(directory / "wav2vec2")
    return directory


@pytest.mark.parametrize(
    ("model", "name", "content", "advice"),
    [
        ("bert", "config.json", "{", "copy it again from where the weights are from"),
        ("bert", "config.json", "[]", "save the model again"),
        ("bert", "config.json", None, "give a model directory as transformers saves it"),
        ("bert", "config.json", POINTER, "`git lfs pull` there, or download the file"),
        ("bert", "model.safetensors", POINTER, "`git lfs pull` there, or download the file"),
        ("bert", "model.safetensors", None, "give a model directory as transformers saves it"),
        ("bert", "model.safetensors", "cut", "check that it is a model .* files are whole"),
        ("bert", "tokenizer.json", "{", "cannot be loaded|copy it again"),
        ("wav2vec2", "preprocessor_config.json", None, "copy it from where the model is from"),
        ("wav2vec2", "preprocessor_config.json", "{", "copy it from where the model is from"),
    ],
)
def test_a_models_directory(
    models: Path, tmp_path: Path, model: str, name: str, content: str | None, advice: str
) -> None:
    mine = Path(shutil.copytree(models / model, tmp_path / "mine"))
    choice = Choice("text" if model == "bert" else "audio", model, str(mine))

    def use() -> object:
        files = registry.find(choice)
        registry.survey(choice, files, ["the cat sat"])
        return registry.build(choice, files=files)

    (mine / name).unlink() if content is None else (mine / name).write_text(content)
    refused(use, advice, "mine")
    shutil.copy(models / model / name, mine / name)
    use()
