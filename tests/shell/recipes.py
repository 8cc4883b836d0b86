"""Recipes as a user runs them, for tests: a copy of the project, and run.sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Recipe:
    """A copy of the project, so that nothing in the checkout is touched, and one of its recipes.

    A copy that is there already is taken as it is.

    Attributes:
        corpus: what --corpus_dir says; `arguments`: the options of every run besides;
        environment: variables that differ from the tests' own.
    """

    def __init__(self, root: Path, name: str, arguments: Sequence[str]):
        self.root, self.arguments = root, arguments
        ignore = shutil.ignore_patterns("downloads", "data", "dump", "exp", "__pycache__")
        if not root.exists():
            for part in ("egs", "utils", "conf", "cfia"):
                shutil.copytree(ROOT / part, root / part, symlinks=True, ignore=ignore)
            for file in ("setup.py", "requirements.txt"):
                shutil.copy(ROOT / file, root / file)
        self.directory = root / "egs" / name
        self.corpus = root / "corpus"
        self.environment: dict[str, str] = {}

    def command(self, *arguments: str) -> list[str]:
        return [
            str(self.directory / "run.sh"),
            "--corpus_dir",
            str(self.corpus),
            *self.arguments,
            *arguments,
        ]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run it from another directory; returns what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            cwd=self.root.parent,
            env=os.environ | self.environment,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def files(self) -> dict[str, bytes]:
        """What a run promises to be the same bytes, by path; scp files with the root replaced."""
        exact = (
            "text",
            "utt2emo",
            "utt2dur",
            "ark",
            "pt",
            "tsv",
            "json",
            "csv",
            "png",
            "md",
            "tex",
        )
        found = {}
        for path in sorted(self.directory.rglob("*")):
            kept = path.name in exact or path.suffix[1:] in (*exact, "scp")
            # Markers hold digests of files with absolute paths, RESULTS.md the environment.
            if path.name.startswith(".") or path.name == "RESULTS.md" or not kept:
                continue
            if path.is_file() and "log" not in path.parts:
                found[str(path.relative_to(self.directory))] = path.read_bytes().replace(
                    str(self.root).encode(), b"ROOT"
                )
        return found
