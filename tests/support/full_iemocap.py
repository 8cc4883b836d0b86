"""A tree as IEMOCAP_full_release, of its size and counts, under names of our own."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

LABELS = {"ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708}
SPEAKERS = {
    "Ses01F": 528, "Ses01M": 557, "Ses02F": 481, "Ses02M": 542, "Ses03F": 522,
    "Ses03M": 629, "Ses04F": 528, "Ses04M": 503, "Ses05F": 590, "Ses05M": 651,
}  # fmt: skip
TYPES = {"impro": 2943, "script": 2588}
# The corpus has 10,039 utterances; these are those of other labels, in about their proportions.
OTHERS = {"fru": 1849, "xxx": 2507, "sur": 107, "fea": 40, "oth": 3, "dis": 2}
OTHER_PREFIX = 2750  # names of the 5531 that begin with the other speaker's letter
NAMES = {"impro": ("impro01", "impro05a"), "script": ("script01_1", "script01_1b")}
TRANSCRIPTS = (
    "I know.", "I told you [LAUGHTER]  twice.", "[BREATHING] [GARBAGE]", "Café, it’s fine.",
    "Yeah.", "Oh [LIPSMACK", "",
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One utterance, and what must come out of the preparation for it."""

    speaker: str
    prefix: str  # F or M: who wore the markers
    middle: str
    number: int
    label: str
    transcript: str

    @property
    def dialogue(self) -> str:
        return f"{self.speaker[:5]}{self.prefix}_{self.middle}"

    @property
    def name(self) -> str:
        return f"{self.dialogue}_{self.speaker[5]}{self.number:03d}"


def draw() -> list[Turn]:
    """10,039 turns with the margins above; how they combine is drawn from a seed."""
    rng = random.Random(1)
    n = sum(LABELS.values())
    labels = shuffled(rng, LABELS) + shuffled(rng, OTHERS)
    kinds = shuffled(rng, TYPES) + rng.choices([*TYPES], k=len(labels) - n)
    speakers = shuffled(rng, SPEAKERS) + rng.choices([*SPEAKERS], k=len(labels) - n)
    other = shuffled(rng, {True: OTHER_PREFIX, False: n - OTHER_PREFIX})
    other += rng.choices([True, False], k=len(labels) - n)
    counters: Counter[str] = Counter()
    turns = []
    for label, kind, speaker, wears in zip(labels, kinds, speakers, other, strict=True):
        prefix = {"F": "M", "M": "F"}[speaker[5]] if wears else speaker[5]
        middle = rng.choice(NAMES[kind])
        dialogue = f"{speaker[:5]}{prefix}_{middle}_{speaker[5]}"
        turns.append(
            Turn(speaker, prefix, middle, counters[dialogue], label, rng.choice(TRANSCRIPTS))
        )
        counters[dialogue] += 1
    return turns


def shuffled(rng: random.Random, counts: dict) -> list:  # type: ignore[type-arg]
    values = [value for value, count in counts.items() for _ in range(count)]
    rng.shuffle(values)
    return values


def write_corpus(root: Path, turns: list[Turn], wav: Callable[[Turn], Path]) -> None:
    """The release with all that must be passed over.

    Args:
        root: the directory to make.
        turns: its utterances.
        wav: the file that is linked under a turn's name.
    """
    dialogues: dict[str, list[Turn]] = {}
    for turn in turns:
        dialogues.setdefault(turn.dialogue, []).append(turn)
    for dialogue, of in dialogues.items():
        session = root / f"Session{dialogue[4]}"
        wavs = session / "sentences" / "wav" / dialogue
        wavs.mkdir(parents=True)
        for turn in of:
            os.link(wav(turn), wavs / f"{turn.name}.wav")
        labels, transcripts = (
            session / "dialog" / "EmoEvaluation",
            session / "dialog/transcriptions",
        )
        for directory, lines in [
            (labels, label_lines(of)),
            (labels / "Categorical", [f"{turn.name} :Sadness; ()" for turn in of]),
            (labels / "Attribute", [f"[1.0 - 2.0]\t{turn.name}\tsad\t[1, 1, 1]" for turn in of]),
            (transcripts, transcript_lines(of)),
        ]:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{dialogue}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (directory / f"._{dialogue}.txt").write_bytes(b"\0\5\26\7[0.1 - 0.2]\xff\nSes [1]: x")


def label_lines(turns: list[Turn]) -> Iterator[str]:
    yield "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
    yield f"[1.0000 - 2.0000]\t{turns[0].dialogue}_FXX0\tang\t[1.0000, 1.0000, 1.0000]"
    for turn in turns:
        yield ""
        yield f"[6.2901 - 8.2357]\t{turn.name}\t{turn.label}\t[2.5000, 2.5000, 2.5000]"
        yield from ("C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()")


def transcript_lines(turns: list[Turn]) -> Iterator[str]:
    for turn in turns:
        yield f"{turn.name} [006.2901-008.2357]: {turn.transcript}"
        if turn.number % 50 == 0:
            yield from ("F: Not an utterance.", f"{turn.dialogue}_MXX0 [000.0-000.0]: [LAUGHTER]")


def expect(conf: Path, turns: list[Turn]) -> None:
    """Put the digest of these names into a recipe's conf/corpus.yaml; its counts are met."""
    lines = sorted(
        f"{turn.name} {'hap' if turn.label == 'exc' else turn.label}\n"
        for turn in turns
        if turn.label in LABELS
    )
    value = yaml.safe_load((conf / "corpus.yaml").read_text())
    value["expect"]["4"]["sha256"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    (conf / "corpus.yaml").write_text(yaml.safe_dump(value))
