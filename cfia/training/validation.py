"""Which utterances outside its test validate a fold (`--validation`)."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from cfia.kaldi.data_dir import DataDir
from cfia.naming import DEFAULT_VALIDATION
from cfia.training.schemes import Division, ImpossibleError, check_speaker_sessions, rank

USE_RANDOM = f"use --validation {DEFAULT_VALIDATION}"


def validation_part(data: DataDir, validation: str, division: Division) -> Set[str]:
    """Choose the utterances of the rest that validate a fold.

    Args:
        validation: a legal value of `--validation`, one that goes with the scheme.

    Raises:
        ImpossibleError: the corpus has no sessions or no official validation part, or too few
            speakers.
    """
    if validation == "none":
        return set()
    if validation == "given":
        if not division.valid:
            raise ImpossibleError(
                f"--validation given needs an official validation part, and {data.path}/utt2split "
                f"has none in {division.name}; {USE_RANDOM}, or none"
            )
        return division.valid
    if validation.startswith("random"):
        return _drawn(data, int(validation.removeprefix("random")), division)
    if validation == "next_speaker":
        return _next(data.utt2spk, division.test, division.rest)
    sessions = data.table("utt2session")
    if not sessions:
        raise ImpossibleError(
            f"--validation {validation} needs sessions, and {data.path} has none; {USE_RANDOM}"
        )
    check_speaker_sessions(data)
    if validation == "next_session":
        tested = _values(sessions, division.test)
        others = {u for u in division.rest if sessions[u] not in tested}
        return _next(sessions, division.test, others)
    return _partner(data, division)


def _next(table: Mapping[str, str], test: set[str], rest: set[str]) -> set[str]:
    """Choose the utterances of the first speaker or session of `rest` after the last of `test`.

    After the last of all comes the first.
    """
    last, others = max(_values(table, test)), sorted(_values(table, rest))
    following = next((other for other in others if other > last), others[0] if others else None)
    return {u for u in rest if table[u] == following}


def _values(table: Mapping[str, str], utterances: set[str]) -> set[str]:
    return set(map(table.__getitem__, utterances))


def _partner(data: DataDir, division: Division) -> set[str]:
    """Choose the utterances of the other speaker of the session of the one that is tested."""
    sessions = _values(data.table("utt2session"), division.test)
    partner = {u for u in division.rest if data.table("utt2session")[u] in sessions}
    if len(_values(data.utt2spk, partner)) != 1:
        raise ImpossibleError(
            f"--validation partner needs two speakers in each session; in {data.path} that of "
            f"{division.name} has {1 + len(_values(data.utt2spk, partner))}; {USE_RANDOM}"
        )
    return partner


def _drawn(data: DataDir, percent: int, division: Division) -> set[str]:
    """Draw a share of the rest, of each class in proportion, and never all of a class.

    Utterances are ranked by a hash of their id, the fold and a fixed seed. What rounding leaves
    goes to the classes with the largest remainders, as in sklearn's StratifiedShuffleSplit, which
    refuses a class of one utterance; here such an utterance stays in training.
    """
    labels = data.table("utt2emo")
    ranked: dict[str, list[str]] = {}
    rest = list(division.rest)
    for i in np.argsort(np.array([rank(division.name, utterance) for utterance in rest])).tolist():
        ranked.setdefault(labels[rest[i]], []).append(rest[i])
    share = percent / 100
    quota = {label: int(share * len(utts)) for label, utts in ranked.items()}
    missing = max(1, round(share * len(division.rest))) - sum(quota.values())
    by_remainder = sorted(
        (label for label in ranked if quota[label] + 1 < len(ranked[label])),
        key=lambda label: (quota[label] - share * len(ranked[label]), label),
    )
    for label in by_remainder[:missing]:
        quota[label] += 1
    return {utterance for label, utts in ranked.items() for utterance in utts[: quota[label]]}
