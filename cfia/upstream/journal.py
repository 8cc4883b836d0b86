"""Record which batches a job of a dump has finished, so that a killed job can go on.

`.raw_<name>.JOB.journal` has one JSON line for the plan and the encoder, then one per batch,
written after the batch's bytes are on the disk in `.raw_<name>.JOB.ark`. A job that starts again
cuts the archive to the last batch that the journal knows and goes on from there. The archive gets
its final name when the job is finished; the journal stays until the dump is merged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from cfia.errors import UserError
from cfia.kaldi.table import write_table
from cfia.shapes import fit
from cfia.upstream import json_lines


@dataclass(frozen=True)
class Batch:
    """A finished batch: the archive's size after it, and the result for each utterance."""

    batch: int
    end: int  # bytes
    offsets: dict[str, int]
    frames: dict[str, int]
    skipped: dict[str, str]  # utterance -> reason
    remarks: dict[str, str] = field(default_factory=dict)  # utterance -> what is odd
    origins: dict[str, str] = field(default_factory=dict)  # utterance -> as of `origin.Origins`
    taken: dict[str, str] = field(default_factory=dict)  # utterance -> dump that it is from


class _Header(TypedDict):
    """The first line of a journal: the plan's digest, and the encoder's description."""

    plan: str
    frontend: dict[str, Any]


class JobFiles:
    """The names of one job's files in a dump directory.

    Attributes:
        ark, scp: the finished archive, an absolute path since the scp names it, and the scp.
        unfinished: the archive while it grows.
        journal: the job's journal.
    """

    def __init__(self, directory: Path, name: str, job: int) -> None:
        self.directory, self.job = directory, job
        self.ark = directory.absolute() / f"raw_{name}.{job}.ark"
        self.scp = self.ark.with_suffix(".scp")
        self.unfinished = self.ark.with_name(f".{self.ark.name}")
        self.journal = self.unfinished.with_suffix(".journal")


class Journal:
    """A job's journal and growing archive, open and locked; see `opened`."""

    def __init__(self, files: JobFiles, handle: int, done: list[Batch]) -> None:
        self.files = files
        self.done = done
        self._handle = handle

    @property
    def end(self) -> int:
        """Give the archive's size in bytes."""
        return self.done[-1].end if self.done else 0

    def append(self, entries: Iterable[bytes], batch: Batch) -> None:
        """Write a batch's archive entries, then the journal's line, each through to the disk."""
        with json_lines.writing(self.files.unfinished), open(self.files.unfinished, "ab") as ark:
            ark.writelines(entries)
            ark.flush()
            os.fsync(ark.fileno())
        with json_lines.writing(self.files.journal):
            json_lines.append(self._handle, asdict(batch))
        self.done.append(batch)

    def finish(self) -> None:
        """Write the scp and give the archive its name, which says that the job is finished."""
        offsets = {u: at for batch in self.done for u, at in batch.offsets.items()}
        with json_lines.writing(self.files.scp):
            write_table(self.files.scp, {u: f"{self.files.ark}:{at}" for u, at in offsets.items()})
            os.replace(self.files.unfinished, self.files.ark)


@contextlib.contextmanager
def opened(files: JobFiles, plan: str, frontend: dict[str, Any]) -> Iterator[Journal | None]:
    """Lock and open a job's journal behind the last whole batch that it knows.

    Args:
        files: the job's files.
        plan, frontend: the plan's digest and the encoder's description; all batches of the job
            must come from these.

    Yields:
        The journal; None if the job is finished.

    Raises:
        UserError: the job was begun with another encoder, another process has finished or begun
            the dump since, or the disk cannot be written.
    """
    with json_lines.locked(files.journal, files.job) as handle:
        done = _begin(files, handle, plan, frontend)
        yield None if finished(files, plan) else Journal(files, handle, done)


def read(files: JobFiles) -> tuple[dict[str, Any], list[Batch]]:
    """Read the header and the finished batches of a journal; both are empty if there is none.

    A last line that a kill has cut is left out.

    Raises:
        UserError: a line is not as a job writes it.
    """
    try:
        lines = json_lines.read(files.journal)
        if not lines:
            return {}, []
        header: dict[str, Any] = fit(_Header, lines[0], "line 1")
        return header, [fit(Batch, line, f"line {n}") for n, line in enumerate(lines[1:], 2)]
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{files.journal} was cut or edited ({error}); run the stage again with --force true"
        ) from None


def finished(files: JobFiles, plan: str) -> bool:
    """Whether a job's archive is there, whole and made by this plan."""
    header, done = read(files)
    whole = files.ark.exists() and files.scp.exists() and bool(done)
    return whole and header["plan"] == plan and files.ark.stat().st_size == done[-1].end


def same_encoder(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two descriptions are of one encoder, wherever its weights were found."""
    place = {"model": None, "revision": None}
    return first | place == second | place


def batches_done(directory: Path, name: str, jobs: int) -> list[int]:
    """List the numbers of the batches that the jobs of a dump have finished."""
    files = [JobFiles(directory, name, job) for job in range(1, jobs + 1)]
    return [batch.batch for job in files for batch in read(job)[1]]


def nothing_done(directory: Path) -> bool:
    """Whether a dump was begun, but no job has finished a batch and none is at work now."""
    if (directory / "feats.scp").exists() or any(directory.glob("raw_*.ark")):
        return False
    for path in directory.glob(".raw_*.journal"):
        if path.read_bytes().count(b"\n") > 1:
            return False
        with open(path, "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks: nobody can tell
                return False
    return True


def _begin(files: JobFiles, handle: int, plan: str, frontend: dict[str, Any]) -> list[Batch]:
    """Cut journal and archive back to the last batch that both hold whole; return the batches."""
    header, done = read(files)
    if header and header["plan"] == plan and not same_encoder(header["frontend"], frontend):
        raise UserError(
            f"{files.journal}: the job was begun with another encoder than there is now; put the "
            "old model back, or dump again with --force true"
        )
    if finished(files, plan):
        return done
    size = files.unfinished.stat().st_size if files.unfinished.exists() else 0
    done = [batch for batch in done if header["plan"] == plan and batch.end <= size]
    with json_lines.writing(files.unfinished):
        with open(files.unfinished, "ab") as ark:
            ark.truncate(done[-1].end if done else 0)
        # Without a whole batch the header is written again: its plan may be another.
        json_lines.keep(handle, [header, *map(asdict, done)] if done else [])
        if not done:
            json_lines.append(handle, {"plan": plan, "frontend": frontend})
    return done
