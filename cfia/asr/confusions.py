"""What a recogniser takes words for: counts of its errors, by its transcripts beside gold ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cfia.asr.word_errors import align, normalise


@dataclass(frozen=True)
class Confusions:
    """Counts of a recogniser's word errors; words are as `cfia.asr.word_errors` compares them.

    Attributes:
        words: how often each word is in the gold text.
        substituted: what a word was taken for, and how often.
        deleted: how often a word was left out.
        inserted: how often a word was put in.
    """

    words: Counter[str] = field(default_factory=Counter)
    substituted: dict[str, Counter[str]] = field(default_factory=dict)
    deleted: Counter[str] = field(default_factory=Counter)
    inserted: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, gold: Mapping[str, str], recognised: Mapping[str, str]) -> Confusions:
        """Count them; an utterance that a recogniser could not read has words, and no errors."""
        found = cls()
        for utterance in gold.keys() - recognised.keys():
            found.words.update(normalise(gold[utterance]))
        output = align((gold[utt], text) for utt, text in recognised.items())
        for said, heard, chunks in zip(
            output.references, output.hypotheses, output.alignments, strict=True
        ):
            found.words.update(said)
            for chunk in chunks:
                old = said[chunk.ref_start_idx : chunk.ref_end_idx]
                found._add(chunk.type, old, heard[chunk.hyp_start_idx : chunk.hyp_end_idx])
        return found

    def _add(self, kind: str, said: Sequence[str], heard: Sequence[str]) -> None:
        if kind == "delete":
            self.deleted.update(said)
        elif kind == "insert":
            self.inserted.update(heard)
        elif kind == "substitute":
            for word, other in zip(said, heard, strict=True):
                self.substituted.setdefault(word, Counter())[other] += 1
