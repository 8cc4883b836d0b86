"""Write the files of IEMOCAP_full_release around the audio, odd lines included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from egs.mini_iemocap.local import ratings
from egs.mini_iemocap.local.plan import Turn

_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"

# Lines of transcripts that belong to no utterance, and how often a dialogue has one of each.
_ASIDES = ("Okay.", "What?", "Sorry, go on.", "Uh-huh.")
_SHARE_ASIDE, _SHARE_UNNUMBERED = 0.5, 0.3

# What macOS leaves beside a file: the head of an AppleDouble file, which is not text.
_APPLE_DOUBLE = (
    bytes.fromhex("00051607 00020000")
    + b"Mac OS X        "
    + bytes.fromhex("0002 00000009 00000032 000000b0 00000002 000000e2 00000000")
)


@dataclass(frozen=True)
class Placed:
    """A turn on the time line of its dialogue, in seconds with four decimals."""

    turn: Turn
    start: float
    end: float
    rated: ratings.Ratings


def place(turns: list[Turn], seconds: list[float], rng: np.random.Generator) -> list[Placed]:
    """Put the turns of one dialogue one after another, with pauses between them."""
    placed: list[Placed] = []
    now = float(rng.uniform(1, 7))
    for turn, length in zip(turns, seconds, strict=True):
        start = round(now, 4)
        end = round(start + length, 4)
        placed.append(Placed(turn, start, end, ratings.draw(turn, rng)))
        now = end + float(rng.uniform(0.1, 1.2))
    return placed


def write_dialogue(session: Path, placed: list[Placed], rng: np.random.Generator) -> None:
    """Write the evaluation, the raters' own files and the transcript of one dialogue."""
    name = placed[0].turn.dialogue
    evaluation = session / "dialog" / "EmoEvaluation"
    rows = sorted(placed, key=lambda row: row.turn.name)
    _write(evaluation / f"{name}.txt", _HEADER + "\n" + "\n".join(map(_evaluation, rows)))
    raters = sorted({rater for row in rows for rater in row.rated.categories})
    for rater in raters:
        folder = "Categorical" if rater.startswith("E") else "Self-evaluation"
        lines = [_category(row, rater) for row in rows if rater in row.rated.categories]
        _write(evaluation / folder / f"{name}_{rater.lower()}_cat.txt", "".join(lines))
        lines = [_attribute(row, rater) for row in rows if rater in row.rated.attributes]
        if lines:
            folder = "Attribute" if rater.startswith("E") else "Self-evaluation"
            _write(evaluation / folder / f"{name}_{rater.lower()}_atr.txt", "".join(lines))
    transcript = session / "dialog" / "transcriptions" / f"{name}.txt"
    _write(transcript, "".join(_transcript(placed, rng)))


def write_apple_doubles(session: Path, dialogue: str) -> None:
    """Leave the `._` files that an archive packed on macOS has."""
    wav = session / "sentences" / "wav" / dialogue
    first = min(path.name for path in wav.iterdir())
    for path in (
        session / "dialog" / "EmoEvaluation" / f"._{dialogue}.txt",
        session / "dialog" / "transcriptions" / f"._{dialogue}.txt",
        wav / f"._{first}",
    ):
        path.write_bytes(_APPLE_DOUBLE)


def _evaluation(row: Placed) -> str:
    valence, activation, dominance = row.rated.mean
    lines = [
        f"[{row.start:.4f} - {row.end:.4f}]\t{row.turn.name}\t{row.turn.label}\t"
        f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]"
    ]
    lines += [f"C-{rater}:\t{name};\t()" for rater, name in row.rated.categories.items()]
    lines += [
        f"A-{rater}:\tval {val}; act {act}; dom  {dom};\t()"
        for rater, (val, act, dom) in row.rated.attributes.items()
    ]
    return "\n".join(lines) + "\n"


def _category(row: Placed, rater: str) -> str:
    name = row.rated.categories[rater]
    return f"{row.turn.name} :{'Neutral state' if name == 'Neutral' else name}; ()\n"


def _attribute(row: Placed, rater: str) -> str:
    val, act, dom = row.rated.attributes[rater]
    return f"{row.turn.name} :act {act}; :val  {val}; :dom  {dom}; ()\n"


def _transcript(placed: list[Placed], rng: np.random.Generator) -> list[str]:
    """List the lines in the order of speaking, with a few that are no utterances among them."""
    lines = [
        f"{row.turn.name} [{row.start:08.4f}-{row.end:08.4f}]: {row.turn.transcript}\n"
        for row in placed
    ]
    where = int(rng.integers(len(placed)))
    if rng.random() < _SHARE_UNNUMBERED:
        row = placed[where]
        name = f"{row.turn.dialogue}_{row.turn.speaker}XX0"
        end = row.end + 0.1
        lines.insert(where + 1, f"{name} [{row.end:08.4f}-{end:08.4f}]: {_aside(rng)}\n")
    if rng.random() < _SHARE_ASIDE:
        lines.insert(where, f"{'FM'[int(rng.integers(2))]}: {_aside(rng)}\n")
    return lines


def _aside(rng: np.random.Generator) -> str:
    return _ASIDES[int(rng.integers(len(_ASIDES)))]


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")
