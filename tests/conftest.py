"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine must not fail a test; in CI the same examples are tried at every run.
settings.register_profile("cfia", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cfia")
