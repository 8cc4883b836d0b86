"""The synthetic corpus as a user makes it, and an independent reading of its files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.support.data_files import ROOT

SCRIPT = ROOT / "egs" / "mini_iemocap" / "local" / "corpus.sh"
CLASSES = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}

# The lines of IEMOCAP's own files.
TURN = re.compile(
    r"\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(Ses\d\d[FM]_\w+_[FM]\d{3})\t(\w{3})"
    r"\t\[([1-5]\.\d{4}), ([1-5]\.\d{4}), ([1-5]\.\d{4})\]"
)
CATEGORY = re.compile(r"C-([EFM]\d):\t(\w+);\t\(\)")
ATTRIBUTE = re.compile(r"A-([EFM]\d):\tval [1-5]; act [1-5]; dom  [1-5];\t\(\)")
TRANSCRIPT = re.compile(
    r"(Ses\d\d[FM]_\w+_[FM](?:\d{3}|XX0)) \[(\d{3}\.\d{4})-(\d{3}\.\d{4})\]: (\S.*)"
)


def command(*arguments: str | Path) -> list[str]:
    return ["bash", str(SCRIPT), *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """That of a sourced path.sh: the tests' Python, utils/ and the package."""
    path = f"{ROOT / 'utils'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **changes}


def make(*arguments: str | Path, cwd: Path | None = None, code: int = 0, **changes: str) -> str:
    """Run corpus.sh; what it said on stderr."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment(**changes)
    )
    assert done.returncode == code, done.stderr
    return done.stderr


@dataclass(frozen=True)
class Utterance:
    name: str
    label: str
    start: float
    end: float
    votes: tuple[str, ...]  # of the judges E2, E3, E4
    transcript: str
    wav: Path

    @property
    def dialogue(self) -> str:
        return self.name.rpartition("_")[0]

    @property
    def speaker(self) -> str:
        return self.name[:5] + self.name.rpartition("_")[2][0]

    def samples(self) -> np.ndarray:
        samples: np.ndarray = soundfile.read(self.wav, dtype="float64")[0]
        return samples


class Corpus:
    """A tree, read by the layout of IEMOCAP and by nothing of the synthesiser's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.evaluations = sorted(root.glob("Session?/dialog/EmoEvaluation/Ses*.txt"))
        self.transcripts = sorted(root.glob("Session?/dialog/transcriptions/Ses*.txt"))
        spoken = {
            match[1]: match[4]
            for path in self.transcripts
            for line in path.read_text(encoding="utf-8").splitlines()
            if (match := TRANSCRIPT.fullmatch(line))
        }
        self.utterances = [
            utterance for path in self.evaluations for utterance in self._read(path, spoken)
        ]

    def _read(self, path: Path, spoken: dict[str, str]) -> list[Utterance]:
        found = []
        for block in path.read_text(encoding="utf-8").split("\n\n")[1:]:
            match = TURN.fullmatch(block.splitlines()[0])
            assert match is not None, block
            votes = tuple(name for rater, name in CATEGORY.findall(block) if rater[0] == "E")
            wavs = path.parents[2] / "sentences" / "wav" / match[3].rpartition("_")[0]
            found.append(
                Utterance(
                    match[3], match[4], float(match[1]), float(match[2]), votes,
                    spoken[match[3]], wavs / f"{match[3]}.wav",
                )
            )  # fmt: skip
        return found

    def of_class(self, name: str) -> list[Utterance]:
        return [u for u in self.utterances if CLASSES.get(u.label) == name]
