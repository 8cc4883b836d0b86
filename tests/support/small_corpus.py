"""A corpus of four files, and the page that describes it; each test changes what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cfia.corpus import page, prepare
from cfia.kaldi.data_dir import DataDir
from tests.support.data_files import write_audio, write_tables

CSV = """file,who,emotion,words,part
a 1.wav,Ann,ang,So.,Train
a 2.wav,Ann,hap,"Well, well.",Train
b 1.wav,Bob,ang,No.,Dev
b 2.wav,Bob,hap,Yes.,Test
"""
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


class SmallCorpus:
    """A corpus of four files and a table of them, and a recipe's conf/ with its page."""

    def __init__(self, directory: Path) -> None:
        self.corpus, self.conf = directory / "corpus ß", directory / "conf"
        self.data = directory / "data"
        for name in ("a 1", "a 2", "b 1", "b 2"):
            write_audio(self.corpus / "wav" / f"{name}.wav")
        self.table = self.corpus / "labels.csv"
        self.table.write_text(CSV)
        (self.conf / "labels").mkdir(parents=True)
        (self.conf / "labels" / "4.yaml").write_text("ang: ang\nhap: hap\n")
        self.page: dict[str, Any] = {
            "table": "labels.csv",
            "columns": {
                "audio": "wav/{file}",
                "speaker": "{who}",
                "label": "{emotion}",
                "text": "{words}",
                "split": "{part}",
            },
            "codes": {"split": {"Train": "train", "Dev": "valid", "Test": "test"}},
        }

    def edit(self, old: str, new: str) -> SmallCorpus:
        """Replace what must be in the table."""
        assert old in CSV
        self.table.write_text(CSV.replace(old, new))
        return self

    def write_page(self) -> None:
        (self.conf / "corpus.yaml").write_text(yaml.safe_dump(self.page))

    def read(self) -> prepare.Corpus:
        """The corpus, as it is understood."""
        self.write_page()
        return page.read(self.corpus.resolve(), self.conf)

    def prepare(self, *options: str) -> DataDir:
        self.write_page()
        arguments = ["--conf", str(self.conf), *options, str(self.corpus), str(self.data)]
        prepare.main("it", page.read, arguments)
        return DataDir.load(self.data)


def by_names(
    made: SmallCorpus, name: str = r"(?P<speaker>\w) (?P<label>\d)", glob: str = "*/*.wav"
) -> None:
    made.page = {"files": {"glob": glob, "name": name}}


def with_column(made: SmallCorpus, column: str, template: str, codes: object = None) -> SmallCorpus:
    made.page["columns"][column] = template
    if codes:
        made.page["codes"][column] = codes
    return made


def with_join(made: SmallCorpus, text: str, **more: str) -> None:
    (made.corpus / "more.csv").write_text(text)
    made.page["join"] = {"file": "more.csv", "key": "file", **more}


def as_data_dir(made: SmallCorpus, **tables: dict[str, str]) -> None:
    audio = {"A-1": "wav/a 1.wav", "B-1": "wav/b 1.wav"}
    write_tables(
        made.corpus / "kaldi",
        {
            "wav.scp": audio,
            "utt2spk": {"A-1": "A", "B-1": "B"},
            "utt2emo": {"A-1": "ang", "B-1": "hap"},
            **tables,
        },
    )
    made.page = {"data_dir": "kaldi"}


def put(made: SmallCorpus, **values: Any) -> SmallCorpus:
    made.page |= values
    return made
