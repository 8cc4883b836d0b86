"""Judge many recordings with a packed model, in several processes (`cfia predict`)."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import logging
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from cfia.errors import UserError, fault
from cfia.files import atomic_write
from cfia.inference import inputs, lines, pictures
from cfia.inference.inputs import Recording
from cfia.inference.model import TEXT_UNUSED, Model, Prediction
from cfia.inference.pack_file import PackFile
from cfia.inference.recordings import BATCH, judge, prediction
from cfia.inference.windows import Windows
from cfia.processes import in_processes
from cfia.upstream.progress import progress

# A list is divided into at least so many tasks, if it has so many recordings, whatever the number
# of processes is: what is judged together can change the last bits.
_TASKS = 16

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What `cfia predict` was asked for; see its options."""

    inputs: Sequence[str]
    text: str | None = None
    text_file: Path | None = None
    asr_model: str | None = None
    window: float | None = None
    hop: float | None = None
    plot: Path | None = None
    json: bool = False
    out: Path | None = None
    nj: int = 1
    allow_pipes: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of one recording.

    Attributes:
        prediction: None where there is a fault.
        fault: what is wrong with it, in a clause.
        drawn: whether it has a picture.
    """

    prediction: Prediction | None
    fault: str = ""
    drawn: bool = False


def run(model: Model, recordings: Sequence[Recording], request: Request, num_threads: int) -> None:
    """Write the answers to standard output or `request.out`, in the order of the inputs.

    Args:
        recordings: what `recordings_of` lists.
        num_threads: CPU threads of each process.

    Raises:
        UserError: as `Model.cut`; or some recordings could not be judged, which the others are
            not spoilt by.
    """
    how = model.cut(request.window, request.hop)
    answers = answers_of(model, recordings, how, request.nj, num_threads)
    bar = request.out is not None or not sys.stdout.isatty()
    shown = (
        progress(answers, 0, len(recordings), "predict", "recording", last=False)
        if bar
        else answers
    )
    faults: list[tuple[str, str]] = []
    said: set[str] = set()
    with _output(request.out) as out, contextlib.closing(answers):
        write = lines.as_json if request.json else lines.tsv
        if not request.json:
            print(lines.header(model.classes), file=out)
        for recording, answer in zip(recordings, shown, strict=True):
            if answer.prediction is None:
                faults.append((recording.name, answer.fault))
                continue
            _say(recording, answer, how, said)
            print(*write(recording.name, answer.prediction), sep="\n", file=out, flush=True)
    _raise(faults, len(recordings))


def recordings_of(pack: PackFile, request: Request) -> list[Recording]:
    """List what is to be judged, each with its text and the place of its picture.

    It needs no encoder, whose loading can take longer than what is wrong takes to say.

    Raises:
        UserError: as `inputs.collect`; the model needs a text, or audio, and there is none.
    """
    if request.plot:
        importlib.import_module("matplotlib")  # where it is missing, that is said before the work
    takes_text, takes_audio = ("text" in pack.modalities), ("audio" in pack.modalities)
    given = request.text is not None or request.text_file or request.asr_model
    if takes_text and not given:
        raise UserError(
            f"the model {pack.system} takes text; give --text, --text_file or --asr_model"
        )
    if not takes_text and given:
        log.warning(TEXT_UNUSED)
    if not request.inputs and (takes_audio or request.asr_model):
        raise UserError(f"the model {pack.system} takes audio; name a file or a folder")
    if request.inputs:
        found = inputs.collect(request.inputs, sys.stdin.buffer, allow_pipes=request.allow_pipes)
    elif request.text_file:
        found = inputs.texts_alone(request.text_file)
    else:
        found = [Recording("-", "-")]
    if takes_text and request.text is not None:
        found = [Recording(r.name, r.key, r.source, request.text) for r in found]
    if takes_text and request.text_file and request.inputs:
        found = inputs.with_texts(found, request.text_file)
    return inputs.with_pictures(found, request.plot) if request.plot else found


def answers_of(
    model: Model,
    recordings: Sequence[Recording],
    how: Windows,
    nj: int,
    num_threads: int,
) -> Generator[Answer, None, None]:
    """Judge recordings in their order; neither `nj` nor what else is judged changes a fault."""
    size = max(1, min(BATCH, -(-len(recordings) // _TASKS)))
    tasks = [recordings[i : i + size] for i in range(0, len(recordings), size)]
    work = _worker(model, how, num_threads)
    several = min(nj, len(tasks))
    if several == 1:
        yield from itertools.chain.from_iterable(map(work, tasks))
        return
    with contextlib.closing(in_processes(work, tasks, several)) as done:
        yield from itertools.chain.from_iterable(done)


def _worker(
    model: Model, how: Windows, num_threads: int
) -> Callable[[Sequence[Recording]], list[Answer]]:
    def work(recordings: Sequence[Recording]) -> list[Answer]:
        # Not before the processes have parted: a fork does not inherit the threads of its parent.
        torch.set_num_threads(num_threads)
        keep = recordings[0].picture is not None and pictures.can_draw(model)
        answers = []
        for heard in judge(model, recordings, how, keep=keep):
            if heard.fault is not None:
                answers.append(Answer(None, fault(heard.fault)))
                continue
            place = heard.recording.picture
            drawn = place is not None and pictures.write(model, heard, place)
            answers.append(Answer(prediction(model, heard), drawn=drawn))
        return answers

    return work


def _say(recording: Recording, answer: Answer, how: Windows, said: set[str]) -> None:
    """Say what is odd about a recording, and once what is so of many."""
    found = answer.prediction
    assert found is not None
    for remark in found.remarks:
        log.warning("%s: %s", recording.name, remark)
    once = {}
    if found.channels is not None and found.channels > 1:
        once["channels"] = f"its {found.channels} channels are averaged"
    if found.windows and not how.asked:
        once["windows"] = (
            f"it is longer than the {how.longest:.2f} s that the model takes at once, so it is "
            f"read in windows of {how.length:g} s every {how.hop:g} s"
        )
    if recording.picture and not answer.drawn:
        once["picture"] = (
            "no picture is drawn, for it is not read in windows, and the model has no gates "
            "between audio and text"
        )
    for kind, remark in once.items():
        if kind not in said:
            log.warning("%s: %s (this is said once)", recording.name, remark)
            said.add(kind)


@contextlib.contextmanager
def _output(out: Path | None) -> Iterator[IO[str]]:
    """Open the output; names are written as the disk has them, be they UTF-8 or not."""
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        yield sys.stdout
        return
    with atomic_write(out, "wb") as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="\n")
        yield text
        text.detach()


def _raise(faults: Sequence[tuple[str, str]], number: int) -> None:
    if not faults:
        return
    of = f"{len(faults)} of {number} recordings could not be judged"
    if number == 1:
        raise UserError(f"{faults[0][1]}; give another recording")
    for name, why in faults:
        log.warning("not judged: %s (%s)", name, why)
    raise UserError(f"{of}, for the reasons above; the others are written")
