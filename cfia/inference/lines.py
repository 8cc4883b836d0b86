"""What is written of a prediction: tab-separated lines, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cfia.inference.model import Prediction

_DIGITS = 6  # of a posterior; beyond them it depends on what is judged at the same time
# A name may hold what parts columns and lines.
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@dataclass(frozen=True)
class _Line:
    name: str
    start: float | None
    end: float | None
    label: str
    posteriors: Mapping[str, float]
    text: str | None
    remarks: Sequence[str] = ()


def header(classes: Sequence[str]) -> str:
    """Give the first line of a table."""
    return "\t".join(["file", "start", "end", "label", *classes])


def tsv(name: str, answer: Prediction) -> Iterator[str]:
    """Write a line of the recording, and then one of each of its windows."""
    for line in _lines(name, answer):
        times = ["" if t is None else f"{t:.3f}" for t in (line.start, line.end)]
        numbers = [f"{value:.{_DIGITS}f}" for value in line.posteriors.values()]
        yield "\t".join([name.translate(_ESCAPES), *times, line.label, *numbers])


def as_json(name: str, answer: Prediction) -> Iterator[str]:
    """Write the lines of `tsv` as JSON objects, with the text of each if the model takes text.

    What is odd about a recording is in its own line's `remarks`, if anything is.
    """
    for line in _lines(name, answer):
        start, end = (t if t is None else round(t, 3) for t in (line.start, line.end))
        values = {"file": line.name, "start": start, "end": end, "label": line.label}
        numbers = {c: round(value, _DIGITS) for c, value in line.posteriors.items()}
        text = {} if line.text is None else {"text": line.text}
        remarks = {"remarks": [*line.remarks]} if line.remarks else {}
        # A name that is not UTF-8 would make the file none; escapes stand for its bytes.
        escaped = any("\ud800" <= letter <= "\udfff" for letter in line.name)
        yield json.dumps({**values, "posteriors": numbers, **text, **remarks}, ensure_ascii=escaped)


def _lines(name: str, answer: Prediction) -> Iterator[_Line]:
    start = None if answer.seconds is None else 0.0
    yield _Line(
        name, start, answer.seconds, answer.label, answer.posteriors, answer.text, answer.remarks
    )
    for window in answer.windows:
        yield _Line(name, window.start, window.end, window.label, window.posteriors, window.text)
