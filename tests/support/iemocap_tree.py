"""A small tree of IEMOCAP's shape, with the lines and files that must be passed over."""

from __future__ import annotations

import shutil
from pathlib import Path

from cfia.corpus.prepare import main
from tests.support.data_files import ROOT, load_script, write_audio

RECIPE = ROOT / "egs" / "iemocap"
SCRIPT = load_script("egs/iemocap/local/prepare_iemocap.py")
FIRST = "Ses01F_impro01_F000"

# Four turns of each dialogue: speaker and turn, label, transcript. The tables of a test are
# worked out from here by hand.
TURNS = {
    "F000": ("ang", "I told you [LAUGHTER]  twice."),
    "F001": ("exc", "[BREATHING] [GARBAGE]"),
    "M000": ("neu", "Excuse me."),
    "M001": ("sad", "It is over."),
    "M002": ("fru", "No."),
    "F002": ("xxx", "Hm."),
}
DIALOGUES = ("Ses0{}F_impro01", "Ses0{}M_impro05a", "Ses0{}M_script01_1b")


class SmallIemocap:
    """The tree, and a conf/ without the recipe's expectations, which it cannot meet.

    Per session three dialogues of six turns, four of which have one of the four classes.
    """

    def __init__(self, directory: Path) -> None:
        self.corpus = directory / "IEMOCAP voll ü"
        self.conf = directory / "conf"
        self.data = directory / "data" / "all"
        write_iemocap(self.corpus)
        shutil.copytree(RECIPE / "conf" / "labels", self.conf / "labels")
        session = self.corpus / "Session1"
        self.labels_file = session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
        self.transcripts_file = session / "dialog" / "transcriptions" / "Ses01F_impro01.txt"

    def wav_file(self, name: str = FIRST) -> Path:
        """The audio of an utterance of the first session."""
        wavs = self.corpus / "Session1" / "sentences" / "wav"
        return wavs / name.rpartition("_")[0] / f"{name}.wav"

    def prepare(self, *options: str) -> Path:
        """Prepare with some options; the data directory."""
        arguments = ["--conf", str(self.conf), *options, str(self.corpus), str(self.data)]
        main("IEMOCAP", SCRIPT.read, arguments)
        return self.data


def edit(path: Path, old: str, new: str) -> None:
    """Replace what must be in a text file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_iemocap(root: Path, sessions: int = 2) -> Path:
    """Write the tree; the names of files and the lines in them are those of the corpus."""
    for number in range(1, sessions + 1):
        session = root / f"Session{number}"
        labels = session / "dialog" / "EmoEvaluation"
        transcripts = session / "dialog" / "transcriptions"
        (labels / "Categorical").mkdir(parents=True)
        transcripts.mkdir(parents=True)
        for name in (dialogue.format(number) for dialogue in DIALOGUES):
            (labels / f"{name}.txt").write_text(_labels(name))
            (labels / "Categorical" / f"{name}_e2_cat.txt").write_text(
                f"{name}_F000 :Sadness; ()\n[0.1 - 0.2]\t{name}_F000\tsad\t[1, 1, 1]\n"
            )
            (labels / f"._{name}.txt").write_bytes(b"\0\5\26\7[0.1 - 0.2]\xff")
            (transcripts / f"{name}.txt").write_text(_transcripts(name))
            (transcripts / f"._{name}.txt").write_bytes(b"\0\5\26\7\xff")
            for turn in TURNS:
                write_audio(session / "sentences" / "wav" / name / f"{name}_{turn}.wav")
    return root


def _labels(name: str) -> str:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn, (label, _) in TURNS.items():
        lines += [
            f"[6.2901 - 8.2357]\t{name}_{turn}\t{label}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    lines.insert(2, f"[1.0000 - 2.0000]\t{name}_FXX0\tang\t[1.0000, 1.0000, 1.0000]")
    return "\n".join(lines) + "\n"


def _transcripts(name: str) -> str:
    lines = [f"{name}_{turn} [006.2901-008.2357]: {text}" for turn, (_, text) in TURNS.items()]
    lines.insert(1, "F: Excuse me, not an utterance.")
    lines.insert(3, f"{name}_MXX0 [000.0000-000.0000]: [LAUGHTER]")
    return "\n".join(lines) + "\n"
