"""The plan of recognising a corpus: with which recogniser, and which job takes which utterances.

It is kept as plan.json in `<data>/asr/<recogniser>`, so that a killed run goes on with it. Each
utterance is recognised by itself: neither the number of jobs nor a kill changes a word.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cfia import directories, marker
from cfia.asr import registry
from cfia.asr.word_errors import update
from cfia.errors import UserError
from cfia.files import digest, write_json
from cfia.kaldi.data_dir import DataDir
from cfia.naming import ASR, recogniser_name
from cfia.upstream.batches import durations, split_jobs
from cfia.upstream.inputs import audio_inputs
from cfia.upstream.plan_file import NAME, read_plan

SKIPPED = "skipped"  # utterances with bad audio, and why it is

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What jobs need to know.

    Attributes:
        recogniser: the place of its model (`registry.Found.record`); none asks a hub.
        model: the digest of the model's files.
    """

    recogniser: dict[str, Any]
    model: str
    num_threads: int
    skip_bad: bool


@dataclass(frozen=True)
class Plan:
    """Settings, and the utterances of each job."""

    settings: Settings
    jobs: list[list[str]]

    @cached_property
    def digest(self) -> str:
        """The digest of what may not change between a job's start and end, for its file."""
        settings = self.settings
        return digest([settings.model, settings.num_threads, self.jobs])

    @classmethod
    def load(cls, directory: Path) -> Plan:
        """Read the plan of a directory.

        Raises:
            UserError: there is none, or it is not as `make` writes it.
        """
        return read_plan(cls, directory, "asr_plan")


def place(data: Path, name: str) -> Path:
    """Give the directory of a recogniser's text."""
    return data / ASR / name


def lines(directory: Path, job: int) -> Path:
    """Give the file to which a job appends what it has recognised."""
    return directory / f".text.{job}.jsonl"


def find(data: DataDir, model: str, hub: str, *, force: bool) -> registry.Found:
    """Find a recogniser, at the commit at which its text was planned.

    So text that was begun or finished stays with its model, and no hub is asked for a newer one.
    With `force` the hub's present model is taken.

    Raises:
        UserError: as `registry.find`.
    """
    directory = place(data.path, recogniser_name(model))
    if force or not (directory / NAME).exists():
        return registry.find(model, hub)
    before = Plan.load(directory).settings.recogniser
    if before["model"] != model:
        return registry.find(model, hub)
    if before["revision"] is None and Path(before["directory"]).is_dir():
        return registry.from_record(before)
    return registry.find(model, hub, before["revision"])


def make(
    data: DataDir,
    found: registry.Found,
    nj: int,
    *,
    num_threads: int = 1,
    skip_bad: bool = False,
    force: bool = False,
) -> int:
    """Plan the recognition of a data directory, or go on with the plan that is there.

    Returns:
        The number of jobs; 0 if the text is complete.

    Raises:
        UserError: the text there was made differently, or lacks bad audio that is not to be
            skipped now, and `force` is false; an audio file is missing and bad audio is not
            skipped.
    """
    directory = place(data.path, found.name)
    settings = Settings(found.record(), found.files.digest(), num_threads, skip_bad)
    options = {"num_threads": num_threads}
    inputs = {"model": settings.model, **audio_inputs(data, skip_bad=skip_bad)}
    if not force:
        _accept_corrected_audio(directory, options, inputs)
    state = marker.check(directory, options, inputs, force=force)
    if state is marker.State.DONE:
        if not skip_bad:
            _refuse_skipped(directory)
        update(directory, data)
        _log.info("%s: already made, skipping", directory)
        return 0
    begun = state is marker.State.RESUME and (directory / NAME).exists()
    before = Plan.load(directory) if begun else None
    # More jobs than a scheduler takes, none of which has begun, may become fewer.
    if before and (len(before.jobs) <= nj or any(directory.glob(".text.*.jsonl"))):
        plan = replace(before, settings=settings)
    else:
        plan = Plan(settings, _divide(data, nj, skip_bad=skip_bad))
    if state is marker.State.FRESH:
        if (directory / marker.NAME).exists():
            directories.remove(directory)
        marker.start(directory, options, inputs)
    write_json(directory / NAME, asdict(plan))
    return len(plan.jobs)


def _divide(data: DataDir, nj: int, *, skip_bad: bool) -> list[list[str]]:
    """Divide the utterances among jobs of about as many seconds."""
    seconds, utterances = durations(data, skip_bad=skip_bad), data.utterances
    jobs = split_jobs([seconds[utt] for utt in utterances], nj)
    return [[utterances[i] for i in job] for job in jobs]


def _refuse_skipped(directory: Path) -> None:
    if (directory / SKIPPED).exists():
        raise UserError(
            f"{directory} lacks bad audio, which it lists in the file {SKIPPED}; go on with "
            "--skip_bad true, or correct the corpus and give --force true"
        )


def _accept_corrected_audio(
    directory: Path, options: dict[str, Any], inputs: dict[str, str]
) -> None:
    """Let unfinished text go on where audio alone has changed: jobs recognise that again."""
    recorded = marker.read(directory)
    if recorded is None or recorded.done or recorded.options != options:
        return
    if {name for name, _ in recorded.inputs.items() ^ inputs.items()} == {"audio"}:
        _log.info("%s: going on with audio that was corrected", directory)
        marker.start(directory, options, inputs)
