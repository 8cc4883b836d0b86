"""A recipe of several corpora, and stages 1 to 8 of it in this process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cfia import marker
from cfia.frontend import Frontend
from cfia.kaldi.archives import Archives
from cfia.kaldi.table import read_table, write_table
from tests.support.data_files import ROOT
from tests.support.experiment import make
from tests.support.stages import Outcome, Stages, Toy, outcome

TRAINING = "hidden=4 channels=2 features=2 batch_size=8 lr=5e-2 epochs=1 dropout=0"
STANDARD = "standard: {cv: session}\n"


class Corpus(Toy):
    """The recipe of one corpus, data and features made up; other corpora have the same ids."""

    def __init__(self, directory: Path, n: int, seed: int) -> None:
        self.directory = directory
        self.options = {"systems": "linear_audio", "audio_upstream": "fbank", "nj": "1"}
        self.options |= {"corpus_dir": "none", "train_args": TRAINING}
        if directory.exists():
            return
        make(directory, n, seed, {"fbank": 6}, sessions=2)
        shutil.rmtree(directory / "data" / "folds")
        shutil.copytree(ROOT / "egs" / "emodb" / "conf" / "labels", directory / "conf" / "labels")
        (directory / "conf" / "corpus.yaml").write_text(STANDARD)
        if seed > 0:  # of the first corpus nobody knows the dialogues
            utts = read_table(self.data / "utt2spk")
            write_table(self.data / "utt2dialogue", dict.fromkeys(utts, "d1"))
        self.count_frames()

    @property
    def data(self) -> Path:
        return self.directory / "data" / "all"

    @property
    def dump(self) -> Path:
        return self.directory / "dump" / "fbank"

    def count_frames(self) -> None:
        """Give the dump what those of stage 3 have besides."""
        scp = read_table(self.dump / "feats.scp")
        with Archives(scp) as archives:
            frames = {utt: str(archives.shape(utt)[0]) for utt in scp}
        write_table(self.dump / "utt2num_frames", frames)
        self.describe()

    def describe(self, **facts: object) -> None:
        """Let the dump's frontend say something else, as if its stage had written it."""
        values = {**Frontend.read(self.dump).values(), "exposure": "none", **facts}
        Frontend(**values).write(self.dump)
        marker.finish(self.dump, {}, {"seed": "0"})


class Cross(Toy):
    """egs/cross beside recipes `first`, `second`, ... in a directory."""

    def __init__(self, root: Path, corpora: Sequence[str] = ("first", "second")) -> None:
        self.directory = root / "egs" / "cross"
        self.corpora = {
            name: Corpus(root / "egs" / name, 24 + 8 * place, seed=place)
            for place, name in enumerate(("first", "second", "third"))
            if name in corpora
        }
        self.options = {
            "cv": "cross",
            "corpora": " ".join(f"../{name}" for name in corpora),
            "audio_upstream": "fbank",
            "systems": "linear_audio",
            "train_args": TRAINING,
            "nj": "1",
        }
        if not self.directory.exists():
            shutil.copytree(ROOT / "egs" / "cross" / "conf", self.directory / "conf")
            (self.directory / "conf" / "train.yaml").unlink()

    def label_map(self, text: str, name: str = "4") -> None:
        (self.directory / "conf" / "labels" / f"{name}.yaml").write_text(text)

    def run(self, first: int, last: int, **options: str) -> Outcome:
        with self.environment(**options) as errors:
            return outcome(lambda: CrossStages(self).run(first, last), errors)


class CrossStages(Stages):
    """Stages 1 to 4 as ser.sh has them with --corpora."""

    def _data(self) -> None:
        self._plan("data")

    def _folds(self) -> None:
        self._plan("folds")

    def _dump(self, modality: str) -> None:
        self._plan(modality)
