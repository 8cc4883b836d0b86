"""Readers of our own files and of a recipe's: of one of the wrong kind they say which it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cfia import marker
from cfia.corpus.corpus_conf import read_corpus_conf
from cfia.errors import UserError
from cfia.experiment import read as read_experiment
from cfia.frontend import Frontend
from cfia.study.models import read_models
from cfia.study.study_file import read_study
from cfia.training import checkpoint
from cfia.upstream import journal
from cfia.upstream.dump_plan import Plan
from tests.support.experiment import seal
from tests.support.wrong_kinds import CONTENTS

NETWORK = {"epoch": 1, "model": {"a": torch.zeros(2)}, "classes": ["x", "y"]}


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def archive() -> bytes:
    """A zip file of something else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("a", "b")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged, or no checkpoint of cfia"),
        (b"[1, 2]\n", "is damaged, or no checkpoint of cfia"),
        (archive(), "is damaged, or no checkpoint of cfia"),
        (saved([1, 2]), r"is not as cfia writes it \(it is \[1, 2\], not a mapping\)"),
        (saved(torch.zeros(2)), r"\(it is tensor\(.*, not a mapping\)"),
        (saved({}), r"\(it lacks epoch\)"),
        (saved({"training": "x", "history": []}), r"\(it lacks epoch\)"),  # checkpoint.pt's
        (saved(NETWORK | {"model": [1]}), r"\(model is \[1\], not a mapping\)"),
        (saved(NETWORK | {"model": {"a": 1}}), r"\(model.a is 1, not a Tensor\)"),
        (saved(NETWORK | {"classes": "xy"}), r"\(classes is 'xy', not a list\)"),
    ],
)
def test_a_network_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"best\.pt .*{message}.*run stage 5 .*--force true"):
        checkpoint.load(path, checkpoint.Network)
    path.write_bytes(saved(NETWORK))
    assert checkpoint.load(path, checkpoint.Network)["classes"] == ["x", "y"]


def models(path: Path) -> object:
    options = {"hub": "hf", "audio_model": "", "text_model": ""}
    return read_models(path.parents[1], options, path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "experiment.yaml": lambda path: read_experiment(path.parent),
    ".done.json": lambda path: marker.read(path.parent),
    "frontend.yaml": lambda path: Frontend.read(path.parent),
    "plan.json": lambda path: Plan.load(path.parent),
    ".raw_x.1.journal": lambda path: journal.read(journal.JobFiles(path.parent, "x", 1)),
    "corpus.yaml": read_corpus_conf,
    "models.yaml": models,
    "study.yaml": read_study,
}
# Which are no fault: a file without a key, where all may be missing, or without a line.
LEGAL = {
    "corpus.yaml": ("empty", "null"),
    "models.yaml": ("empty", "null"),
    ".raw_x.1.journal": ("empty",),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / "conf" / name
    path.parent.mkdir()
    for kind, content in CONTENTS.items():
        if kind not in LEGAL.get(name, ()):
            path.write_bytes(content)
            with pytest.raises(UserError, match=name.lstrip(".")):
                READERS[name](path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.yaml", "title: [a]", r"title is \['a'\], not text; see conf/README.md"),
        ("corpus.yaml", "titel: a", "it has the key titel; it may have title, note, "),
        ("corpus.yaml", "table: [{file: a.csv, sep: b}]", r"table\[0\] has the key sep; "),
        ("corpus.yaml", "audio: 16000", "audio is 16000, not a mapping"),
        ("corpus.yaml", "expect: {'4': {classes: 3}}", r"expect\.4\.classes is 3, not a mapping"),
        ("corpus.yaml", "expect: {'4': {total: many}}", r"total is 'many', not a whole number"),
        ("models.yaml", "wavlm: [a, b]", r"wavlm is \['a', 'b'\], not text; give each encoder"),
        ("study.yaml", "tables: {a: {rows: 3}}", "a: rows is 3, not a list"),
        ("study.yaml", "tables: {a: {rows: [{systems: cfia}]}}", "systems is 'cfia', not a list"),
        ("study.yaml", "tables: {a: {rows: [{systems: [x], set: [lr]}]}}", "set is"),
        (
            "study.yaml", "tables: {a: {rows: [{systems: [x], set: {lr: .inf}}]}}",
            "lr is inf; expected a number, above 0",
        ),
        ("study.yaml", "train_args: {lr: fast}\ntables: {a: {}}", "train_args: lr is 'fast'"),
        ("study.yaml", "seeds: one\ntables: {a: {}}", "seeds is 'one', not a list"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_in_a_recipes_conf(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / "conf" / name
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        READERS[name](path)


def test_an_experiment_of_another_version_of_whole_digest(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    for values, message in (
        ({"config": 3, "parts": {}}, "parts lacks train"),
        ({"config": {"lr": 1}}, "parts is None, not a mapping"),
    ):
        seal(path, values)
        with pytest.raises(UserError, match=rf"is not as cfia writes it \({message}"):
            read_experiment(tmp_path)
