"""Select utterances of a corpus by a label set, and compare them with those expected."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cfia.corpus.corpus_conf import read_corpus_conf
from cfia.errors import UserError
from cfia.files import read_yaml

NO_AUDIO = Path()  # the audio of an utterance that has none, only features
LEFT_OUT = "-"  # in a label map: utterances with this label are not used


@dataclass(frozen=True)
class Utterance:
    """One labelled utterance, as its corpus has it.

    Attributes:
        id: starts with the speaker id; name: its name in the corpus.
        label: as the corpus has it; source: the file that says so, and its line if it has some.
        speaker: "" where nobody knows; each such utterance is then its own speaker.
        audio: the file, or where there are `start` and `end` (seconds) the recording that they
            are a part of; `end` None is the recording's own.
        transcript: None where the corpus has none.
        session, type, dialogue: "" where the corpus knows no such thing.
        split: the official parts, "" where there are none: a word for each official fold, `train`,
            `valid` or `test`, or `-` for not used; the table utt2split.
        columns: what else the corpus says of utterances, by the name of the column: `level` is
            written to utt2level.
    """

    id: str
    name: str
    speaker: str
    label: str
    source: Path | str
    audio: Path
    transcript: str | None
    session: str = ""
    type: str = ""
    dialogue: str = ""
    split: str = ""
    start: float | None = None
    end: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def select(utterances: Iterable[Utterance], path: Path) -> list[tuple[Utterance, str]]:
    """Select the utterances whose label has a class in the label map at `path`, sorted by id.

    Returns:
        Pairs of an utterance and its class.

    Raises:
        UserError: a label that the map does not list, an utterance that is there twice, a label
            map that is not one, or no utterance left.
    """
    classes = label_map(path)
    seen = unique(utterances)
    _check_labels(seen.values(), classes, path)
    labelled = [(seen[key], classes[seen[key].label]) for key in sorted(seen)]
    selected = [(utterance, label) for utterance, label in labelled if label != LEFT_OUT]
    if not selected:
        raise UserError(f"no utterance has a label with a class in {path}; choose other --labels")
    return selected


def unique(utterances: Iterable[Utterance]) -> dict[str, Utterance]:
    """Map ids to utterances.

    Raises:
        UserError: two have one id.
    """
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        other = seen.setdefault(utterance.id, utterance)
        if other is utterance:
            continue
        if other.name == utterance.name:
            where = f"{utterance.name} is in {other.source} and again in {utterance.source}"
            if other.audio != utterance.audio:
                raise UserError(
                    f"{where}; give them different names (columns: name in corpus.yaml, such as "
                    '"{folder}_{name}"), or keep one of them'
                )
            raise UserError(f"{where}; keep one of them")
        raise UserError(
            f"{other.name} ({other.source}) and {utterance.name} ({utterance.source}) become one "
            f"id, {utterance.id}; rename one of them"
        )
    return seen


def _check_labels(
    utterances: Collection[Utterance], classes: Mapping[str, str], path: Path
) -> None:
    """Require that the label map at `path` lists all labels."""
    strange = Counter(u.label for u in utterances if u.label not in classes)
    if not strange:
        return
    label, n = strange.most_common(1)[0]
    first = next(u for u in utterances if u.label == label)
    others = ", ".join(f"{other!r} ({n})" for other, n in strange.most_common()[1:])
    raise UserError(
        f"{n:,} of {len(utterances):,} utterances have the label {label!r} (the first is "
        f"{first.name} in {first.source}), which {path} does not list"
        f"{f', nor {others}' if others else ''}; add it there, with a class or {LEFT_OUT!r}"
    )


def label_map(path: Path) -> dict[str, str]:
    """Read a label map: label of the corpus -> class, or `-`.

    Raises:
        UserError: it is none, or names fewer than two classes.
    """
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
    """Read the expectations in a corpus.yaml of each label set; none if there is no such file."""
    expected = read_corpus_conf(path).get("expect") or {}
    return {str(name): value for name, value in expected.items()}


def differences(selected: Sequence[tuple[Utterance, str]], path: Path, labels: str) -> list[str]:
    """Say how counts and digest differ from those that corpus.yaml expects of this label set.

    Returns:
        Clauses that say what was expected and what was found; none where all is as expected.

    Raises:
        UserError: corpus.yaml expects something unknown.
    """
    expected = expectations(path).get(labels) or {}
    counts = _counts(selected)
    unknown = sorted(expected.keys() - counts.keys())
    if unknown:
        raise UserError(f"corpus.yaml expects {unknown[0]!r}; it may expect {', '.join(counts)}")
    clauses: list[str] = []
    # What is absent comes first, the digest last.
    for group in [name for name in counts if name in expected]:
        if group == "sha256" and clauses:
            break  # it says nothing that the counts have not said
        clauses.extend(_compare(group, expected[group], counts[group]))
    return clauses


def _compare(group: str, expected: Any, found: Any) -> Iterable[str]:
    if not isinstance(expected, dict):
        if expected != found:
            yield f"{group}: {expected} expected, {found} found"
        return
    absent = sorted(expected.keys() - found.keys())
    if absent:
        counts = ", ".join(f"{key} ({expected[key]} expected)" for key in absent)
        yield f"{group} absent: {counts}"
    for key in sorted(found):
        if expected.get(key) != found[key]:
            yield f"{group} {key}: {expected.get(key, 'none')} expected, {found[key]} found"


def _counts(selected: Sequence[tuple[Utterance, str]]) -> dict[str, Any]:
    lines = sorted(f"{utterance.name} {label}\n" for utterance, label in selected)
    return {
        "sessions": dict(Counter(utterance.session for utterance, _ in selected)),
        "total": len(selected),
        "classes": dict(Counter(label for _, label in selected)),
        "speakers": dict(Counter(utterance.speaker for utterance, _ in selected)),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }
