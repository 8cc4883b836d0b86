"""Dumps that were imported: how stages 3 to 5 know them, and what they ask of them.

Standard library alone, since the names of encoders are checked before any environment exists.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from cfia import marker
from cfia.errors import UserError
from cfia.kaldi.table import read_table
from cfia.upstream import registry

# In a marker's options, beside `<modality>_upstream`: from where the features are.
OPTION = "imported"

log = logging.getLogger(__name__)


def names(dumpdir: Path, modality: str) -> list[str]:
    """List the encoders' names of the imported dumps of a modality, sorted."""
    found = {_name(path.parent, modality) for path in dumpdir.glob(f"[!.]*/{marker.NAME}")}
    return sorted(name for name in found if name)


def _name(directory: Path, modality: str) -> str | None:
    """Give the encoder's name of an imported dump; None of any other directory."""
    with contextlib.suppress(UserError):  # a damaged marker: whoever reads that dump says so
        recorded = marker.read(directory)
        if recorded and recorded.done and OPTION in recorded.options:
            name = recorded.options.get(f"{modality}_upstream")
            return None if name is None else str(name)
    return None


def is_imported(directory: Path, modality: str, upstream: str) -> bool:
    """Whether a directory holds imported features of an encoder of that name."""
    return _name(directory, modality) == upstream


def made_by(directory: Path, modality: str, stage: str) -> str:
    """Name what makes a dump, for messages: the importing program, or the stage."""
    name = _name(directory, modality)
    if name is None:
        return stage
    # No other imported features bear the name of an encoder of our own.
    return f"`cfia import_{'emotion2vec' if name in registry.FAMILIES else 'features'}`"


def check(directory: Path, modality: str, data: Path) -> None:
    """Check that an imported dump is as it was made, and has what a data directory needs.

    Raises:
        UserError: a file is gone, cut or edited; or the features of an utterance are missing.
    """
    marker.verify(directory, made_by(directory, modality, ""), archives=True)
    tables = [directory / name for name in ("feats.scp", "skipped")]
    there = {utt for table in tables if table.exists() for utt in read_table(table)}
    needed = read_table(data / "utt2spk")
    lacking = sorted(needed.keys() - there)
    if lacking:
        raise UserError(
            f"{directory}, which was imported, lacks {lacking[0]} of {data} (one of "
            f"{len(lacking)} of {len(needed)}); import the features of all, with --force true"
        )
    log.info("%s: imported, and kept as it is", directory)
