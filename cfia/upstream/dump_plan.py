"""The plan of a dump: which utterances are encoded together, and by which job.

How utterances are batched can change the last bits of their features. So the batches are fixed
from the whole list of utterances before they are dealt out to jobs, and kept in `plan.json`:
neither the number of jobs nor a killed job regroups them.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cfia import directories, marker
from cfia.errors import UserError
from cfia.files import as_json, digest, read_json, sha256, write_json
from cfia.frontend import NAME as FRONTEND
from cfia.frontend import Frontend
from cfia.kaldi.data_dir import DataDir
from cfia.naming import MODALITIES
from cfia.shapes import ShapeError, fit
from cfia.upstream import journal, registry, take_over
from cfia.upstream.batches import durations, make_batches, split_jobs
from cfia.upstream.checkpoint import Checkpoint
from cfia.upstream.choice import ALL, Choice
from cfia.upstream.exposure import UNKNOWN
from cfia.upstream.inputs import TEXT, audio_inputs, audio_stats
from cfia.upstream.plan_file import NAME, read_plan

# Size and time of each audio file when the dump was planned. Kept until the dump is merged.
AUDIO = ".raw_audio.json"

# The largest batch, padding included: seconds of audio, characters of text (four or five of which
# make a token). A batch is also what a killed job loses, so it should take seconds, not minutes.
BATCH_SECONDS = 60.0
BATCH_CHARACTERS = 4000.0
# A GPU takes so many times as much: the 30,000 frames of 600 s keep any GPU busy, and more would
# only cost memory. The largest array of a large model is that of attention, where nothing computes
# it in blocks: 16 heads of 1500 frames for each of the 50 frames of a second, if utterances have
# 30 s. In float32 that is 4.8 MB a second or 2.9 GB, and three such are alive at once, besides 2 GB
# of weights at most. So a GPU of 16 GB has room; one that has not is given halves (`encoding`).
GPU_TIMES = 10
# With all layers their states are kept as well, and joined: twice 25 x 1024 x 50 x 4 bytes or 10 MB
# a second. Besides, three batches may be in the memory of the processor (`writing`).
ALL_LAYERS_TIMES = GPU_TIMES / 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """The options of `cfia dump_plan` that can change a feature, and facts about the encoder.

    Attributes:
        exposure: how much of the corpus the encoder has seen; None if no corpus was named.
        identity: `registry.Identity` of its weights, in words; None without weights.
        files: the place of its model (`Checkpoint.record`), so that all jobs take the same, and
            none asks a hub; None without weights.
        text: the file of the transcripts that are encoded, from the data directory.
    """

    choice: Choice
    num_threads: int
    compression_method: int
    skip_bad: bool
    exposure: str | None = None
    identity: str | None = None
    files: dict[str, str | None] | None = None
    text: str = TEXT

    @property
    def name(self) -> str:
        """The encoder's name in the names of files: raw_<name>.JOB.ark."""
        return registry.upstream_name(self.choice)

    def checkpoint(self) -> Checkpoint | None:
        """Give the files of the model."""
        return registry.from_record(self.choice, self.files) if self.files else None

    def options(self) -> dict[str, Any]:
        """Give the options for the marker, under the names of run.sh's flags.

        The model and its hub are not among them: the model's digest is an input, so that a
        directory may move. Nor is skip_bad, so that a dump that met a bad file can go on with
        it; `make` and the merge check that nothing is skipped without it.
        """
        return {
            f"{self.choice.modality}_upstream": self.choice.name,
            f"{self.choice.modality}_layer": self.choice.layer,
            "num_threads": self.num_threads,
            "compression_method": self.compression_method,
        }


@dataclass(frozen=True)
class Plan:
    """Settings, batches (lists of utterances), and per job the numbers of its batches."""

    settings: Settings
    batches: list[list[str]]
    jobs: list[list[int]]

    @cached_property
    def digest(self) -> str:
        """The digest of what may not change between a job's start and its end, for its journal.

        What the marker's options leave out may change. The journal compares the encoder itself.
        """
        settings = asdict(self.settings)
        settings["choice"] |= {"model": None, "hub": ""}
        settings |= {"skip_bad": False, "exposure": None}
        del settings["identity"], settings["files"], settings["text"]
        return digest({"settings": settings, "batches": self.batches, "jobs": self.jobs})

    def update(self, directory: Path, settings: Settings) -> None:
        """Write the plan of a dump directory again if its settings are others now."""
        if settings != self.settings:
            write_json(directory / NAME, asdict(replace(self, settings=settings)))

    def utterances(self) -> list[str]:
        """List all planned utterances, in C-locale order."""
        return sorted(utterance for batch in self.batches for utterance in batch)

    @classmethod
    def load(cls, directory: Path) -> Plan:
        """Read the plan of a dump directory.

        Raises:
            UserError: there is none, or it is not as `make` writes it.
        """
        return read_plan(cls, directory, "dump_plan", cls._whole)

    def _whole(self) -> bool:
        """Whether each batch is in one job, of a modality that there is."""
        numbers = sorted(number for job in self.jobs for number in job)
        dealt = numbers == list(range(len(self.batches)))
        return dealt and self.settings.choice.modality in MODALITIES


def find_model(directory: Path, data: DataDir, choice: Choice, *, force: bool) -> Checkpoint | None:
    """Find the files of an encoder's model, at the commit at which its dump was planned.

    So a dump that was begun or finished stays with its model, and asks no hub for a newer one.
    With `force` the hub's present model is taken.

    Raises:
        UserError: the directory holds something else than a dump, or as `registry.find`.
    """
    _check_directory(directory, data)
    planned = (directory / NAME).exists() and not force
    if planned:
        marker.verify(directory, "the stage again")
    before = Plan.load(directory).settings if planned else None
    if before is None or before.files is None or not _same_model(before.choice, choice):
        return registry.find(choice)
    if before.files["revision"] is None and Path(str(before.files["directory"])).is_dir():
        return registry.from_record(choice, before.files)
    return registry.find(choice, before.files["revision"])


def _same_model(first: Choice, second: Choice) -> bool:
    return (first.model, first.hub) == (second.model, second.hub)


def make(
    directory: Path, data: DataDir, settings: Settings, nj: int, *, force: bool, ngpu: int = 0
) -> int:
    """Plan a dump, or go on with the plan that is in the directory.

    Args:
        ngpu: 1: for a GPU, whose batches are larger. That is nothing of what the dump is: one that
            was begun or finished elsewhere is gone on with, or left, as it is.

    Returns:
        The number of jobs; 0 if the dump is complete.

    Raises:
        UserError: the directory holds something else than a dump; it was dumped differently, or
            lacks bad audio that is not to be skipped now, and `force` is false; no such upstream,
            model or layer; an audio file is missing and bad audio is not skipped.
    """
    # Whatever the directory holds may be removed below, so it must be a dump's.
    _check_directory(directory, data)
    options, inputs = settings.options(), _inputs(data, settings)
    if not force:
        _accept_corrected_audio(directory, data, options, inputs)
    state = _state(directory, options, inputs, force=force)
    # A dump that was finished with --skip_bad is not complete for a command without it.
    if state is marker.State.DONE and not settings.skip_bad and (directory / "skipped").exists():
        raise UserError(
            f"{directory} lacks bad audio, which it lists in the file skipped; go on with "
            "--skip_bad true, or correct the corpus and give --force true"
        )
    # A finished dump is left as it is, but for what is known of its encoder.
    if state is marker.State.DONE:
        remove_unfinished(directory)
        _update_facts(directory, settings)
        _log.info("%s: already made, skipping", directory)
        return 0
    # A dump that was begun keeps its batches and jobs, but for jobs that are more than a scheduler
    # takes, none of which has begun. Not compared by the marker, and taken over, are such settings
    # as the place of the model.
    if state is marker.State.RESUME and (directory / NAME).exists():
        plan = Plan.load(directory)
        settings = replace(settings, exposure=settings.exposure or plan.settings.exposure)
        if len(plan.jobs) <= nj or not journal.nothing_done(directory):
            plan.update(directory, settings)
            return len(plan.jobs)
    # A new dump: what is there goes once there is a plan; the marker comes before all other files,
    # which are of unknown origin without it.
    plan = _plan(data, settings, nj, ngpu)
    if state is marker.State.FRESH:
        if (directory / marker.NAME).exists():
            directories.remove(directory)
        marker.start(directory, options, inputs)
    write_json(directory / AUDIO, _audio_stats(data, settings))
    take_over.plan(directory, options, inputs, force=force)
    write_json(directory / NAME, asdict(plan))
    return len(plan.jobs)


def _state(
    directory: Path, options: dict[str, Any], inputs: dict[str, str], *, force: bool
) -> marker.State:
    """Compare what the features depend on with the marker of the dump that is there.

    As long as no batch is finished, nothing is lost by starting again, and no --force is asked for.
    """
    try:
        return marker.check(directory, options, inputs, force=force, archives=True)
    except UserError:
        if (directory / marker.NAME).exists() and journal.nothing_done(directory):
            return marker.State.FRESH
        raise


def _check_directory(directory: Path, data: DataDir) -> None:
    """Refuse a directory that no dump has made."""
    if directory.resolve() == data.path.resolve():
        raise UserError(
            f"--dir {directory} is the data directory, which a dump would replace; give it one of "
            "its own, such as dump/fbank"
        )
    inside = directory.iterdir() if directory.exists() else ()
    # A process that was killed as it began has left a marker's temporary file at most.
    found = any(not path.name.startswith(f".{marker.NAME}.tmp.") for path in inside)
    if found and not _is_dump(directory):
        raise UserError(
            f"{directory} is there and was not made by a dump; move it away or choose another"
        )


def _is_dump(directory: Path) -> bool:
    """Whether a dump has made a directory, or a killed one its marker alone."""
    if any((directory / name).exists() for name in (NAME, FRONTEND)):
        return True
    recorded = marker.read(directory)
    return recorded is not None and any(f"{m}_upstream" in recorded.options for m in MODALITIES)


def _update_facts(directory: Path, now: Settings) -> None:
    """Write into a finished dump what is known of its encoder, and where its model is now."""
    plan, frontend = Plan.load(directory), Frontend.read(directory)
    before = plan.settings
    settings = replace(
        before, exposure=now.exposure or before.exposure, identity=now.identity or before.identity
    )
    # The same bytes from another place, or of another commit, change nothing of the record.
    same_commit = now.files and now.files["revision"] == frontend.revision
    if same_commit and _same_model(before.choice, now.choice):
        settings = replace(settings, files=now.files)
    facts, new = with_facts(frontend, settings), replace(plan, settings=settings)
    if (facts, new) != (frontend, plan):
        marker.rewrite(directory, {NAME: as_json(asdict(new)), FRONTEND: facts.text()})


def with_facts(frontend: Frontend, settings: Settings) -> Frontend:
    """Add identity and exposure to the description of an encoder."""
    identity = settings.identity or frontend.identity
    return replace(frontend, identity=identity, exposure=settings.exposure or UNKNOWN)


def _accept_corrected_audio(
    directory: Path, data: DataDir, options: dict[str, Any], inputs: dict[str, str]
) -> None:
    """Let an unfinished dump go on with audio that was corrected since.

    That is where, of all its inputs, only audio has changed, and only audio that no finished batch
    was made from: the files, say, on which the dump has stopped.
    """
    if not all((directory / name).exists() for name in (marker.NAME, NAME, AUDIO)):
        return
    recorded, plan = marker.read(directory), Plan.load(directory)
    assert recorded is not None
    changed = {name for name, _ in recorded.inputs.items() ^ inputs.items()}
    if recorded.done or recorded.options != options or changed != {"audio"}:
        return
    try:
        before = fit(dict[str, list[int]], read_json(directory / AUDIO))
    except (UserError, ShapeError):  # cut or edited: nobody knows what has changed
        return
    now = _audio_stats(data, plan.settings)
    for number in journal.batches_done(directory, plan.settings.name, len(plan.jobs)):
        for utterance in plan.batches[number]:
            recording = data.segments[utterance].recording if data.segments else utterance
            if now.get(recording) != before.get(recording):
                return
    _log.info("%s: going on with audio that was corrected", directory)
    write_json(directory / AUDIO, now)
    marker.start(directory, options, inputs)


def _audio_stats(data: DataDir, settings: Settings) -> dict[str, list[int]]:
    """Recording -> size in bytes and time in ns of its file, if it is one and there."""
    return {} if settings.choice.modality == "text" else audio_stats(data)


def remove_unfinished(directory: Path) -> None:
    """Remove the jobs' own files: journals, and archives under temporary names."""
    for path in directory.glob(".raw_*"):
        path.unlink()


def _plan(data: DataDir, settings: Settings, nj: int, ngpu: int) -> Plan:
    if settings.choice.modality == "audio":
        lengths, budget = durations(data, skip_bad=settings.skip_bad), BATCH_SECONDS
    else:
        remark = registry.survey(settings.choice, settings.checkpoint(), data.text.values())
        if remark:
            _log.warning("%s", remark)
        # A recogniser's transcripts may lack some, which the jobs skip or stop at.
        lengths = {u: float(len(data.text.get(u, ""))) for u in data.utterances}
        budget = BATCH_CHARACTERS
    if ngpu and settings.files:  # without weights nothing runs there
        budget *= ALL_LAYERS_TIMES if settings.choice.layer == ALL else GPU_TIMES
    batches = make_batches(lengths, budget)
    # `sum` rounds otherwise from Python 3.12 on, and batches would be dealt to other jobs.
    weights = [math.fsum(lengths[utterance] for utterance in batch) for batch in batches]
    return Plan(settings, batches, split_jobs(weights, nj))


def _inputs(data: DataDir, settings: Settings) -> dict[str, str]:
    """Digests of what the features, and their batches, are made from."""
    model = registry.model_digest(settings.choice, settings.checkpoint())
    inputs = {} if model is None else {"model": model}
    if settings.choice.modality == "text":
        return inputs | {settings.text: sha256(data.path / settings.text)}
    return inputs | audio_inputs(data, skip_bad=settings.skip_bad)
