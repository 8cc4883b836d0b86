"""Take features over from finished dumps, where they are what the encoder would give again.

The plan of a dump lists the dumps beside it that may have some, once it has found them as they
were made. A job takes from these what has the same origin (`cfia.upstream.origin`), and encodes
the rest. So it writes the same bytes with them and without.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from cfia import marker
from cfia.errors import UserError
from cfia.files import read_json, write_json
from cfia.frontend import Frontend
from cfia.kaldi.archive import entries
from cfia.kaldi.archives import Archives
from cfia.kaldi.table import read_table
from cfia.shapes import fit
from cfia.upstream.base import Features
from cfia.upstream.choice import ALL

# The sources that the plan has found. Kept until the dump is merged.
NAME = ".raw_sources.json"
# Tables of a finished dump: what its features are made from, from which dump they were taken over,
# and what is odd about an utterance.
ORIGINS = "utt2origin"
TAKEN = "taken_over"
REMARKS = "remarks"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A finished dump: its directory, and inode, size and time in ns of each of its archives."""

    dump: str
    archives: dict[str, list[int]]


@dataclass(frozen=True)
class Taken:
    """Features (frames, dim) of another dump, and what is odd about the utterance."""

    matrix: Features
    dump: str
    remark: str | None


def plan(directory: Path, options: dict[str, Any], inputs: dict[str, str], *, force: bool) -> None:
    """Write down which dumps beside a new one its jobs may take features from.

    With `force` that is none: who forces a dump wants it encoded.

    Args:
        options, inputs: as of the new dump's marker.
    """
    sources = [] if force else list(_sources(directory, options, inputs))
    write_json(directory / NAME, [asdict(source) for source in sources])


def _sources(directory: Path, options: dict[str, Any], inputs: dict[str, str]) -> Iterator[Source]:
    for path in sorted(directory.parent.glob(f"[!.]*/{ORIGINS}")):
        dump = path.parent
        try:
            if dump.samefile(directory) or not _serves(marker.read(dump), options, inputs):
                continue
            recorded = marker.read(dump)
            assert recorded is not None
            changed = marker.changed_file(dump, recorded, archives=True)
            archives = {name: _stat(dump / name) for name in recorded.files if _is_archive(name)}
        except (UserError, OSError) as error:
            changed = f"{error}"
        if changed:
            _log.warning("%s: no features are taken over from it (%s)", dump, changed)
        else:
            yield Source(str(dump), archives)


def _serves(
    recorded: marker.Marker | None, options: dict[str, Any], inputs: dict[str, str]
) -> bool:
    """Whether a dump is finished, of the same encoder but for the layer, and not compressed."""
    if recorded is None or not recorded.done:
        return False
    layer = next(name for name in options if name.endswith("_layer"))
    same = recorded.inputs.get("model") == inputs.get("model")
    return same and recorded.options | {layer: None} == options | {
        layer: None,
        "compression_method": 0,
    }


def _is_archive(name: str) -> bool:
    return name.endswith(marker.ARCHIVE)


def _stat(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns]


class Sources:
    """The sources of a dump, open for one job.

    Args:
        directory: of the new dump.
        description: of its encoder.
        wanted: the origins of the job's utterances.
        whole: take all of a batch, or nothing.
    """

    def __init__(
        self, directory: Path, description: Frontend, wanted: Collection[str], *, whole: bool
    ) -> None:
        self._stack, self._whole = contextlib.ExitStack(), whole
        self._found: dict[str, tuple[_Opened, str]] = {}
        path = directory / NAME
        for source in fit(list[Source], read_json(path)) if path.exists() else []:
            try:
                opened = _Opened(source, description, set(wanted) - self._found.keys(), self._stack)
            except (UserError, OSError, ValueError) as error:
                _log.warning("%s: no features are taken over from it (%s)", source.dump, error)
            else:
                self._found |= {at: (opened, u) for at, u in opened.utterances.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def forget(self) -> None:
        """Take nothing any more."""
        self._found.clear()

    def take(self, origins: Mapping[str, str]) -> dict[str, Taken]:
        """Take what there is of a batch; utterance -> origin to utterance -> features."""
        found = {u: self._found[at] for u, at in origins.items() if at in self._found}
        if self._whole and len(found) < len(origins):
            return {}
        return {utterance: opened.take(name) for utterance, (opened, name) in found.items()}


class _Opened:
    """A source whose archives are open, so that they stay what they are, whoever removes them.

    Attributes:
        utterances: origin -> the utterance's name in the source.
    """

    def __init__(
        self, source: Source, wanted: Frontend, origins: set[str], stack: contextlib.ExitStack
    ) -> None:
        self.dump = source.dump
        directory = Path(source.dump)
        self._columns = _columns(Frontend.read(directory), wanted)
        self.utterances: dict[str, str] = {}
        if self._columns is None:
            return
        rows = read_table(directory / ORIGINS)
        self.utterances = {at: u for u, at in sorted(rows.items()) if at in origins}
        remarks = directory / REMARKS
        self._remarks = read_table(remarks) if remarks.exists() else {}
        scp = entries(directory / "feats.scp", self.utterances.values())
        self._archives = stack.enter_context(Archives(scp))
        for utterance in scp:
            self._archives.shape(utterance)
        if any(_stat(directory / name) != stat for name, stat in source.archives.items()):
            raise UserError("it has changed since this dump was planned")

    def take(self, utterance: str) -> Taken:
        matrix = self._archives.read(utterance)[:, self._columns]
        return Taken(np.ascontiguousarray(matrix), self.dump, self._remarks.get(utterance))


def _columns(source: Frontend, wanted: Frontend) -> slice | None:
    """Give the columns of a source that are the wanted layer; None if it does not have it."""
    if (source.layer, source.dim) == (wanted.layer, wanted.dim):
        return slice(None)
    if source.layer != ALL or not isinstance(wanted.layer, int):
        return None
    return slice(wanted.layer * wanted.dim, (wanted.layer + 1) * wanted.dim)
