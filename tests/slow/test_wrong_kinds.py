"""Every program with every file of the wrong kind, whether a digest tells it or not: a sentence.

All of them take ten minutes (marked driver); the slow tests try every third.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from cfia.bin import (
    compare,
    dump,
    dump_merge,
    dump_plan,
    folds,
    gates,
    plan,
    posteriors,
    report,
    score,
    train,
    validate_data_dir,
)  # fmt: skip
from tests.support.data_files import ROOT
from tests.support.stages import FAULT, Toy
from tests.support.wrong_kinds import CONTENTS, contents, put, remove, vouch

Program = Callable[[Sequence[str]], None]

EXPERIMENT = "exp/cfia_net_fbank_bert/session"
TRAINING = f"{EXPERIMENT}/fold1_seed1"
ONE = [EXPERIMENT, "--fold", "1", "--seed", "1"]
DUMP = ["--data", "data/all", "--dir", "dump/fbank"]
SCORED = f"{TRAINING}/posteriors.tsv"

# Every program that reads a recipe's files; `begun` where it has work to do.
PROGRAMS: dict[str, tuple[Program, list[str]]] = {
    "folds": (folds.main, ["--data", "data/all", "--out", "data/folds", "session"]),
    "dump_plan": (dump_plan.main, ["--modality", "audio", "--upstream", "fbank", *DUMP]),
    "dump": (dump.main, [*DUMP, "--job", "1"]),
    "dump_merge": (dump_merge.main, DUMP[2:]),
    "train": (train.main, ONE),
    "train again": (train.main, [*ONE, "--force", "true"]),
    "posteriors": (posteriors.main, ONE),
    "posteriors again": (posteriors.main, [*ONE, "--force", "true"]),
    "score": (score.main, ["--expdir", "exp"]),
    "score a file": (score.main, [SCORED, "--clusters", "data/all/utt2spk"]),
    "report": (report.main, ["--expdir", "exp", "--corpus_conf", "conf/corpus.yaml"]),
    "compare": (compare.main, [EXPERIMENT, EXPERIMENT]),
    "gates": (gates.main, [*ONE, "--utts", "Ses01F-Ses01F_impro01_F000"]),
    "names": (plan.main, ["names"]),
    "describe": (plan.main, ["describe"]),
    "plan train": (plan.main, ["train"]),
    "plan posteriors": (plan.main, ["posteriors"]),
    "validate": (validate_data_dir.main, ["--no-feats", "data/all"]),
}
FILES = {
    f"{TRAINING}/best.pt": ("train", "posteriors again", "gates", "score"),
    f"{TRAINING}/checkpoint.pt": ("train", "posteriors", "score"),
    f"{TRAINING}/provenance.yaml": ("score", "report", "compare"),
    f"{TRAINING}/history.csv": ("report",),
    f"{TRAINING}/.done.json": ("train", "posteriors", "score", "plan train", "compare"),
    f"{TRAINING}/.posteriors.json": ("posteriors", "score", "report"),
    SCORED: ("score", "score a file", "report"),
    f"{EXPERIMENT}/experiment.yaml": (
        "train", "posteriors", "score", "report", "compare", "gates", "plan train",
        "plan posteriors", "describe",
    ),
    f"{EXPERIMENT}/scores.json": ("score", "report", "plan train"),
    f"{EXPERIMENT}/.figures.json": ("report",),
    "dump/fbank/plan.json": ("dump_plan", "dump", "dump_merge", "train", "plan train"),
    "dump/fbank/frontend.yaml": ("dump_plan", "train", "plan train", "gates"),
    "dump/fbank/.done.json": ("dump_plan", "dump", "dump_merge", "train", "plan train"),
    "dump/fbank/feats.scp": ("train again",),
    "data/folds/session/.done.json": ("folds", "train", "plan train"),
    "data/folds/session/1/train": ("folds", "train", "plan train"),
    "data/all/.done.json": ("folds", "dump_plan", "train", "score", "validate"),
    "data/all/utt2emo": ("folds", "train", "score", "validate"),
    "data/all/utt2spk": ("folds", "train", "score", "score a file", "validate"),
    "conf/corpus.yaml": ("report",),
    "conf/labels/4.yaml": ("names",),
    "conf/train.yaml": ("names", "plan train"),
}  # fmt: skip


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = Toy(tmp_path_factory.mktemp("wrong"))
    (toy.directory / "conf" / "train.yaml").write_text("hidden: 4\n")
    assert toy.run(1, 8).code == 0
    shutil.copytree(toy.directory, toy.directory.with_name("finished"))
    return toy


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.driver)])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_wrong_kind_gets_a_sentence(finished: Toy, name: str, every: int) -> None:
    path = finished.directory / name
    whole = path.read_bytes() if path.exists() else b""
    faults = []
    for turn, (way, content) in enumerate((("a directory", None), *contents(path.name, whole))):
        for vouched in (False, True) if way in CONTENTS else (True,):
            for program in islice(FILES[name], (turn + vouched) % every, None, every):
                put(path, content)
                if vouched:
                    vouch(path)
                main, arguments = PROGRAMS[program]
                ended = finished.call(main, *arguments)
                if ended.code == FAULT:
                    last = ended.said.strip().splitlines()[-1]
                    faults.append(f"{program}, {way}, vouched {vouched}: {last}")
                restore(finished)
    assert not faults, "\n".join(faults)


def restore(toy: Toy) -> None:
    """Put back all files that differ from those of the finished recipe."""
    before = toy.directory.with_name("finished")
    for path in sorted(before.rglob("*")):
        ours = toy.directory / path.relative_to(before)
        if path.is_dir():
            if not ours.is_dir():
                remove(ours)
                ours.mkdir()
        elif not ours.is_file() or stamp(ours) != stamp(path):
            remove(ours)
            shutil.copy2(path, ours)
    for path in toy.directory.rglob("*"):
        if not (before / path.relative_to(toy.directory)).exists():
            remove(path)


def stamp(path: Path) -> tuple[int, int]:
    """What differs after any writing: to compare all bytes would take longer than the programs."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


SOCKS = {"ALL_PROXY": "socks5://localhost:9", "HF_ENDPOINT": "hf-mirror.com"}
NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_environment_that_is_not_as_it_should_be(finished: Toy, program: str) -> None:
    """The programs are started as the stages start them, with little memory, no space, ..."""
    main, arguments = PROGRAMS[program]
    command = [sys.executable, "-B", "-m", main.__module__, *arguments]
    foreign = finished.directory.parents[2] / "foreign"
    for package in ("numpy", "torch", "yaml", "kaldiio", "soundfile"):
        (foreign / package).mkdir(parents=True, exist_ok=True)
        (foreign / package / "__init__.py").write_text("raise ImportError('\\nanother\\nPython')")
    limits = {
        "little memory": (resource.RLIMIT_AS, 600 << 20),
        "small files": (resource.RLIMIT_FSIZE, 64),
        "few open files": (resource.RLIMIT_NOFILE, 12),
    }
    variables = [SOCKS, NOTEBOOK, {"PYTHONPATH": f"{ROOT}{os.pathsep}{foreign}"}]
    said = {}
    with finished.environment():
        for setting in variables:
            env = os.environ | {"PYTHONPATH": str(ROOT)} | setting
            said[str(setting)] = subprocess.run(command, capture_output=True, text=True, env=env)
        for name, (kind, most) in limits.items():
            env = os.environ | {"PYTHONPATH": str(ROOT)}
            said[name] = subprocess.run(
                command, capture_output=True, text=True, env=env,
                preexec_fn=partial(resource.setrlimit, kind, (most, most)),
            )  # fmt: skip
    restore(finished)
    for name, done in said.items():
        assert "Traceback" not in done.stderr, f"{name}: {done.stderr}"
        assert done.returncode in (0, 1, 2), f"{name}: {done.returncode}, {done.stderr}"
    assert said[str(SOCKS)].returncode == said[str(NOTEBOOK)].returncode == 0
