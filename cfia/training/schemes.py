"""Which utterances each fold tests, for every scheme that a corpus has (`--cv`)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir, speakers_known
from cfia.options import scheme_kind
from cfia.training.speaker_groups import balanced_groups

SEED = 1  # of all draws
MANY = 100  # folds that are made for a scheme that was not asked for, at most
UNUSED = "-"  # in utt2split, of an utterance that an official fold does not use
_OFFICIAL = ("train", "valid", "test", UNUSED)


class ImpossibleError(UserError):
    """The corpus does not have what a scheme or its validation needs."""


@dataclass(frozen=True)
class Division:
    """What one fold tests, and what is left for training and validation.

    Attributes:
        name: of the session or speaker, or another that no other fold has; draws depend on it.
        words: what is tested, for messages.
        valid: the part of `rest` that validates by an official split.
    """

    name: str
    words: str
    test: set[str]
    rest: set[str]
    valid: frozenset[str] = frozenset()


def rank(draw: str, utterance: str) -> bytes:
    """Give a key to sort by at random: a hash, so that no draw depends on a library's generator."""
    return hashlib.sha256(f"{SEED} {draw} {utterance}".encode()).digest()


def divisions(data: DataDir, cv: str) -> Iterable[Division]:
    """Divide the utterances into what each fold tests and the rest, fold by fold.

    They are made one after the other, for each names all utterances.

    Args:
        cv: a legal value of `--cv`.

    Raises:
        ImpossibleError: the corpus has no speakers, sessions or official splits, too few of them,
            or a speaker in several sessions.
        UserError: the official splits are broken.
    """
    kind = scheme_kind(cv)
    if kind == "given":
        return _official(data)
    k = int(cv.removeprefix(kind) or 0)
    if kind == "utterance":
        names = {u: str(fold) for u, fold in _dealt(data.table("utt2emo"), k).items()}
        return _of_groups(names, {str(fold): f"part {fold} of {k}" for fold in range(1, k + 1)})
    if not speakers_known(data.utt2spk):
        raise ImpossibleError(
            f"{data.path} knows no speakers (in utt2spk each utterance is its own), so --cv {cv} "
            f"cannot keep those who are tested out of training{_way_out(data)}"
        )
    if kind == "kfold":
        return _of_speaker_groups(data, k)
    groups = _held_out(data, cv)
    return _of_groups(groups, {name: f"{name} is tested" for name in sorted({*groups.values()})})


def refuse_many_folds(data: DataDir, cv: str) -> None:
    """Refuse a scheme by session or speaker that nobody asked for, where it would be long to make.

    Every fold lists all utterances.

    Raises:
        ImpossibleError: it would have more than MANY folds.
    """
    groups = {"session": data.table("utt2session"), "speaker": data.utt2spk}.get(cv, {})
    n_folds = len(set(groups.values()))
    if n_folds > MANY and speakers_known(data.utt2spk):
        raise ImpossibleError(f"it would have {n_folds}, and no --cv {cv} asks for them")


def _of_groups(groups: Mapping[str, str], words: Mapping[str, str]) -> Iterator[Division]:
    """Make a fold of each group of utterances, in the order of `words`, its name to its words."""
    tested: dict[str, set[str]] = {name: set() for name in words}
    for utterance, name in groups.items():
        tested[name].add(utterance)
    for name, test in tested.items():
        yield Division(name, words[name], test, groups.keys() - test)


def _way_out(data: DataDir) -> str:
    """Name the schemes that the corpus offers, as the end of a sentence."""
    offered: list[str] = []
    if speakers_known(data.utt2spk) and len(set(data.utt2spk.values())) > 1:
        offered += ["speaker", "kfold<k>"]
    if data.table("utt2split"):
        offered.append("given")
    return f"; use --cv {', '.join(offered)}{' or ' if offered else ''}utterance<k>"


def _held_out(data: DataDir, cv: str) -> Mapping[str, str]:
    """Map each utterance to the session or speaker whose fold tests it."""
    if cv == "session" and not data.table("utt2session"):
        raise ImpossibleError(f"{data.path} has no sessions (utt2session){_way_out(data)}")
    groups = data.table("utt2session") if cv == "session" else data.utt2spk
    if len(set(groups.values())) < 2:
        raise ImpossibleError(
            f"{data.path} has one {cv} only, so none can be held out for a test{_way_out(data)}"
        )
    if cv == "session":
        check_speaker_sessions(data)
    return groups


def check_speaker_sessions(data: DataDir) -> None:
    """Refuse a speaker of several sessions, which then do not keep speakers apart.

    Raises:
        ImpossibleError: it names the speaker.
    """
    sessions: dict[str, str] = {}
    for utterance, speaker in data.utt2spk.items():
        session = data.table("utt2session")[utterance]
        if sessions.setdefault(speaker, session) != session:
            raise ImpossibleError(
                f"{data.path}: {speaker} speaks in {sessions[speaker]} and in {session}, so "
                "sessions do not keep speakers apart; use --cv speaker --validation random20"
            )


def _dealt(labels: Mapping[str, str], k: int) -> dict[str, int]:
    """Deal utterances out to k folds, class by class, in an order drawn at random.

    Folds differ by one utterance at most, and so do their shares of each class.
    """
    order = sorted(labels, key=lambda u: (labels[u], rank("utterance", u)))
    return {utterance: 1 + place % k for place, utterance in enumerate(order)}


def _of_speaker_groups(data: DataDir, k: int) -> Iterable[Division]:
    speakers = set(data.utt2spk.values())
    if len(speakers) < k:
        raise ImpossibleError(
            f"--cv kfold{k} needs {k} speakers at least, and {data.path} has {len(speakers)}; give "
            "a smaller number"
        )
    counts: dict[str, Counter[str]] = {speaker: Counter() for speaker in sorted(speakers)}
    for utterance, speaker in data.utt2spk.items():
        counts[speaker][data.table("utt2emo")[utterance]] += 1
    group_of: dict[str, str] = {}
    words: dict[str, str] = {}
    for number, group in enumerate(balanced_groups(counts, k), start=1):
        name = f"kfold{k} {number}"
        group_of |= dict.fromkeys(group, name)
        words[name] = f"{listed(group)} {'are' if len(group) > 1 else 'is'} tested"
    names = {utterance: group_of[speaker] for utterance, speaker in data.utt2spk.items()}
    return _of_groups(names, words)


def listed(names: Iterable[str], most: int = 12) -> str:
    """List some names, sorted, or say how many there are: `Ses01F, Ses01M`, `24 speakers`."""
    names = sorted(names)
    return ", ".join(names) if len(names) <= most else f"{len(names)} speakers"


def _official(data: DataDir) -> list[Division]:
    """Read the official folds: the n-th word of an utterance in utt2split is its part in fold n."""
    table, path = data.table("utt2split"), data.path / "utt2split"
    if not table:
        raise ImpossibleError(f"{data.path} has no official splits (utt2split){_way_out(data)}")
    first, value = next(iter(table.items()))
    n_folds = len(value.split())
    parts: list[dict[str, set[str]]] = [{part: set() for part in _OFFICIAL} for _ in range(n_folds)]
    tested: dict[str, int] = {}
    for utterance, value in table.items():
        words = value.split()
        if len(words) != n_folds or not set(words) <= set(_OFFICIAL):
            raise UserError(
                f"{path}: {utterance} has {value!r}; expected {n_folds} of the words "
                f"{', '.join(_OFFICIAL)}, one for each official fold as {first} has them; correct "
                "the line"
            )
        for number, word in enumerate(words, start=1):
            parts[number - 1][word].add(utterance)
            if word == "test" and tested.setdefault(utterance, number) != number:
                raise UserError(
                    f"{path}: {utterance} is tested in folds {tested[utterance]} and {number}, so "
                    "scores over all folds would count it twice; make corpora of them, one for "
                    "each such fold"
                )
    return [
        Division(
            f"official fold {number}", "official", part["test"], part["train"] | part["valid"],
            frozenset(part["valid"]),
        )
        for number, part in enumerate(parts, start=1)
    ]  # fmt: skip
