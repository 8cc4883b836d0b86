"""Which utterances of a corpus a label set selects, and whether they are those expected."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfia.errors import UserError
from cfia.files import read_yaml

NO_AUDIO = Path()  # the audio of an utterance that has none, only features
LEFT_OUT = "-"  # in a label map: utterances with this label are not used


@dataclass(frozen=True)
class Utterance:
    """One labelled utterance, as its corpus has it.

    Attributes:
        id: starts with the speaker id; name: what the corpus calls it.
        label: as the corpus has it; source: the file that says so.
        transcript: None where the corpus has none.
        session, type, dialogue: "" where the corpus knows no such thing.
    """

    id: str
    name: str
    speaker: str
    label: str
    source: Path
    audio: Path
    transcript: str | None
    session: str = ""
    type: str = ""
    dialogue: str = ""


def select(utterances: Iterable[Utterance], path: Path) -> list[tuple[Utterance, str]]:
    """The utterances whose label has a class in the label map at `path`, in order of their id.

    Returns:
        Pairs of an utterance and its class.

    Raises:
        UserError: a label that the map does not list, an utterance that is there twice, a label
            map that is not one, or no utterance left.
    """
    classes = _label_map(path)
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        if utterance.label not in classes:
            raise UserError(
                f"{utterance.name} has the label {utterance.label!r} in {utterance.source}, which "
                f"{path} does not list; add it there, with a class or {LEFT_OUT!r}"
            )
        other = seen.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise UserError(
                f"{utterance.name} stands in {other.source} and again in {utterance.source}; "
                "keep one of them"
            )
    labelled = [(seen[key], classes[seen[key].label]) for key in sorted(seen)]
    selected = [(utterance, label) for utterance, label in labelled if label != LEFT_OUT]
    if not selected:
        raise UserError(f"no utterance has a label with a class in {path}; choose other --labels")
    return selected


def _label_map(path: Path) -> dict[str, str]:
    classes = read_yaml(path)
    for label, value in classes.items():
        if not isinstance(label, str) or not isinstance(value, str) or len(value.split()) != 1:
            raise UserError(
                f"{path}: {label!r}: {value!r} is not a label and its class; write both as words, "
                f"in quotes if YAML takes them for something else, or {LEFT_OUT!r} for left out"
            )
    if len({*classes.values()} - {LEFT_OUT}) < 2:
        raise UserError(f"{path} names fewer than two classes; there is nothing to tell apart")
    return classes


def expectations(path: Path) -> dict[str, Any]:
    """What a corpus.yaml expects of each label set, by its name; none if there is no such file."""
    expected = (read_yaml(path) if path.exists() else {}).get("expect") or {}
    return {str(name): value for name, value in expected.items()}


def differences(selected: Sequence[tuple[Utterance, str]], path: Path, labels: str) -> list[str]:
    """How counts and digest differ from what corpus.yaml expects of this label set, if anything.

    Returns:
        Clauses that say what was expected and what was found; none where all is as expected.

    Raises:
        UserError: corpus.yaml expects something unknown.
    """
    expected = expectations(path).get(labels) or {}
    found: list[str] = []
    for group, want, have in _groups(expected, _summary(selected)):
        if group == "sha256" and found:
            break  # it says nothing that the counts have not said
        found.extend(_compare(group, want, have))
    return found


def _compare(group: str, want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterable[str]:
    absent = sorted(want.keys() - have.keys())
    if absent:
        counts = ", ".join(f"{key} ({want[key]} expected)" for key in absent)
        yield f"{group} absent: {counts}"
    for key in sorted({*want, *have} - {*absent}):
        if want.get(key) != have[key]:
            what = f"{group} {key}" if key else group
            yield f"{what}: {want.get(key, 'none')} expected, {have[key]} found"


def _summary(selected: Sequence[tuple[Utterance, str]]) -> dict[str, Any]:
    lines = sorted(f"{utterance.name} {label}\n" for utterance, label in selected)
    return {
        "sessions": dict(Counter(utterance.session for utterance, _ in selected)),
        "total": len(selected),
        "classes": dict(Counter(label for _, label in selected)),
        "speakers": dict(Counter(utterance.speaker for utterance, _ in selected)),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }


def _groups(
    expected: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterable[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each group of counts that is expected, as mappings; a single value has the key "".

    They come in the order of `found`: what is absent first, the digest last.
    """
    unknown = sorted(expected.keys() - found.keys())
    if unknown:
        raise UserError(f"corpus.yaml expects {unknown[0]!r}; it may expect {', '.join(found)}")
    for group, have in found.items():
        if group not in expected:
            continue
        want = expected[group]
        yield (group, want, have) if isinstance(want, dict) else (group, {"": want}, {"": have})
