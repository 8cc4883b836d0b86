"""Measure what the trainings of an experiment read: digests of data, dumps and fold lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from cfia import marker
from cfia.errors import UserError
from cfia.experiment import NAME, Dump, Experiment, Folds, Part
from cfia.files import digest, sha256
from cfia.kaldi.table import read_table
from cfia.training.folds import read_folds

MADE_BY = {"audio": "stage 3", "text": "stage 4"}
TABLES = ("wav.scp", "segments", "utt2dur", "text")  # those that features are made from


def measure_part(data: Path, dumps: Mapping[str, Path]) -> Part:
    """Describe one part of a fold by the digests of its labels and its features.

    Args:
        dumps: the dump directory of each modality.

    Raises:
        UserError: features are not there, or were made from other data than there is now.
    """
    measured = {}
    for modality, dump in dumps.items():
        made_by = MADE_BY[modality]
        measured[modality] = Dump(dump, marker.output_digest(dump, made_by))
        # Features of other audio or transcripts than the data directory has now are of no use.
        for table, digest_then in marker.read(dump)["inputs"].items():
            path = data / table
            if table in TABLES and not (path.exists() and sha256(path) == digest_then):
                raise UserError(
                    f"{dump} was made from another {table} than {path} is now; run {made_by} again "
                    "with --force true"
                )
    return Part(data, sha256(data / "utt2emo"), measured)


def measure_folds(directory: Path) -> Folds:
    """Describe the fold lists of a scheme.

    Raises:
        UserError: there are none, or one is damaged.
    """
    folds = read_folds(directory)
    lists = [dataclasses.asdict(fold) for fold in folds.values()]
    return Folds(directory, len(folds), digest(lists))


def check_unchanged(experiment: Experiment) -> None:
    """Refuse to go on where data, dumps or fold lists are not those that the experiment names.

    Raises:
        UserError: it names the first difference and the way out.
    """
    parts: dict[str, Part] = {}
    for name, part in experiment.parts.items():  # mostly all the same: digests of them once
        like = next((other for other in parts if experiment.parts[other] == part), None)
        parts[name] = parts[like] if like else measure_part(part.data, experiment.dumps(name))
    folds = measure_folds(experiment.folds.directory)
    now = dataclasses.replace(experiment, folds=folds, parts=parts)
    difference = experiment.difference(now)
    if difference:
        raise UserError(
            f"{experiment.directory / NAME} was written before a change ({difference}); run.sh "
            "with --force true trains again from stage 5 on"
        )


def classes(data: Path) -> tuple[str, ...]:
    """List the labels of a data directory in C-locale order, that of the network's outputs."""
    return tuple(sorted(set(read_table(data / "utt2emo").values())))
