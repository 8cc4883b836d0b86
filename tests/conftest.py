"""Settings of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import settings

# A busy machine must not fail a test; in CI the same examples are tried at every run.
settings.register_profile("cfia", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cfia")


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path on which there is nothing but the real ffmpeg."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
