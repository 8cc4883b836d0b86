"""Turn the utterances of a corpus into the tables of a data directory, and say what is in them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cfia.corpus.transcripts import NO_WORDS, some
from cfia.corpus.utterances import LEFT_OUT, NO_AUDIO, Utterance
from cfia.errors import UserError
from cfia.kaldi import layout
from cfia.kaldi.validate import success

log = logging.getLogger(__name__)

Tables = dict[str, dict[str, str]]
"""File name -> id of utterance, recording or speaker -> value."""

_GENDERS = {"m", "f"}  # all that Kaldi's spk2gender may say


def tables(
    selected: Sequence[tuple[Utterance, str]],
    texts: Mapping[str, str],
    durations: Mapping[str, float],
    of_speakers: Mapping[str, Mapping[str, str]],
) -> Tables:
    """Make the tables of a data directory.

    There is no table of things that the corpus does not know, such as sessions, or audio. An
    utterance whose speaker nobody knows is its own (`cfia.kaldi.data_dir.speakers_known`).

    Args:
        selected: utterances and their classes; texts, durations: by the utterance's id, `texts`
            empty where there are no transcripts.
        of_speakers: tables of more speakers, as in `Corpus`.

    Raises:
        UserError: a column cannot be a table's name, or official parts are of several numbers of
            folds.
    """
    rows: Tables = {}
    for u, label in selected:
        values = {
            "text": texts.get(u.id, ""),
            "utt2spk": u.speaker or u.id,
            "utt2dur": f"{durations[u.id]:.6g}",
            "utt2emo": label,
            "utt2session": u.session,
            "utt2type": u.type,
            "utt2dialogue": u.dialogue,
            "utt2split": u.split,
            **{_column(f"utt2{name}"): value for name, value in u.columns.items()},
        }
        for name, value in values.items():
            if value:
                rows.setdefault(name, {})[u.id] = value
    utterances = [u for u, _ in selected]
    rows |= _audio([u for u in utterances if u.audio != NO_AUDIO])
    if "utt2split" in rows:
        rows["utt2split"] = _splits(utterances)
    return rows | _of_speakers(of_speakers, set(rows["utt2spk"].values()))


def _column(name: str) -> str:
    """Refuse what a corpus cannot say in a table of this name, since stages give it a meaning."""
    kind = layout.kind(name)
    if kind is None or (kind.whole and name != "spk2gender"):
        raise UserError(
            f"conf/corpus.yaml: a column cannot be called {name[4:]!r}, as there is no table "
            f"{name} of one's own; choose another name, of letters, digits and _"
        )
    return name


def _audio(utterances: Sequence[Utterance]) -> Tables:
    """Make wav.scp, and segments where an utterance is a part of its recording."""
    if all(u.start is None and u.end is None for u in utterances):
        return {"wav.scp": {u.id: str(u.audio) for u in utterances}} if utterances else {}
    ids = _recordings({u.audio for u in utterances})
    return {
        "wav.scp": {ids[u.audio]: str(u.audio) for u in utterances},
        "segments": {
            u.id: " ".join([ids[u.audio], _seconds(u.start or 0), _seconds(_end(u))])
            for u in utterances
        },
    }


def _end(utterance: Utterance) -> float:
    return -1 if utterance.end is None else utterance.end  # of -1 Kaldi takes the recording's


def _seconds(value: float) -> str:
    return f"{value:.12g}"


def _recordings(paths: Iterable[Path]) -> dict[Path, str]:
    """Name recordings by as many parts of their paths, from the end, as tell them apart."""
    named = sorted(paths)
    parts = [(*path.parent.parts[1:], path.stem) for path in named]
    for depth in range(1, max(map(len, parts)) + 1):
        ids = [re.sub(r"[^A-Za-z0-9._-]", "_", "_".join(of[-depth:])) for of in parts]
        if len(set(ids)) == len(ids):
            return dict(zip(named, ids, strict=True))
    twice, _ = Counter(ids).most_common(1)[0]
    first, second, *_ = (path for path, of in zip(named, ids, strict=True) if of == twice)
    raise UserError(f"{first} and {second} would both be the recording {twice}; rename one of them")


def _splits(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Give the official parts of all utterances, one that has none being left out of all folds."""
    first = next(u for u in utterances if u.split)
    n_folds = len(first.split.split())
    for u in utterances:
        if u.split and len(u.split.split()) != n_folds:
            raise UserError(
                f"{u.name} in {u.source} has the official parts {u.split!r}, and {first.name} "
                f"{first.split!r}; both must name one for each fold"
            )
    unused = " ".join([LEFT_OUT] * n_folds)
    return {u.id: " ".join(u.split.split()) or unused for u in utterances}


def _of_speakers(given: Mapping[str, Mapping[str, str]], speakers: set[str]) -> Tables:
    """Keep what is said of these speakers; of genders, all or none, as Kaldi has them."""
    kept = {}
    for name, values in given.items():
        rows = {
            speaker: value for speaker, value in values.items() if speaker in speakers and value
        }
        if name == "spk2gender":
            without = sorted(s for s in speakers if rows.get(s) not in _GENDERS)
            if rows and without:
                log.warning(
                    "%s is not written, as it must say m or f of every speaker: %d of %d differ "
                    "(%s)", name, len(without), len(speakers), some(without),
                )  # fmt: skip
                continue
        if rows:
            kept[_column(name)] = rows
    return kept


def seconds_spoken(utterance: Utterance, recorded: float) -> float:
    """Compute an utterance's duration, given that of its audio, all in seconds.

    Raises:
        UserError: its part of the recording does not lie in it.
    """
    from cfia.kaldi.audio import OVERSHOOT  # late: soundfile takes a while

    start, end = utterance.start or 0, recorded if utterance.end is None else utterance.end
    if end > recorded + OVERSHOOT or not 0 <= start < min(end, recorded):
        raise UserError(
            f"{utterance.name} in {utterance.source} is from {_seconds(start)} to {_seconds(end)} "
            f"s of {utterance.audio}, which has {recorded:.3f} s; correct it, or leave it out with "
            "--skip_bad true"
        )
    return min(end, recorded) - start


def report(
    path: Path,
    labelled: Sequence[Utterance],
    selected: Sequence[Utterance],
    tables: Mapping[str, Mapping[str, str]],
) -> None:
    """Say what is in the data directory `path`, of what the corpus had and what was selected."""
    from cfia.kaldi.data_dir import speakers_known  # late, as above

    left_out = Counter(u.label for u in labelled) - Counter(u.label for u in selected)
    if left_out:
        log.info("left out by their label: %s", _counts(left_out))
    utt2spk = tables["utt2spk"]
    speakers = f"{len(set(utt2spk.values()))} speakers"
    log.info(
        "%s: %d of %d labelled utterances (%s), %s, %.2f hours",
        path, len(tables["utt2emo"]), len(labelled),
        _counts(Counter(tables["utt2emo"].values())),
        speakers if speakers_known(utt2spk) else "speakers not known",
        sum(map(float, tables["utt2dur"].values())) / 3600,
    )  # fmt: skip
    wordless = sum(text == NO_WORDS for text in tables.get("text", {}).values())
    if wordless:
        log.info("transcripts without words, whose text is %s: %d", NO_WORDS, wordless)
    if "text" not in tables:
        log.info("no transcripts: for systems of audio alone, or give them by --text_file")
    if tables["skipped"]:
        log.warning("left out: %d utterances, see %s/skipped", len(tables["skipped"]), path)
    log.info("%s", success(path))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items()))
