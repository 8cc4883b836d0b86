"""Fetch what a GPU machine may lack beside PyTorch and NumPy, as wheels, within 60 MiB.

The packages, and all that they need, have the versions of the environment that this runs in. Those
that are needed first come first; what does not fit is left out, and said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIMIT = 60  # MiB
THERE = ("torch", "numpy")  # and what these need
# What needs them: all parts, the dump of BERT, tests, trainings, and the probe.
WANTED = (
    ("pip", "kaldiio", "soundfile", "soxr", "kaldi-native-fbank", "pyyaml", "tqdm"),
    ("transformers",), ("pytest", "hypothesis"), ("tensorboard",), ("scipy",), ("scikit-learn",),
)  # fmt: skip
# Needed by their metadata, but not by what is measured: TensorBoard's page, pictures, downloads.
UNUSED = {"grpcio", "tensorboard-data-server", "pillow", "hf-xet"}
GLIBC = (17, 24, 27, 28, 31, 34)  # minor versions; pip takes tags as they are


def main() -> None:
    """Fetch them into an empty or a new directory."""
    parser = argparse.ArgumentParser(description="Fetch what a GPU machine may lack.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python", required=True, help="of the machine, such as 3.12")
    args = parser.parse_args()
    if args.directory.exists() and any(args.directory.iterdir()):
        sys.exit(f"gpu.sh: {args.directory} is not empty; remove it, or name another directory")
    args.directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.directory.parent) as name:
        made = Path(name) / "wheels"
        made.mkdir()
        total = fetch_all(made, args.python)
        made.replace(args.directory)
    print(f"{args.directory}: {total:.1f} MiB for Python {args.python} on Linux x86-64")


def fetch_all(directory: Path, python: str) -> float:
    """Fetch group after group, as far as they fit; MiB of all."""
    total, have = 0.0, needed(THERE, python) | UNUSED
    for group in WANTED:
        packages = needed(group, python) - have
        with tempfile.TemporaryDirectory(dir=directory.parent) as name:
            fetch(sorted(packages), Path(name), python)
            wheels = list(Path(name).iterdir())
            size = sum(wheel.stat().st_size for wheel in wheels) / 2**20
            if total + size > LIMIT:
                print(f"left out {', '.join(group)}: {size:.1f} MiB more are over {LIMIT} MiB")
                continue
            for wheel in wheels:
                wheel.rename(directory / wheel.name)
        print(f"{', '.join(group)}: {len(packages)} wheels, {size:.1f} MiB")
        total, have = total + size, have | packages
    return total


def needed(names: Iterable[str], python: str) -> set[str]:
    """Packages and all that they need on that machine, by the metadata of this environment."""
    machine = {"python_version": python, "python_full_version": f"{python}.0", "extra": "",
               "platform_machine": "x86_64", "sys_platform": "linux",
               "platform_system": "Linux", "os_name": "posix"}  # fmt: skip
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(machine):
                waiting.append(requirement.name)
    return found


def fetch(names: list[str], directory: Path, python: str) -> None:
    """Download wheels of the versions that are installed here; pip says what it cannot find."""
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    tags = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", f"--python-version={python}", "--implementation=cp",
        "--platform=manylinux2014_x86_64", *tags, f"--dest={directory}", *pins,
    ]  # fmt: skip
    if subprocess.run(command).returncode:
        sys.exit(f"gpu.sh: pip has not found all of {', '.join(pins)}; see above")


if __name__ == "__main__":
    main()
