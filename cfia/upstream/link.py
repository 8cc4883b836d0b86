"""Make a dump of the dumps of several corpora, whose archives it links to: nothing is encoded."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.files import sha256
from cfia.frontend import Frontend
from cfia.kaldi.archive import entries, parse
from cfia.kaldi.table import read_table, write_table
from cfia.upstream.exposure import LABELS, UNKNOWN

log = logging.getLogger(__name__)

# What two dumps must have in common, so that a network that learned on one takes the other. Where
# the weights are the same, it does not matter by which path or id they were named.
_ENCODER = ("name", "weights", "layer", "layers", "dim", "frame_shift", "sample_rate")
_TABLES = {"audio": ("utt2spk", "utt2dur"), "text": ("utt2spk", "text")}


@dataclass(frozen=True)
class Source:
    """The finished dump of one corpus.

    Attributes:
        dump: its directory; digest: of what made it.
        prefix: what is put before its utterances' ids.
    """

    dump: Path
    digest: str
    prefix: str


def check_same_encoder(dumps: Collection[Path]) -> None:
    """Refuse dumps of different encoders or weights.

    Raises:
        UserError: it names the first difference.
    """
    first, *others = dumps
    one = Frontend.read(first)
    for dump in others:
        other = Frontend.read(dump)
        for key in _ENCODER:
            here, there = getattr(one, key), getattr(other, key)
            if here != there:
                raise UserError(
                    f"{first} and {dump} are of different encoders ({key}: {here} and {there}); "
                    "make both by one --audio_upstream or --text_upstream, with one model and layer"
                )


def same_encoder(dump: Path, other: Path) -> bool:
    """Whether two dumps are of one encoder with the same weights."""
    try:
        check_same_encoder([dump, other])
    except UserError:
        return False
    return True


def link(
    directory: Path,
    data: Path,
    modality: str,
    sources: Mapping[str, Source],
    options: dict[str, Any],
    *,
    allow_contaminated: bool,
    force: bool,
) -> None:
    """Write a finished dump that links to the archives of others; whole or not at all.

    Args:
        data: the data directory whose utterances are needed.
        sources: by the name of their corpus.
        options: what is asked for, for the marker.
        allow_contaminated: take an encoder that was trained on the labels of a corpus.

    Raises:
        UserError: an encoder has seen the labels of a corpus; a dump lacks an utterance; or the
            directory was made otherwise, and `force` is false.
    """
    seen = {corpus: _exposure(corpus, s.dump, allow_contaminated) for corpus, s in sources.items()}
    inputs = {f"features of {corpus}": source.digest for corpus, source in sources.items()}
    inputs |= {t: sha256(data / t) for t in _TABLES[modality] if (data / t).exists()}
    if marker.check(directory, options, inputs, force=force, archives=True) is marker.State.DONE:
        log.info("%s: already made, skipping", directory)
        return
    utts = sorted(read_table(data / "utt2spk"))
    frontend = Frontend.read(next(iter(sources.values())).dump)
    exposure = ", ".join(f"{corpus} {value}" for corpus, value in seen.items())
    links: dict[str, Path] = {}
    with atomic_directory(directory) as temporary:
        tables: dict[str, dict[str, str]] = {}
        for corpus, source in sources.items():
            for name, rows in _tables(corpus, source, utts, directory, links).items():
                tables.setdefault(name, {}).update(rows)
        for name, rows in tables.items():
            if rows:
                write_table(temporary / name, rows)
        for name, archive in links.items():
            (temporary / name).symlink_to(archive.resolve())
        replace(frontend, exposure=exposure).write(temporary)
        marker.finish(temporary, options, inputs)
        _make_relative(temporary, directory, links)
    log.info("%s: %d utterances, linked to %s", directory, len(utts), _named(sources))


def _named(sources: Mapping[str, Source]) -> str:
    return ", ".join(str(source.dump) for source in sources.values())


def _exposure(corpus: str, dump: Path, allow: bool) -> str:
    """Look up what a dump says that its encoder saw of its corpus; refuse its labels."""
    frontend = Frontend.read(dump)
    if frontend.exposure == LABELS and not allow:
        raise UserError(
            f"{frontend.name} was trained on the emotion labels of {corpus} "
            f"({dump}/frontend.yaml), so its results there would mean nothing; take another "
            "encoder, or, to compare all the same, --allow_contaminated true"
        )
    return frontend.exposure or UNKNOWN


def _tables(
    corpus: str, source: Source, utts: Collection[str], directory: Path, links: dict[str, Path]
) -> dict[str, dict[str, str]]:
    """Give the rows of one corpus, under the new ids, and add its archives to `links`."""
    n = len(source.prefix)
    own = [utt[n:] for utt in utts if utt.startswith(source.prefix)]
    path = source.dump / "skipped"
    skipped = read_table(path) if path.exists() else {}
    there = [utt for utt in own if utt not in skipped]
    places = {
        utt: parse(utt, place) for utt, place in entries(source.dump / "feats.scp", there).items()
    }
    archives = dict.fromkeys(archive for archive, _ in places.values())
    names = {a: f"raw_{corpus}.{i}{marker.ARCHIVE}" for i, a in enumerate(archives, start=1)}
    links |= {name: Path(archive) for archive, name in names.items()}
    where, frames = directory.resolve(), read_table(source.dump / "utt2num_frames")
    new = {
        "feats.scp": {u: f"{where}/{names[archive]}:{at}" for u, (archive, at) in places.items()},
        "utt2num_frames": {utt: frames[utt] for utt in there},
        "skipped": {utt: why for utt, why in skipped.items() if utt in set(own)},
    }
    return {
        name: {f"{source.prefix}{utt}": value for utt, value in rows.items()}
        for name, rows in new.items()
    }


def _make_relative(temporary: Path, directory: Path, links: Mapping[str, Path]) -> None:
    """Let links start from where the directory will be, so that all may be moved together."""
    for name, archive in links.items():
        (temporary / name).unlink()
        target = os.path.relpath(archive.resolve(), directory.resolve())
        (temporary / name).symlink_to(target)
