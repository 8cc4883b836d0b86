"""Tidy transcripts: one line of printable text, with or without annotators' tags."""

from __future__ import annotations

import logging
import random
import re
import unicodedata
from collections.abc import Iterable, Mapping

from cfia.corpus.utterances import Utterance
from cfia.errors import UserError
from cfia.kaldi.table import UNSEEN, ZERO_WIDTH_SPACE, read_table

log = logging.getLogger(__name__)

NO_WORDS = "..."  # the text of an utterance without words, since no transcript may be empty

# [LAUGHTER] and the like; also where one of the brackets is missing.
_TAG = re.compile(r"\[[^\[\]]*\]|\[[A-Z]+\b|\b[A-Z]+\]")


def tidy(transcript: str, *, strip: bool) -> str:
    """Make a transcript one printable line with single blanks, and without tags if `strip`.

    What is invisible within a word goes, but for the joiners that Persian and Indic words are spelt
    with; a zero-width space parts words. A transcript that has no words left becomes `...`.
    """
    if strip:
        transcript = _TAG.sub(" ", transcript)
    seen = UNSEEN.sub("", transcript).replace(ZERO_WIDTH_SPACE, " ")
    printable = "".join(c if c.isprintable() or _is_format(c) else " " for c in seen)
    return " ".join(w for w in printable.split() if not all(map(_is_format, w))) or NO_WORDS


def _is_format(character: str) -> bool:
    return unicodedata.category(character) == "Cf"


def has_tag(transcript: str) -> bool:
    """Whether `tidy` would strip a tag from it."""
    return _TAG.search(transcript) is not None


def transcripts(utterances: Iterable[Utterance], text_file: str, *, strip: bool) -> dict[str, str]:
    """Map utterance ids to transcripts: those of the corpus, or of `text_file`.

    The text file may name the utterances by their ids or as the corpus does. Its lines about
    other utterances are not used. An empty transcript becomes `...`.

    Raises:
        UserError: an utterance has no transcript there.
    """
    texts = {u.id: u.transcript for u in utterances}
    if text_file:
        table = read_table(text_file, allow_empty=True)
        texts = {u.id: table.get(u.id, table.get(u.name)) for u in utterances}
        extra = table.keys() - {name for u in utterances for name in (u.id, u.name)}
        if extra:
            log.warning(
                "%s: %d lines name none of the utterances to use and are not read (%s)",
                text_file, len(extra), some(sorted(extra)),
            )  # fmt: skip
    where = text_file or "the corpus"
    missing = [utterance for utterance, text in texts.items() if text is None]
    if missing:
        raise UserError(
            f"{where} lacks {len(missing)} of {len(texts)} utterances ({some(missing)}); add "
            f"them there, with the text {NO_WORDS} where nothing was said"
        )
    empty = [utterance for utterance, text in texts.items() if not (text or "").strip()]
    if empty:
        log.warning(
            "%d transcripts in %s are empty (%s); their text is %s",
            len(empty), where, some(empty), NO_WORDS,
        )  # fmt: skip
    return {utterance: tidy(text or "", strip=strip) for utterance, text in texts.items()}


def shuffled(texts: Mapping[str, str], speakers: Mapping[str, str]) -> dict[str, str]:
    """Deal the transcripts of each speaker out to that speaker's utterances at random."""
    rng = random.Random(1)
    said: dict[str, list[str]] = {}
    for utt in sorted(texts):
        said.setdefault(speakers[utt], []).append(utt)
    dealt: dict[str, str] = {}
    for _, utts in sorted(said.items()):
        dealt |= zip(utts, rng.sample([texts[utt] for utt in utts], len(utts)), strict=True)
    return dealt


def some(names: Iterable[str]) -> str:
    """Join up to three names for a message."""
    first, *more = [*names]
    return ", ".join([first, *more[:2], *(["..."] if more[2:] else [])])
