"""Pictures of what a model says of a recording: over its windows, or where it weighs the audio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cfia.inference.inputs import recording_of
from cfia.inference.recordings import Heard, Part, judge, prediction
from cfia.model.audio_weight import AudioWeight, equation_stack, has_gates, of_utterance
from cfia.model.network import CFIANet

if TYPE_CHECKING:
    from cfia.figures.style import Drawing
    from cfia.inference.model import Model


def picture(
    model: Model, audio: str | Path | npt.ArrayLike, text: str | None = None,
    rate: int | None = None,
) -> Drawing | None:  # fmt: skip
    """Draw a recording; the arguments are those of a model's call, and so are the errors.

    Returns:
        The curve over its windows, or where it is judged at once the gates of a CFIA-Net on audio
        and text; None where there is neither.
    """
    recording = recording_of(audio, text, rate)
    (heard,) = judge(model, [recording], model.cut(), keep=True)
    if heard.fault is not None:
        raise heard.fault
    return draw(model, heard)


def can_draw(model: Model) -> bool:
    """Whether there is a picture of a recording that is judged at once."""
    return all(has_gates(network) for network in model.networks)


def draw(model: Model, heard: Heard) -> Drawing | None:
    """Draw what was heard with `keep`; see `picture`."""
    answer = prediction(model, heard)
    name = heard.recording.key or heard.recording.name
    title = f"{name}: {answer.label} ({answer.posteriors[answer.label]:.2f})\n{model.pack.system}"
    if answer.windows:
        from cfia.figures.curve import plot_curve

        times = [(window.start, window.end) for window in answer.windows]
        rows = [list(window.posteriors.values()) for window in answer.windows]
        return plot_curve(times, np.array(rows), model.classes, title)
    if heard.only is None or not can_draw(model):
        return None
    from cfia.figures.gates import plot_gates

    piece, rate = heard.only.piece, heard.rate
    sound = (piece.samples, rate) if piece and rate else None
    weight = _weight(model, heard.only)
    return plot_gates(weight, title, answer.text or "", sound)


def _weight(model: Model, part: Part) -> AudioWeight:
    """Compute the weights of audio, the mean over the networks."""
    batch = model.batch({name: [matrix] for name, matrix in part.features.items()})
    frame = model.encoders["audio"].description.frame_shift or 0.0
    shift = model.shaping["audio"].average * frame
    each = []
    for network in model.networks:
        assert isinstance(network, CFIANet)
        each.append(of_utterance(network, equation_stack(network), batch, shift))
    mean = np.mean([weight.weight for weight in each], axis=0)
    return AudioWeight(mean, shift, each[0].text_frames)


def write(model: Model, heard: Heard, name: Path) -> bool:
    """Draw a recording into `<name>.png` and `.svg`; return whether there was something to draw."""
    drawing = draw(model, heard)
    if drawing is None:
        return False
    name.parent.mkdir(parents=True, exist_ok=True)
    drawing.write(name)
    return True
