"""Judge a few recordings: read, cut, encode, and average what the networks say of the pieces."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cfia.corpus.transcripts import NO_WORDS, tidy
from cfia.errors import UserError
from cfia.inference.inputs import Recording
from cfia.inference.windows import Piece, Windows, pieces
from cfia.kaldi import audio, stream
from cfia.kaldi.stream import InMemory, Samples, Stream
from cfia.training.features import Matrix
from cfia.upstream.items import check_features, resampled

if TYPE_CHECKING:
    from cfia.inference.model import Model, Prediction

BATCH = 8  # pieces that the networks take at once

Ear = Callable[[Samples, int], str]
"""A recogniser of speech: samples (samples,) and their rate in Hz to words."""


@dataclass
class Part:
    """A piece of a recording, ready for the encoders.

    Attributes:
        items: by modality a waveform at the encoder's rate, or a transcript.
        features: by modality what the encoder makes of it.
    """

    heard: Heard
    piece: Piece | None  # None of text alone
    items: dict[str, Any]
    features: dict[str, Matrix] = field(default_factory=dict)


@dataclass
class Heard:
    """What is known of a recording so far.

    Attributes:
        rows: of each piece that is judged its times, text and posteriors.
        remarks: what is odd, in clauses, in a fixed order.
        silent: of each piece the clause that it is silent, or None.
        only: the one part of a recording that is judged whole, if it is to be kept.
    """

    recording: Recording
    channels: int | None = None
    rate: int | None = None  # Hz
    fault: UserError | None = None
    rows: list[tuple[float | None, float | None, str | None, NDArray[np.float64]]] = field(
        default_factory=list
    )
    remarks: dict[str, None] = field(default_factory=dict)
    silent: list[str | None] = field(default_factory=list)
    only: Part | None = None


def judge(
    model: Model, recordings: Sequence[Recording], how: Windows, *, keep: bool = False
) -> list[Heard]:
    """Judge some recordings, with no more than a batch of their pieces in memory.

    Of those without a text the model's recogniser, if it has one, writes that of each piece.

    Args:
        keep: whether features and samples are kept, of recordings that are judged whole.
    """
    heard = [Heard(recording) for recording in recordings]
    parts = itertools.chain.from_iterable(_parts(model, one, how) for one in heard)
    while batch := list(itertools.islice(parts, BATCH)):
        _judge(model, batch, keep=keep)
    return heard


def _parts(model: Model, heard: Heard, how: Windows) -> Iterator[Part]:
    """Read the pieces of one recording, up to the first fault."""
    recording = heard.recording
    ear = model.ear if recording.text is None else None
    try:
        if "text" in model.encoders and recording.text is None and ear is None:
            key = f" ({recording.key})" if recording.key not in ("", recording.name) else ""
            raise UserError(f"there is no text for {recording.name}{key}, and this model needs one")
        if "audio" not in model.encoders and ear is None:
            yield Part(heard, None, {"text": _tidied(model, heard, recording.text or "")})
            return
        with _opened(recording) as source:
            heard.channels, heard.rate = source.channels, source.rate
            for piece in pieces(source, how):
                heard.silent.append(audio.remark(piece.samples))
                items: dict[str, Any] = {}
                for modality, encoder in model.encoders.items():
                    if modality == "audio":
                        items["audio"] = resampled(piece.samples, source.rate, encoder)
                        continue
                    said = ear(piece.samples, source.rate) if ear else recording.text or ""
                    if not ear and not piece.whole:
                        raise UserError(_undivided(recording, how))
                    items["text"] = _tidied(model, heard, said)
                yield Part(heard, piece, items)
    except UserError as fault:
        heard.fault = fault


def _tidied(model: Model, heard: Heard, text: str) -> str:
    """Tidy a text as those of the training were, and note if there is nothing in it."""
    tidied = tidy(text, strip=model.pack.text_tags == "strip")
    if tidied == NO_WORDS:
        heard.remarks[f"there are no words, so the text is {NO_WORDS}"] = None
    return tidied


def _undivided(recording: Recording, how: Windows) -> str:
    return (
        f"{recording.name} is longer than {how.longest:.2f} s and would be read in windows, but "
        "its text does not say which words are in which; cut the recording, or let a recogniser "
        "write the text (--asr_model)"
    )


@contextlib.contextmanager
def _opened(recording: Recording) -> Iterator[Stream]:
    if isinstance(recording.source, InMemory):
        yield recording.source
        return
    if recording.source is None:
        raise UserError(f"there is no audio for {recording.name}, and this model needs it")
    with stream.opened(recording.source) as source:
        yield source


def _judge(model: Model, batch: list[Part], *, keep: bool) -> None:
    """Encode a batch, and note the posteriors of what has no fault."""
    for modality in model.encoders:
        _encode(model, modality, batch)
    batch = [part for part in batch if part.heard.fault is None]
    if not batch:
        return
    features = {name: [part.features[name] for part in batch] for name in model.encoders}
    for part, posteriors in zip(batch, model.posteriors(features), strict=True):
        heard, piece = part.heard, part.piece
        times = (piece.start, piece.end) if piece else (None, None)
        heard.rows.append((*times, part.items.get("text"), posteriors))
        heard.only = part if keep and len(heard.rows) == 1 else None


def _encode(model: Model, modality: str, batch: Sequence[Part]) -> None:
    encoder, longest = model.encoders[modality], model.shaping[modality].kept
    encoded = encoder.extract([part.items[modality] for part in batch])
    for part, matrix in zip(batch, encoded, strict=True):
        heard = part.heard
        if clause := encoder.left_out(part.items[modality]):
            heard.remarks[clause] = None
        if modality == "text" and len(matrix) > longest:
            clause = f"the network takes only the first {longest} of its {len(matrix)} tokens"
            heard.remarks[clause] = None
        try:
            check_features(heard.recording.name, matrix, encoder)
        except UserError as fault:
            heard.fault = heard.fault or fault
        part.features[modality] = matrix


def prediction(model: Model, heard: Heard) -> Prediction:
    """Sum up what was heard of a recording without a fault: the mean over its pieces."""
    from cfia.inference.model import Prediction, Window

    label, posteriors = model.named(np.mean([row[-1] for row in heard.rows], axis=0))
    several = len(heard.rows) > 1
    windows = [
        Window(start or 0.0, end or 0.0, *model.named(each), text)
        for start, end, text, each in (heard.rows if several else [])
    ]
    silence = [heard.silent[0]] if heard.silent and all(heard.silent) else []
    return Prediction(
        label=label,
        posteriors=posteriors,
        seconds=heard.rows[-1][1],
        text=None if several else heard.rows[0][2],
        windows=tuple(windows),
        channels=heard.channels,
        remarks=tuple(filter(None, [*silence, *heard.remarks])),
    )
