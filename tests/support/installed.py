"""The package as a user installs it: its wheel, in an environment without the repository.

The environment has the packages that the base set of setup.py brings and no others, linked to those
that the tests run with; a home directory that is empty; and no network.
"""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.data_files import ROOT

SETUP = runpy.run_path(str(ROOT / "setup.py"))
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
ALONE = ("--no-deps", "--no-index", "--no-cache-dir")
SOURCES = ("cfia", "conf", "setup.py", "pyproject.toml", "README.md", "LICENSE")

# Imported at the start of every Python there: whoever asks for another machine is refused.
NO_NETWORK = """\
import sys

def refuse(event, arguments):
    to_another = event == "socket.connect" and isinstance(arguments[1], tuple)
    if to_another or event == "socket.getaddrinfo":
        raise OSError("there is no network")

sys.addaudithook(refuse)
"""


def brought_by(requirements: Iterable[str]) -> set[Distribution]:
    """What pip would install for these requirements, of what is installed here."""
    queue = [(Requirement(text), "") for text in requirements]
    found: dict[tuple[str, str], Distribution] = {}
    while queue:
        requirement, extra = queue.pop()
        if (requirement.name, extra) in found:
            continue
        try:
            distribution = Distribution.from_name(requirement.name)
        except PackageNotFoundError:  # what runs the tests does without it
            continue
        found[requirement.name, extra] = distribution
        for need in map(Requirement, distribution.requires or []):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                queue += [(need, chosen) for chosen in ("", *need.extras)]
    return set({d.name: d for d in found.values()}.values())


def top_level(distribution: Distribution) -> set[str]:
    """The files and directories that a distribution has in site-packages."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    return {line.split(",")[0].split("/")[0] for line in lines} - {"..", "__pycache__"}


class Installed:
    """The wheel of this repository by way of its source distribution, installed."""

    def __init__(self, root: Path) -> None:
        self.source, self.home, self.venv = root / "source", root / "home", root / "venv"
        self.home.mkdir(parents=True)
        self.wheel = self._build(root / "dist")
        venv.create(self.venv, symlinks=True)
        version = "python{}.{}".format(*sys.version_info)
        self.site = self.venv / "lib" / version / "site-packages"
        self.bring(*brought_by(SETUP["REQUIRES"]))
        (self.site / "no_network.py").write_text(NO_NETWORK)
        (self.site / "no_network.pth").write_text("import no_network\n")
        python = str(self.venv / "bin" / "python")
        call([*PIP, "--python", python, "install", *ALONE, "--no-compile", str(self.wheel)], root)

    def _build(self, dist: Path) -> Path:
        """Build both distributions, of a copy, since setuptools writes into the directory."""
        self.source.mkdir()
        for name in SOURCES:
            if (ROOT / name).is_dir():
                unread = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self.source / name, ignore=unread)
            else:
                shutil.copy(ROOT / name, self.source / name)
        dist.mkdir()
        build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
        call([sys.executable, "-c", build, str(dist)], self.source)
        (archive,) = dist.glob("*.tar.gz")
        call([*PIP, "wheel", *ALONE, "--no-build-isolation", "-w", str(dist), str(archive)], dist)
        (wheel,) = dist.glob("*.whl")
        return wheel

    def bring(self, *distributions: Distribution) -> None:
        """Install packages alone, as links to those that the tests run with."""
        for distribution in distributions:
            for name in top_level(distribution):
                if not (self.site / name).exists():
                    (self.site / name).symlink_to(str(distribution.locate_file(name)))

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Call a program of the environment."""
        program, *arguments = map(str, command)
        path = f"{self.venv / 'bin'}:/usr/bin:/bin"
        return subprocess.run(
            [self.venv / "bin" / program, *arguments], cwd=cwd, capture_output=True, text=True,
            env={"PATH": path, "HOME": str(self.home), "OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip


def call(command: list[str], cwd: Path) -> None:
    """Call a program that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
