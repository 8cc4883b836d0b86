"""Which utterances outside its test validate a fold (`--validation`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import numpy as np

from cfia.kaldi.data_dir import DataDir
from cfia.naming import DEFAULT_VALIDATION
from cfia.training.schemes import Division, ImpossibleError, check_speaker_sessions, rank

USE_RANDOM = f"use --validation {DEFAULT_VALIDATION}"


_WORDS = {
    "none": "no utterance validates, all that are not tested train",
    "given": "the corpus's official validation part validates, and does not train",
    "partner": "the other speaker of the tested speaker's session validates, and does not train",
    "next_speaker": "the speaker after those that are tested validates, and does not train",
    "next_session": "the session after that which is tested validates, and does not train",
}


def in_words(validation: str) -> str:
    """Say what a value of `--validation` means."""
    percent = validation.removeprefix("random")
    drawn = (
        f"{percent} % of a fold's utterances outside its test, drawn at random by class and the "
        "same for all systems and seeds, validate and do not train"
    )
    return f"Validation {validation}: {_WORDS.get(validation, drawn)}"


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
    of_class: dict[str, list[str]] = {}
    for utterance, label in data.table("utt2emo").items():
        if utterance in division.rest:
            of_class.setdefault(label, []).append(utterance)
    share = percent / 100
    quota = {label: int(share * len(utts)) for label, utts in of_class.items()}
    missing = max(1, round(share * len(division.rest))) - sum(quota.values())
    by_remainder = sorted(
        (label for label in of_class if quota[label] + 1 < len(of_class[label])),
        key=lambda label: (quota[label] - share * len(of_class[label]), label),
    )
    for label in by_remainder[:missing]:
        quota[label] += 1
    return {u for label, utts in of_class.items() for u in _first(division, utts, quota[label])}


def _first(division: Division, utterances: list[str], number: int) -> Iterator[str]:
    """Give the first of some utterances in an order drawn at random for a fold."""
    ranks = np.array([rank(division.name, utterance) for utterance in utterances])
    return (utterances[i] for i in np.argsort(ranks)[:number])
