"""Small trees of corpora as their owners lay them out, and recipes whose stage 1 reads them."""

from __future__ import annotations

import functools
import io
import shutil
from pathlib import Path

import numpy as np
import soundfile
import yaml

from cfia.corpus import page
from cfia.corpus.prepare import Corpus, main
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table
from tests.support.data_files import ROOT


@functools.cache
def sound(rate: int, channels: int = 1) -> bytes:
    """A twentieth of a second of noise, as WAV."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).standard_normal((rate // 20, channels))
    soundfile.write(buffer, 0.1 * noise, rate, format="wav")
    return buffer.getvalue()


class Published:
    """A corpus's directory, in which tests lay files, and the recipe that reads it.

    Attributes:
        corpus: the directory; conf: the recipe's conf/, without the counts that it expects unless
            `whole`; rate: of the sound, in Hz.
    """

    def __init__(self, directory: Path, recipe: str, rate: int = 16000, *, whole: bool = False):
        self.corpus, self.rate = directory / "a corpus", rate
        self.conf, self.data = directory / "conf", directory / "data"
        self.corpus.mkdir()
        shutil.copytree(ROOT / "egs" / recipe / "conf", self.conf)
        conf = yaml.safe_load((self.conf / "corpus.yaml").read_text())
        if not whole:
            conf.pop("expect", None)
        (self.conf / "corpus.yaml").write_text(yaml.safe_dump(conf))

    def lay(self, *names: str, data: bytes = b"", channels: int = 1) -> None:
        """Write files of these names, of sound if no bytes are given."""
        for name in names:
            path = self.corpus / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data or sound(self.rate, channels))

    def write(self, name: str, text: str, encoding: str = "utf-8") -> None:
        self.lay(name, data=text.encode(encoding))

    def read(self) -> Corpus:
        """The corpus, as it is understood."""
        return page.read(self.corpus, self.conf)

    def prepare(self, *options: str) -> DataDir:
        """Run stage 1."""
        arguments = ["--conf", str(self.conf), "--labels", "all", *options]
        main("it", page.read, [*arguments, str(self.corpus), str(self.data)])
        return DataDir.load(self.data, needed=())

    def table(self, name: str) -> dict[str, str]:
        """A table of the data directory."""
        return read_table(self.data / name)
