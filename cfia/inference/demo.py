"""A page to try a model: what it shows of the model, and of each recording."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import logging
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfia.errors import UserError, fault
from cfia.inference import pack_file, pictures
from cfia.inference.demo_server import Demo, Limits
from cfia.inference.inputs import Recording
from cfia.inference.model import Model, Prediction, load
from cfia.inference.pack_file import CARD
from cfia.inference.recordings import Heard, judge, prediction
from cfia.inference.windows import windows
from cfia.kaldi import audio

log = logging.getLogger(__name__)

# A file of a few bytes can promise much sound: at most stereo at 192 kHz, as densest.
_DENSEST = 2 * 192_000
_METADATA = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)  # of a card, for the hub
_TEXT_HINT = "The model needs the words, too: it listens and reads."


def about(model: Model, card: Path, seconds: float, megabytes: float) -> dict[str, Any]:
    """Say what the page needs to know of a model.

    Args:
        card: the directory of its pack, whose README.md is shown.
        seconds, megabytes: the limits, of a recording and of its file.
    """
    pack = model.pack
    readme = card / CARD
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    return {
        "system": pack.system,
        "corpus": pack.corpus,
        "classes": model.classes,
        "modalities": pack.modalities,
        "networks": len(model.networks),
        "card": _METADATA.sub("", text),
        "text_hint": _TEXT_HINT if "audio" in pack.modalities else "",
        "seconds": seconds,
        "megabytes": megabytes,
    }


class Answers:
    """The answers to questions of the page.

    Args:
        seconds: the longest recording.
    """

    def __init__(self, model: Model, seconds: float):
        self._model, self._seconds = model, seconds

    def __call__(self, sound: Path | None, text: str) -> dict[str, Any]:
        """Judge one recording, a text, or both.

        Raises:
            UserError: there is no recording or no text where the model needs one, the recording
                is too long or cannot be read, or the model cannot take it.
        """
        needed = self._model.pack.modalities
        if "audio" in needed and sound is None:
            raise UserError("this model listens; record something, or choose a file")
        if "text" in needed and not text.strip():
            raise UserError("this model reads; type what is said")
        if "audio" not in needed:
            sound = None
        if sound is not None:
            self._check_length(sound)
        heard = self._heard(Recording("the recording" if sound else "the text", "", sound, text))
        said = prediction(self._model, heard)
        picture, missing = (None, []) if said.windows else self._picture(heard)
        return {
            "label": said.label,
            "posteriors": said.posteriors,
            "windows": [dataclasses.asdict(window) for window in said.windows],
            "remarks": [*_remarks(said), *missing],
            "picture": picture,
        }

    def _heard(self, recording: Recording) -> Heard:
        (heard,) = judge(self._model, [recording], windows(self._model.limit), keep=True)
        if heard.fault is not None:
            raise _for_the_page(heard.fault, recording.source)
        return heard

    def _picture(self, heard: Heard) -> tuple[str | None, list[str]]:
        """Draw the gates, as a data URI; None where there are none, or for want of matplotlib."""
        try:
            drawing = pictures.draw(self._model, heard)
        except ImportError as error:
            return None, [f"its gates are not drawn, for {error.name} is not installed here"]
        if drawing is None:
            return None, []
        return f"data:image/png;base64,{base64.b64encode(drawing.png).decode()}", []

    def _check_length(self, sound: Path) -> None:
        try:
            header = audio.header(str(sound))
        except UserError as error:
            raise _for_the_page(error, sound) from None
        if header.seconds > self._seconds:
            raise UserError(
                f"the recording has {header.seconds:.1f} s, and more than {self._seconds:g} s are "
                "not taken here; send a part of it"
            )
        if "text" in self._model.encoders and header.seconds > self._model.limit:
            raise UserError(
                f"the recording has {header.seconds:.1f} s, and a model that reads, too, takes "
                f"{self._model.limit:.2f} s; send a part of it, with the words of that part"
            )
        if header.seconds * header.rate * header.channels > self._seconds * _DENSEST:
            raise UserError(
                f"the recording has {header.channels} channels at {header.rate} Hz, which is more "
                "than is taken here; convert it to one channel at 48 kHz"
            )


def _for_the_page(error: UserError, sound: object) -> UserError:
    """Word a fault of a recording for who sent it, without our path and a program's advice."""
    what = fault(error)
    for ours in (f"the audio file {sound}", str(sound)) if sound else ():
        what = what.replace(ours, "the recording")
    return UserError(f"{what}; send another")


def _remarks(said: Prediction) -> list[str]:
    channels = said.channels or 1
    return [*said.remarks, *([f"its {channels} channels were averaged"] if channels > 1 else [])]


def serve(
    model: str,
    given: Mapping[str, Any],
    host: str,
    port: int,
    seconds: float,
    limits: Limits,
) -> None:
    """Serve the page of a model until Ctrl-C, and print its address.

    Args:
        model: the directory of its pack, or its id on the hub.
        given: more arguments of `cfia.inference.model.load`.
        host, port: where it is served, as of `Demo`.
        seconds: the longest recording.

    Raises:
        UserError: the model cannot be loaded, or the page cannot be served there.
    """
    directory = pack_file.find(model, given["revision"])
    loaded = load(directory, **given)
    page = about(loaded, directory, seconds, limits.megabytes)
    with Demo(page, Answers(loaded, seconds), host, port, limits) as demo:
        if not demo.is_local:
            log.warning(
                "whoever reaches this machine at port %d can use the page, and what is sent to it "
                "is not encrypted", demo.server_address[1],
            )  # fmt: skip
        print(demo.url, flush=True)
        log.info("Ctrl-C ends it; nothing is kept of what is sent to it")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left then
        with contextlib.suppress(KeyboardInterrupt):
            demo.serve_forever()
    if not demo.one_at_a_time.acquire(blocking=False):
        os._exit(0)  # the interpreter's end would stop torch in the midst of a question, by abort()
