"""The guides of cfia/README.md, done as they say in a copy of the package, work and are whole."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import recall_score

from cfia.files import read_json
from tests.support.made_up_experiments import read_pairs

ROOT = Path(__file__).resolve().parents[2]
GUIDES = dict(
    section.split("\n", 1)
    for section in (ROOT / "cfia" / "README.md").read_text().split("## ")
    if section.startswith("A new ")
)
COPIED = ("cfia", "conf", "tests/unit", "tests/support", "pyproject.toml")
MOST_LINES = 30  # of text and code; blank lines and fences do not count
NUMBERS = {"One": 1, "Two": 2, "Three": 3}
STEP = re.compile(
    r"(Write|Add to) `([^`]+)`(?:, (above|below) `([^`]+)`)?[^`\n]*:\n\n```\w+\n(.*?)```\n", re.S
)


class Step(NamedTuple):
    """A file to write, or lines to add above or below the one line that begins so."""

    verb: str
    name: str
    where: str
    anchor: str
    block: str


def steps(guide: str) -> list[Step]:
    found = [Step(*groups) for groups in STEP.findall(guide)]
    assert len(found) == guide.count("```") // 2, "a block of code that no step introduces"
    return found


def apply(step: Step, root: Path) -> None:
    path = root / step.name
    if step.verb == "Write":
        assert not path.exists()
        path.write_text(step.block)
        return
    lines = path.read_text().splitlines(keepends=True)
    (line,) = (i for i, line in enumerate(lines) if line.startswith(step.anchor))
    lines.insert(line + (step.where == "below"), step.block)
    path.write_text("".join(lines))


def files(root: Path) -> dict[str, bytes]:
    paths = [p for name in COPIED for p in [root / name, *(root / name).rglob("*")] if p.is_file()]
    kept = (path for path in paths if path.suffix != ".pyc")
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


def follow(guide: str, root: Path) -> None:
    """Copy the package to `root` and do what a guide says; it touches the files that it names."""
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, root / name)
    for step in steps(GUIDES[guide]):
        apply(step, root)
    named = {step.name for step in steps(GUIDES[guide])}
    assert NUMBERS[GUIDES[guide].split()[0]] == len(named)
    before, after = files(ROOT), files(root)
    assert {name for name in after if before.get(name) != after[name]} == named
    assert before.keys() <= after.keys()
    code = [name for name in named if name.endswith(".py")]
    for command in ("format", "check"):
        run(root, sys.executable, "-m", "ruff", command, "--quiet", *code)


def run(root: Path, *command: str) -> str:
    """Run a command with the copied package; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_is_short(guide: str) -> None:
    lines = [line for line in GUIDES[guide].splitlines() if line and not line.startswith("```")]
    assert len(lines) <= MOST_LINES


NETWORK = """
from pathlib import Path
from cfia.bin import posteriors, train
from tests.support import experiment
from tests.unit.test_systems import SYSTEMS, test_every_weight_of_every_system_learns as learns

assert "mine" in SYSTEMS
for modalities in (("audio", "text"), ("audio",), ("text",)):
    learns("mine", modalities)
root = experiment.make(Path("work"))
config = Path("conf/systems/mine.yaml")
directory = root / "exp" / "mine_audio_text" / "session"
training = experiment.plan(root, directory, "epochs=1 hidden=4", config=config)
train.main(experiment.command(training))
posteriors.main(experiment.command(training))
print((training / "posteriors.tsv").read_text())
"""


def test_a_new_network(tmp_path: Path) -> None:
    follow("A new network", tmp_path)
    posteriors = run(tmp_path, sys.executable, "-c", NETWORK).splitlines()
    assert posteriors[0] == "utt\tref\tang\thap\tneu\tsad"
    assert len(posteriors) > 20


ENCODER = """
from pathlib import Path
import numpy as np
from cfia.frontend import Frontend
from tests.support import dump_data

waves = {f"s{i}-0": dump_data.noise(0.5 + i / 4, seed=i) for i in range(3)}
data, dump = dump_data.write_data(Path("data").resolve(), waves), Path("dump").resolve()
flags = ("--corpus=iemocap", "--exposure=conf/exposure.yaml")
jobs = dump_data.plan(dump, data, *flags, upstream="spectrum", nj=2)
dump_data.run_dump(dump, data, jobs)
found = dump_data.features(dump)
assert {u: len(x) for u, x in found.items()} == {
    u: (len(wave) - 400) // 160 + 1 for u, wave in waves.items()}
for utterance, wave in waves.items():
    wanted = np.log(np.abs(np.fft.rfft(wave[160:560])) + 1e-6)
    assert np.abs(np.exp(found[utterance][1]) - np.exp(wanted)).max() < 1e-2  # 16-bit samples
print(jobs, Frontend.read(dump).name, Frontend.read(dump).exposure)
"""


def test_a_new_encoder(tmp_path: Path) -> None:
    follow("A new encoder", tmp_path)
    assert run(tmp_path, sys.executable, "-c", ENCODER).split() == ["1", "spectrum", "none"]
    names = "import sys; from cfia.upstream.registry import names; print(*names('audio'))"
    assert "spectrum" in run(tmp_path, sys.executable, "-S", "-c", names).split()


METRIC = """
from pathlib import Path
from cfia.bin.compare import main as compare
from cfia.bin.score import main as score
from cfia.study.write import write_tables
from tests.support import made_up_experiments
from tests.support.studies import Recipe

names = ("cfia_net_fbank_minilm", "b_fbank")
first, second = (made_up_experiments.run(Path("."), name) for name in names)
made_up_experiments.stages(Path("."))
for program, paths in ((score, [first]), (compare, [first, second])):
    print("=====")
    program([str(path / "fold1_seed1" / "posteriors.tsv") for path in paths])
study = "tables: {mine: {rows: [{cv: session, systems: [cfia_net]}]}}"
print("=====")
print(write_tables(Recipe(Path("."), study, data=False, expdir="exp").plan("toy")))
"""
PER_RUN = "exp/cfia_net_fbank_minilm/session"


def test_a_new_metric(tmp_path: Path) -> None:
    follow("A new metric", tmp_path)
    screens = run(tmp_path, sys.executable, "-c", METRIC).split("=====\n")
    for screen in screens:  # of RESULTS.md's tables, score, compare and the study
        assert "G-mean" in screen
    scores = read_json(tmp_path / PER_RUN / "scores.json")
    pairs = read_pairs(tmp_path / PER_RUN / "fold1_seed1" / "posteriors.tsv")
    wanted = 100 * np.prod(recall_score(*pairs, average=None)) ** (1 / 4)
    assert scores["folds"]["1"]["gmean"] == pytest.approx(wanted)
    pooled = scores["pooled"]
    low, high = pooled["ci95"]["gmean"]
    assert low < pooled["gmean"] < high
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert f"{pooled['gmean']:.2f} [{low:.2f}, {high:.2f}]" in results
    assert "| G-mean over folds |" in results
    assert "G-mean the geometric mean of the classes' recalls" in " ".join(results.split())
    with open(tmp_path / "exp" / "tables" / "results.csv", newline="") as handle:
        (row,) = (row for row in csv.DictReader(handle) if row["system"].startswith("cfia_net"))
    assert float(row["gmean"]) == pytest.approx(pooled["gmean"], abs=1e-4)
    assert "| G-mean(%) |" in (tmp_path / "exp" / "tables" / "mine.md").read_text()


FIGURE = """
from pathlib import Path
from tests.support import made_up_experiments

made_up_experiments.run(Path("."), "cfia_net_fbank_minilm")
made_up_experiments.stages(Path("."))
"""


def test_a_new_figure(tmp_path: Path) -> None:
    follow("A new figure", tmp_path)
    run(tmp_path, sys.executable, "-c", FIGURE)
    directory = tmp_path / PER_RUN
    assert (directory / "confidence.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (directory / "confidence.svg").read_text()
    page = (tmp_path / "exp" / "report.html").read_text()
    assert "Histogram of confidence of cfia_net_fbank_minilm, scheme session" in page
    assert "`confidence.png`" in (tmp_path / "exp" / "RESULTS.md").read_text()
