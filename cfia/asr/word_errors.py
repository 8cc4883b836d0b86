"""The word error rate of recognised text against the corpus's own: in all, by class, by speaker.

Both are compared as words in small letters without punctuation and annotators' tags. Characters of
Chinese and Japanese, which are written without blanks, count as words.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import marker
from cfia.corpus.transcripts import tidy
from cfia.errors import UserError
from cfia.files import as_json, read_json, sha256
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table
from cfia.shapes import ShapeError, fit

if TYPE_CHECKING:
    import jiwer

JSON, PAGE = "wer.json", "wer.md"
NORMALISED = (
    "small letters; without punctuation (but apostrophes within words) and tags such as "
    "[LAUGHTER]; numbers as they are written; characters of Chinese and Japanese count as words"
)
# The tables that the rates are computed from, besides the recogniser's text.
_TABLES = ("text", "utt2emo", "utt2spk")
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "`": "'"})
_NOT_IN_WORDS = re.compile(r"(?<!\w)'|'(?!\w)|[^\w'\s]|_")
_WRITTEN_TOGETHER = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Errors:
    """Counts of words, and of errors.

    Attributes:
        words: of the gold text.
    """

    utterances: int
    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        """The number of errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """The word error rate in percent; None where no word was spoken."""
        return 100 * self.errors / self.words if self.words else None

    def __str__(self) -> str:
        """Word it: `23.4 % (12 substitutions, 3 deletions, 2 insertions in 73 words)`."""
        rate = "-" if self.rate is None else f"{self.rate:.1f} %"
        return (
            f"{rate} ({self.substitutions} substitutions, {self.deletions} deletions, "
            f"{self.insertions} insertions in {self.words} words)"
        )


@dataclass(frozen=True)
class WordErrors:
    """The contents of wer.json.

    Attributes:
        inputs: the digests of what they were computed from.
        empty: utterances in which the recogniser heard no word.
        normalised: how the words were compared.
        classes, speakers: the same of each.
    """

    inputs: dict[str, str]
    normalised: str
    empty: int
    whole: Errors
    classes: dict[str, Errors]
    speakers: dict[str, Errors]


def normalise(text: str) -> list[str]:
    """Divide a text into the words that are compared."""
    folded = unicodedata.normalize("NFKC", tidy(text, strip=True)).casefold()
    return separate(_NOT_IN_WORDS.sub(" ", folded.translate(_APOSTROPHES)))


def separate(text: str) -> list[str]:
    """Divide a text at its blanks, and around characters of Chinese and Japanese."""
    return _WRITTEN_TOGETHER.sub(r" \1 ", text).split()


def align(pairs: Iterable[tuple[str, str]]) -> jiwer.WordOutput:
    """Align pairs of a gold text and a recognised one, word by word, with the fewest errors."""
    import jiwer

    gold, recognised = [], []
    for one, other in pairs:
        gold.append(" ".join(normalise(one)))
        recognised.append(" ".join(normalise(other)))
    words = jiwer.ReduceToListOfListOfWords()
    return jiwer.process_words(gold, recognised, words, words)


def count(pairs: Iterable[tuple[str, str]]) -> Errors:
    """Count the errors of pairs of a gold text and a recognised one."""
    found = align(pairs)
    spoken = found.hits + found.substitutions + found.deletions
    counts = (found.substitutions, found.deletions, found.insertions)
    return Errors(len(found.references), spoken, *counts)


def measure(data: DataDir, text: Mapping[str, str], inputs: dict[str, str]) -> WordErrors:
    """Count the errors of recognised text (utterance -> words) against that of a data directory."""

    def by(table: Mapping[str, str]) -> dict[str, Errors]:
        groups: dict[str, list[tuple[str, str]]] = {}
        for utt in text:
            groups.setdefault(table[utt], []).append((data.text[utt], text[utt]))
        return {name: count(groups[name]) for name in sorted(groups)}

    labels = data.table("utt2emo")
    return WordErrors(
        inputs=inputs,
        normalised=NORMALISED,
        empty=sum(not words for words in text.values()),
        whole=count((data.text[utt], text[utt]) for utt in text),
        classes=by(labels) if labels else {},
        speakers=by(data.utt2spk),
    )


def update(directory: Path, data: DataDir) -> None:
    """Write wer.json and wer.md of finished text, and log the rate, where there is a gold text.

    Files that are up to date are left as they are.
    """
    if not data.text:
        _log.info("%s: no word error rate, for the corpus has no transcripts", directory)
        return
    paths = [directory / "text", *(data.path / name for name in _TABLES)]
    inputs = {"recognised" if p.parent == directory else p.name: sha256(p)
              for p in paths if p.exists()}  # fmt: skip
    found = read(directory)
    if found is None or found.inputs != inputs:
        found = measure(data, read_table(directory / "text", allow_empty=True), inputs)
        marker.rewrite(directory, {JSON: as_json(asdict(found)), PAGE: page(directory.name, found)})
    _log.info("%s: word error rate %s", directory, found.whole)


def read(directory: Path) -> WordErrors | None:
    """Read wer.json; None where there is none, or one that was cut or is of another version."""
    path = directory / JSON
    if not path.exists():
        return None
    try:
        found: WordErrors = fit(WordErrors, read_json(path))
    except (UserError, ShapeError):
        return None
    return found


def page(name: str, found: WordErrors) -> str:
    """Render the rates as a page of Markdown."""
    rows: list[tuple[str, str, Any]] = [("all", "", found.whole)]
    rows += [("class", key, errors) for key, errors in found.classes.items()]
    rows += [("speaker", key, errors) for key, errors in found.speakers.items()]
    lines = [
        f"# Word errors of {name}",
        "",
        f"Compared: {found.normalised}. In {found.empty} of {found.whole.utterances} utterances "
        "no word was recognised.",
        "",
        "| of | | utterances | words | substitutions | deletions | insertions | WER in % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, key, e in rows:
        rate = "-" if e.rate is None else f"{e.rate:.1f}"
        cells = (kind, key, e.utterances, e.words, e.substitutions, e.deletions, e.insertions, rate)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
