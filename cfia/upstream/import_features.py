"""Make features from elsewhere, a Kaldi feats.scp, into a finished dump."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfia import marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.files import sha256, stat_digest
from cfia.frontend import Frontend
from cfia.kaldi.archive import entry, parse, read_entry
from cfia.kaldi.archives import Archives
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import imported, registry

SOURCE = "features from elsewhere"
LEAST_KEPT = 0.95  # as of a dump of our own with --skip_bad true

Matrix = NDArray[Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is to be imported.

    Attributes:
        scp: `<utterance> <archive>:<offset>` a line, as Kaldi writes it.
        name: what the encoder is called from now on, as in --audio_upstream.
        modality: "audio" or "text".
        frame_shift: seconds; None: it is looked up (`_frame_shift`).
        data: a data directory whose utterances are needed; None takes all of the scp.
        skip_bad: go on, and list them, where a few of `data` have no features.
        link: leave the archives where they are, and link to them.
        exposure: what the encoder saw of the corpus, as in conf/exposure.yaml.
    """

    scp: Path
    name: str
    modality: str
    frame_shift: float | None = None
    data: Path | None = None
    skip_bad: bool = False
    link: bool = False
    exposure: str = "unknown"


def import_features(request: Request, directory: Path, *, force: bool) -> None:
    """Write a finished dump, whole or not at all; one utterance at a time is in memory.

    Raises:
        UserError: the name is that of an encoder of our own; the scp is malformed, an archive
            missing or cut, a matrix empty, not finite or of another width than the first; the
            frame shift is not known; utterances are missing; or the directory was made otherwise
            and `force` is false.
    """
    if request.name in registry.FAMILIES:
        raise UserError(
            f"--name {request.name}: that is an encoder of cfia, which stages 3 and 4 run; choose "
            f"another name, such as my_{request.name}"
        )
    scp = read_table(request.scp)
    kept, skipped = _select(request, scp)
    options, inputs = _marked(request, scp)
    if marker.check(directory, options, inputs, force=force, archives=True) is marker.State.DONE:
        log.info("%s: already made, skipping", directory)
        return
    matrices = ((utt, read_entry(utt, place)) for utt, place in kept.items())
    describe = partial(_frontend, request)
    links = kept if request.link else None
    write_dump(directory, matrices, describe, options, inputs, skipped=skipped, links=links)


def _frontend(request: Request, dim: int, frames: Mapping[str, int]) -> Frontend:
    return Frontend(
        kind=request.modality,
        name=request.name,
        model=None,
        revision=None,
        layer=None,
        dim=dim,
        frame_shift=_frame_shift(request, frames) if request.modality == "audio" else None,
        sample_rate=None,
        weights=None,
        identity=SOURCE,
        exposure=request.exposure,
    )


def _select(request: Request, scp: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Select the lines of the scp that are needed, and list those utterances that have none."""
    if request.data is None:
        return dict(sorted(scp.items())), {}
    needed = sorted(read_table(request.data / "utt2spk"))
    skipped = {utt: f"{request.scp} has no features of it" for utt in needed if utt not in scp}
    few = len(skipped) <= (1 - LEAST_KEPT) * len(needed)
    if skipped and not (request.skip_bad and few):
        way_out = "; --skip_bad true leaves them out" if few else ""
        raise UserError(
            f"{request.scp} lacks {min(skipped)} of {request.data} (one of {len(skipped)} of "
            f"{len(needed)}){way_out}"
        )
    if skipped:
        log.warning("left out for lack of features: %s", " ".join(skipped))
    return {utt: scp[utt] for utt in needed if utt in scp}, skipped


def _marked(request: Request, scp: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the options and inputs of the marker: archives count by name, size and time."""
    archives = [Path(archive) for archive in sorted({parse(u, p)[0] for u, p in scp.items()})]
    for archive in archives:
        if not archive.is_file():
            raise UserError(
                f"{request.scp} names the archive {archive}, which is not there (a relative path "
                "starts from this directory, as in Kaldi); correct the path"
            )
    options = {
        f"{request.modality}_upstream": request.name,
        imported.OPTION: SOURCE,
        "frame_shift": request.frame_shift,
        "link": request.link,
        "skip_bad": request.skip_bad,
        "exposure": request.exposure,
    }
    inputs = {"scp": sha256(request.scp), "archives": stat_digest(archives, request.scp.parent)}
    if request.data:
        inputs["utt2spk"] = sha256(request.data / "utt2spk")
    return options, inputs


def _frame_shift(request: Request, frames: Mapping[str, int]) -> float | None:
    """Find the seconds from one frame to the next; None where each utterance has one frame.

    A file `frame_shift` beside the scp is believed, as Kaldi's get_frame_shift.sh does; otherwise
    durations over frames, to the millisecond, since the last frame's window ends a bit later.
    """
    if request.frame_shift is not None or set(frames.values()) == {1}:
        return request.frame_shift
    beside = request.scp.parent
    if (beside / "frame_shift").is_file():
        with contextlib.suppress(ValueError):
            return float((beside / "frame_shift").read_text(encoding="utf-8"))
    for table in (place / "utt2dur" for place in (beside, request.data) if place):
        if table.is_file():
            seconds = read_table(table)
            shifts = [float(seconds[utt]) / n for utt, n in frames.items() if utt in seconds]
            if shifts:
                shift = round(statistics.median(shifts), 3)
                log.info("frame shift: %g s, by the durations of %s", shift, table)
                return shift
    raise UserError(
        f"nothing says how many seconds lie between two frames of {request.scp}; give "
        "--frame_shift, such as 0.01, or --data with its durations (utt2dur)"
    )


def write_dump(
    directory: Path,
    matrices: Iterable[tuple[str, Matrix]],
    describe: Callable[[int, Mapping[str, int]], Frontend],
    options: dict[str, Any],
    inputs: dict[str, str],
    *,
    skipped: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> None:
    """Write a finished dump of matrices that others have made; whole or not at all.

    Args:
        matrices: utterance and matrix (frames, dim), one in memory at a time.
        describe: makes the frontend, of the width and of the number of frames by utterance.
        skipped: utterances without features, and why.
        links: utterance -> `<archive>:<offset>`, of archives that are linked to, not copied.

    Raises:
        UserError: a matrix is empty, not finite, or not as wide as the first.
    """
    shapes: dict[str, tuple[int, int]] = {}
    checked = _checked(matrices, shapes)
    name = options.get("audio_upstream") or options["text_upstream"]
    with atomic_directory(directory) as temporary:
        if links is None:
            offsets = _write_archive(checked, temporary / f"raw_{name}.1.ark")
            places = {utt: f"raw_{name}.1.ark:{offset}" for utt, offset in offsets.items()}
        else:
            collections.deque(checked, maxlen=0)
            places = _link(links, temporary, f"raw_{name}")
        where = directory.resolve()
        write_table(temporary / "feats.scp", {utt: f"{where}/{p}" for utt, p in places.items()})
        frames = {utt: n for utt, (n, _) in shapes.items()}
        write_table(temporary / "utt2num_frames", {utt: str(n) for utt, n in frames.items()})
        if skipped:
            write_table(temporary / "skipped", skipped)
        dim = next(iter(shapes.values()))[1]
        describe(dim, frames).write(temporary)
        marker.finish(temporary, options, inputs)
    log.info("%s: %d utterances, %d frames", directory, len(frames), sum(frames.values()))


def _checked(
    matrices: Iterable[tuple[str, Matrix]], shapes: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, Matrix]]:
    """Check each matrix and note its shape in `shapes`, on its way."""
    for utterance, values in matrices:
        matrix = np.ascontiguousarray(values, dtype=np.float32)
        if not matrix.size:
            raise UserError(f"the features of {utterance} are empty; make them again")
        if not np.isfinite(matrix).all():
            raise UserError(f"a frame of {utterance} is not finite; make its features again")
        _, width = shapes[utterance] = matrix.shape
        first, (_, expected) = next(iter(shapes.items()))
        if width != expected:
            raise UserError(
                f"frames of {utterance} have {width} dimensions and those of {first} "
                f"{expected}; make all with one encoder"
            )
        yield utterance, matrix


def _write_archive(matrices: Iterable[tuple[str, Matrix]], path: Path) -> dict[str, int]:
    """Write an archive; utterance -> where its matrix begins."""
    offsets = {}
    with path.open("wb") as handle:
        for utterance, matrix in matrices:
            data, begin = entry(utterance, matrix)
            offsets[utterance] = handle.tell() + begin
            handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    return offsets


def _link(links: Mapping[str, str], directory: Path, name: str) -> dict[str, str]:
    """Link to each archive once; utterance -> link and offset.

    Raises:
        UserError: an entry is a vector, which training cannot read as a matrix of one frame.
    """
    places = {utt: parse(utt, value) for utt, value in links.items()}
    archives = dict.fromkeys(archive for archive, _ in places.values())
    names = {archive: f"{name}.{i}.ark" for i, archive in enumerate(archives, start=1)}
    for archive, link in names.items():
        (directory / link).symlink_to(Path(archive).resolve())
    with Archives(links) as opened:
        for utterance in links:
            try:
                opened.shape(utterance)
            except UserError:
                raise UserError(
                    f"the entry of {utterance} is a vector, not a matrix; import it without --link"
                ) from None
    return {utt: f"{names[archive]}:{offset}" for utt, (archive, offset) in places.items()}
