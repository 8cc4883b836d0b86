"""Print those wheels of a directory whose packages are not installed, but for pip's own.

It runs where nothing but Python need be there: `python gpu_missing.py DIR`.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path


def missing(directory: Path) -> list[Path]:
    """List the wheels of packages that this Python does not have."""
    return [wheel for wheel in sorted(directory.glob("*.whl")) if not _is_here(wheel)]


def _is_here(wheel: Path) -> bool:
    name = wheel.name.partition("-")[0]
    if name == "pip":  # it installs the others, and runs out of its wheel
        return True
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    for path in missing(Path(sys.argv[1])):
        print(path)
