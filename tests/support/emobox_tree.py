"""EmoBox's metadata in its own form: lists of folds and a label map, of one corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cfia.kaldi.data_dir import DataDir
from tests.support.data_files import ROOT, load_script, write_audio

SCRIPT = load_script("egs/emobox/local/prepare_emobox.py")
CONF = ROOT / "egs" / "emobox" / "conf"
LABELS = {"ang": "Angry", "hap": "Happy"}
Lists = Mapping[str, Sequence[Mapping[str, Any]]]


def row(corpus: str, name: str, wav: str, emo: str, **more: Any) -> dict[str, Any]:
    """A row as EmoBox writes it."""
    return {
        "key": f"{corpus}-{name}", "dataset": corpus, "wav": f"downloads/{corpus}/{wav}",
        "type": "raw", "sample_rate": 16000, "num_frame": 1600.0, "task": "category",
        "length": 0.1, "emo": emo, "channel": 1, **more,
    }  # fmt: skip


class EmoBox:
    """A clone of EmoBox that has one corpus, and its audio."""

    def __init__(
        self, root: Path, corpus: str, lists: Lists, labels: Mapping[str, str] = LABELS,
        name: str = "label_map.json", *, audio: bool = True,
    ) -> None:  # fmt: skip
        """Write it.

        Args:
            lists: such as `train_fold_1` -> rows; labels: the label map, in a file of this name.
            audio: whether there is that of all rows.
        """
        self.root, self.corpus, self.data = root / "EmoBox ß", corpus, root / "data"
        self.audio = self.root / "downloads" / corpus
        (self.root / "data" / corpus).mkdir(parents=True)
        (self.root / "data" / corpus / name).write_text(json.dumps(labels))
        for stem, rows in lists.items():
            self.write(stem, rows)
            for wav in {r["wav"] for r in rows if "wav" in r} if audio else ():
                write_audio(self.root / wav)

    def list(self, stem: str) -> Path:
        fold = stem[-1]
        return self.root / "data" / self.corpus / f"fold_{fold}" / f"{self.corpus}_{stem}.jsonl"

    def write(self, stem: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.list(stem).parent.mkdir(exist_ok=True)
        self.list(stem).write_text("".join(f"{json.dumps(r)}\n" for r in rows))

    def read(self) -> Any:
        return SCRIPT.read(self.root, CONF, self.corpus, self.audio)

    def prepare(self, *options: str) -> DataDir:
        """Run stage 1."""
        which = ["--labels", "all", "--conf", str(CONF), "--corpus", self.corpus]
        SCRIPT.prepare([*which, *options, str(self.root), str(self.data)])
        return DataDir.load(self.data, needed=())


def one_fold(corpus: str, names: Sequence[str], ending: str = ".wav", **more: Any) -> Lists:
    """One fold that tests the second half; labels by turns."""
    rows = [
        row(corpus, name, f"{name}{ending}", ("ang", "hap")[i % 2], **more)
        for i, name in enumerate(names)
    ]
    return {"train_fold_1": rows[: len(rows) // 2], "test_fold_1": rows[len(rows) // 2 :]}
