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
from cfia.inference.demo_server import Answer, Demo, Limits
from cfia.inference.inputs import Recording
from cfia.inference.model import Model, Prediction, load
from cfia.inference.pack_file import CARD
from cfia.inference.recordings import Heard, judge, prediction
from cfia.inference.windows import windows
from cfia.installation import what_to_install
from cfia.kaldi import audio

log = logging.getLogger(__name__)

# A file of a few bytes can promise much sound: at most stereo at 192 kHz, as densest.
_DENSEST = 2 * 192_000
_METADATA = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)  # of a card, for the hub
_QUOTED = re.compile(r"^> .*(?:\n> .*)*", re.MULTILINE)  # in a card, what must be said first
_NEEDED = "The model needs the words, too: it listens and reads."
_RECOGNISED = "If you leave it empty, the words are recognised."


class Answers:
    """The answers of a model to questions of the page.

    Args:
        seconds: the longest recording.
    """

    def __init__(self, model: Model, seconds: float):
        self._model, self._seconds = model, seconds
        self._listens, self._reads = ("audio" in model.encoders, "text" in model.encoders)

    def about(self, card: Path, megabytes: float) -> dict[str, Any]:
        """Say what the page needs to know.

        Args:
            card: the directory of the model's pack, whose README.md is shown.
            megabytes: the limit of a recording's file.
        """
        pack, readme = self._model.pack, card / CARD
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        warning = _QUOTED.search(text)
        hint = _NEEDED if self._listens else ""
        return {
            "system": pack.system,
            "corpus": pack.corpus,
            "classes": self._model.classes,
            "modalities": pack.modalities,
            "networks": len(self._model.networks),
            "hears": self._listens or (self._reads and self._model.ear is not None),
            "text_hint": hint if self._model.ear is None else _RECOGNISED,
            "warning": warning[0].replace("\n> ", " ").removeprefix("> ") if warning else "",
            "card": _METADATA.sub("", text),
            "seconds": self._seconds,
            "megabytes": megabytes,
        }

    def __call__(self, sound: Path | None, text: str) -> dict[str, Any]:
        """Judge one recording, a text, or both.

        Raises:
            UserError: there is no recording or no text where the model needs one, the recording
                is too long or cannot be read, or the model cannot take it.
        """
        typed = text if self._reads and text.strip() else None
        ear = self._model.ear if self._reads and typed is None else None
        if sound is None and (self._listens or ear):
            raise UserError("this model listens; record something, or choose a file")
        if self._reads and typed is None and ear is None:
            raise UserError("this model reads; type what is said")
        if not self._listens and ear is None:
            sound = None
        if sound is not None:
            self._check_length(sound, divided=typed is None)
        recording = Recording("the recording" if sound else "the text", "", sound, typed)
        heard = self._heard(recording)
        said = prediction(self._model, heard)
        picture, missing = (None, []) if said.windows else self._picture(heard)
        return {
            "label": said.label,
            "posteriors": said.posteriors,
            "text": said.text if ear else None,
            "windows": [dataclasses.asdict(window) for window in said.windows],
            "remarks": [*_remarks(said), *missing],
            "picture": picture,
        }

    def _heard(self, recording: Recording) -> Heard:
        how = windows(self._model.limit)
        (heard,) = judge(self._model, [recording], how, keep=True)
        if heard.fault is not None:
            raise _for_the_page(heard.fault, recording.source)
        return heard

    def _picture(self, heard: Heard) -> tuple[str | None, list[str]]:
        """Draw the gates, as a data URI; None where there are none, or for want of matplotlib."""
        try:
            drawing = pictures.draw(self._model, heard)
        except ImportError as error:
            what = f"its gates are not drawn, for {error.name} is missing"
            return None, [f"{what}; {what_to_install(error)}"]
        if drawing is None:
            return None, []
        return f"data:image/png;base64,{base64.b64encode(drawing.png).decode()}", []

    def _check_length(self, sound: Path, *, divided: bool) -> None:
        """Refuse a recording that is too long; `divided`: it may be read in windows."""
        try:
            header = audio.header(str(sound))
        except UserError as error:
            raise _for_the_page(error, sound) from None
        if header.seconds > self._seconds:
            raise UserError(
                f"the recording has {header.seconds:.1f} s, and more than {self._seconds:g} s are "
                "not taken here; send a part of it"
            )
        if not divided and header.seconds > self._model.limit:
            raise UserError(
                f"the recording has {header.seconds:.1f} s, and with a text the model takes "
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


def prepare(
    model: str, given: Mapping[str, Any], asr_model: str | None, seconds: float, limits: Limits
) -> tuple[dict[str, Any], Answers]:
    """Load a model for its page.

    Args:
        model: the directory of its pack, or its id on the hub.
        given: more arguments of `cfia.inference.model.load`.
        asr_model: a recogniser, as `cfia.asr.load` takes it; None for none.
        seconds: the longest recording.

    Returns:
        What the page says of the model, and its answers.

    Raises:
        UserError: it cannot be loaded, or takes no text that a recogniser could write.
    """
    directory = pack_file.find(model, given["revision"])
    if asr_model is not None and "text" not in pack_file.read(directory).modalities:
        raise UserError(f"{model} takes no text; leave out --asr_model")
    log.info("loading %s and its encoders", model)
    loaded = load(directory, **given, asr_model=asr_model)
    answers = Answers(loaded, seconds)
    return answers.about(directory, limits.megabytes), answers


def serve(about: Mapping[str, Any], answer: Answer, host: str, port: int, limits: Limits) -> None:
    """Serve a page until Ctrl-C, and print its address; the arguments are those of `Demo`.

    Raises:
        UserError: it cannot be served there.
    """
    with Demo(about, answer, host, port, limits) as demo:
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
