"""Print how a corpus was understood: some utterances, and counts by label, speaker and split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cfia.corpus.utterances import LEFT_OUT, Utterance, label_map, unique

if TYPE_CHECKING:
    from cfia.corpus.prepare import Corpus

_MOST = 30  # values of a count that are printed


def show(corpus: Corpus, labels: Path, n: int) -> str:
    """Describe a corpus, and `n` utterances that are spread over it.

    Args:
        labels: the label map, for the classes.

    Raises:
        UserError: two utterances have one id, or the label map is none.
    """
    utterances = [u for _, u in sorted(unique(corpus.utterances).items())]
    classes = label_map(labels)
    n = min(n, len(utterances))
    chosen = [utterances[i * len(utterances) // n] for i in range(n)]
    lines = [line for u in chosen for line in (*_utterance(u, corpus, classes, labels), "")]
    of_label = Counter(u.label for u in utterances)
    lines += _counts(
        "utterances by label", {_label(name, classes, labels): of_label[name] for name in of_label}
    )
    of_speaker = Counter(u.speaker for u in utterances)
    lines += _counts("by speaker", {name or "not known": n for name, n in of_speaker.items()})
    of = "speakers by" if any(of_speaker) else "by"
    for name, table in corpus.speakers.items():
        lines += _counts(f"{of} {name.removeprefix('spk2')}", Counter(table.values()))
    lines += _counts("by session", Counter(u.session for u in utterances))
    lines += _counts("by type", Counter(u.type for u in utterances))
    used = [u for u in utterances if classes.get(u.label) != LEFT_OUT]
    lines += _splits(used)
    # Path.is_file takes twice as long.
    missing = [u for u in utterances if not os.path.isfile(u.audio)]  # noqa: PTH113
    if missing:
        lines.append(f"without their audio file: {len(missing):,}, such as {missing[0].audio}")
    if corpus.has_text:
        without = sum(u.transcript is None for u in utterances)
        lines.append(f"with a transcript: {len(utterances) - without:,}; without: {without:,}")
    if corpus.bad:
        first = next(iter(corpus.bad.values()))
        lines.append(f"rows that cannot be used: {len(corpus.bad):,}; the first: {first}")
    left_out = len(utterances) - len(used)
    why = f", {left_out:,} of them left out by their label" if left_out else ""
    return "\n".join([*lines, f"utterances: {len(utterances):,}{why}"])


def _utterance(
    u: Utterance, corpus: Corpus, classes: Mapping[str, str], labels: Path
) -> Iterator[str]:
    of_speaker = {name: table.get(u.speaker or u.id, "") for name, table in corpus.speakers.items()}
    values = {
        "from": u.source,
        "audio": u.audio,
        "speaker": u.speaker or "not known",
        **{name.removeprefix("spk2"): value for name, value in of_speaker.items()},
        "label": _label(u.label, classes, labels),
        "text": " ".join((u.transcript or "").split()),
        "session": u.session,
        "type": u.type,
        "dialogue": u.dialogue,
        "split": u.split,
        "start": u.start,
        "end": u.end,
        **u.columns,
    }
    yield u.id
    for name, value in values.items():
        if value not in ("", None):
            yield f"  {name:<9} {value}"


def _label(label: str, classes: Mapping[str, str], path: Path) -> str:
    known = classes.get(label, f"not in {path}")
    return f"{label} ({'left out' if known == LEFT_OUT else known})"


def _counts(title: str, counts: Mapping[str, int]) -> list[str]:
    """Give counts in a line, the names sorted; nothing of what nobody knows."""
    if not counts or counts.keys() == {""}:
        return []
    shown = [f"{name} {counts[name]:,}" for name in sorted(counts)[:_MOST]]
    more = [f"and {len(counts) - _MOST:,} more"] if len(counts) > _MOST else []
    return [f"{title} ({len(counts):,}): {', '.join(shown + more)}"]


def _splits(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Count the parts of each official fold."""
    parts = Counter(u.split for u in utterances if u.split)
    n_folds = max((len(split.split()) for split in parts), default=0)
    for fold in range(n_folds):
        counts: Counter[str] = Counter()
        for split, count in parts.items():
            words = split.split()
            counts[words[fold] if fold < len(words) else LEFT_OUT] += count
        shown = ", ".join(f"{part} {counts[part]:,}" for part in sorted(counts))
        yield f"by official split{f', fold {fold + 1}' if n_folds > 1 else ''}: {shown}"
