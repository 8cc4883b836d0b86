"""Turn the utterances of a corpus into the tables of a data directory, and say what is in them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cfia.corpus.transcripts import NO_WORDS
from cfia.corpus.utterances import NO_AUDIO, Utterance
from cfia.kaldi.validate import success

log = logging.getLogger(__name__)


def tables(
    selected: Iterable[tuple[Utterance, str]],
    texts: Mapping[str, str],
    durations: Mapping[str, float],
    of_speakers: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    """Make the tables of a data directory: file name -> id of utterance or speaker -> value.

    There is no table of things that the corpus does not know, such as sessions, or audio.

    Args:
        selected: utterances and their classes; texts, durations: by the utterance's id.
        of_speakers: tables of more speakers, as in `Corpus`.
    """
    rows: dict[str, dict[str, str]] = {}
    for u, label in selected:
        values = {
            "wav.scp": "" if u.audio == NO_AUDIO else str(u.audio),
            "text": texts[u.id],
            "utt2spk": u.speaker,
            "utt2dur": f"{durations[u.id]:.6g}",
            "utt2emo": label,
            "utt2session": u.session,
            "utt2type": u.type,
            "utt2dialogue": u.dialogue,
        }
        for name, value in values.items():
            if value:
                rows.setdefault(name, {})[u.id] = value
    speakers = set(rows["utt2spk"].values())
    for name, table in of_speakers.items():
        rows[name] = {speaker: value for speaker, value in table.items() if speaker in speakers}
    return rows


def report(
    path: Path,
    labelled: Sequence[Utterance],
    selected: Sequence[Utterance],
    tables: Mapping[str, Mapping[str, str]],
) -> None:
    """Say what is in the data directory `path`, of what the corpus had and what was selected."""
    left_out = Counter(u.label for u in labelled) - Counter(u.label for u in selected)
    if left_out:
        log.info("left out by their label: %s", _counts(left_out))
    log.info(
        "%s: %d of %d labelled utterances (%s), %d speakers, %.2f hours",
        path, len(tables["utt2emo"]), len(labelled),
        _counts(Counter(tables["utt2emo"].values())), len(set(tables["utt2spk"].values())),
        sum(map(float, tables["utt2dur"].values())) / 3600,
    )  # fmt: skip
    wordless = sum(text == NO_WORDS for text in tables["text"].values())
    if wordless:
        log.info("transcripts without words, whose text is %s: %d", NO_WORDS, wordless)
    if tables["skipped"]:
        log.warning("left out: %d utterances, see %s/skipped", len(tables["skipped"]), path)
    log.info("%s", success(path))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items()))
