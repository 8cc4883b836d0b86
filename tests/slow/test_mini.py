"""The mini recipe as a newcomer runs it: from stage 0 to the table, at its full size."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from tests.shell.recipes import Recipe

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
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB, the largest process
    assert peak < 3 * 1024**2
    again = subprocess.run([recipe.directory / "run.sh"], capture_output=True, text=True)
    assert again.returncode == 0
    assert "up to date" in again.stdout + again.stderr
