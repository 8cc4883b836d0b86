"""The mini recipe as a newcomer runs it: from stage 0 to the table, at its full size."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from importlib.metadata import Distribution
from pathlib import Path

import numpy as np
import pytest

import cfia
from cfia.kaldi.data_dir import DataDir
from cfia.posteriors import read_posteriors
from cfia.upstream.text import MINILM
from tests.shell.recipes import Recipe
from tests.support.installed import Installed

pytestmark = pytest.mark.slow
MODALITIES = {
    "both": "cfia_net_fbank_minilm",
    "audio": "cfia_net_fbank",
    "text": "cfia_net_minilm",
}


def test_the_default_run(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / "project", "mini_iemocap", [])
    done = subprocess.run([recipe.directory / "run.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Synthetic" in done.stdout
    ua = {}
    for name, system in MODALITIES.items():
        path = recipe.directory / "exp" / system / "session" / "scores.json"
        ua[name] = json.loads(path.read_text())["pooled"]["ua"]
    # Clearly above chance (25) and below the ceiling, and each modality adds to the other.
    assert all(35 < value < 95 for value in ua.values()), ua
    assert ua["both"] > max(ua["audio"], ua["text"]) + 3, ua
    results = (recipe.directory / "exp" / "RESULTS.md").read_text()
    assert "UA over the probe of the same input" in results
    assert "No seeds (probe_fbank, probe_fbank_minilm, probe_minilm)" in results
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB, the largest process
    assert peak < 3 * 1024**2
    packed = subprocess.run(
        [recipe.directory / "run.sh", "--stage", "9", "--pack", "folds"], capture_output=True
    )
    assert packed.returncode == 0, packed.stderr
    for system in MODALITIES.values():
        judge_again(recipe.directory / "exp" / system / "session", recipe.directory / "data/all")
    judge_elsewhere(recipe.directory, tmp_path / "elsewhere")
    again = subprocess.run([recipe.directory / "run.sh"], capture_output=True, text=True)
    assert again.returncode == 0
    assert "up to date" in again.stdout + again.stderr


def judge_elsewhere(recipe: Path, place: Path) -> None:
    """The installed package says the same of a recording, with neither recipe nor corpus."""
    installed, data = Installed(place), DataDir.load(recipe / "data/all", ())
    installed.bring(Distribution.from_name(MINILM))
    pack, utt = recipe / "exp" / MODALITIES["both"] / "session" / "pack_folds", min(data.text)
    answer = cfia.load(pack)(data.wav_scp[utt], data.text[utt])
    shutil.copytree(pack, place / "pack")
    shutil.copy(data.wav_scp[utt], place / "a.wav")
    line = ["cfia", "predict", "--model", "pack", "a.wav", "--text", data.text[utt], "--json"]
    done = installed.run(*line, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["posteriors"] == pytest.approx(answer.posteriors, abs=1e-5)


def judge_again(experiment: Path, data: Path) -> None:
    """The networks of the folds say of the recordings of their test what stage 6 has said."""
    model = cfia.load(experiment / "pack_folds")
    tables, networks = DataDir.load(data, ()), model.networks
    for fold, network in enumerate(networks, start=1):
        model.networks = [network]
        said = read_posteriors(experiment / f"fold{fold}_seed1" / "posteriors.tsv")
        assert tuple(said.classes) == model.classes
        answers = [model(tables.wav_scp[utt], tables.text[utt]).posteriors for utt in said.utts]
        found = np.array([list(answer.values()) for answer in answers])
        np.testing.assert_allclose(found, said.probs, rtol=0, atol=1e-4)
