"""What makes a data directory, for its marker: options, and digests of the corpus and of code."""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import marker
from cfia.errors import UserError
from cfia.files import content_digest, sha256, stat_digest

if TYPE_CHECKING:
    from cfia.corpus.prepare import Corpus, Reader

log = logging.getLogger(__name__)

TIMES, CONTENTS = "corpus", "corpus's bytes"


def recorded(
    args: argparse.Namespace, root: Path, corpus: Corpus, audio: Collection[Path], reader: Reader
) -> tuple[dict[str, Any], dict[str, str]]:
    """List the options and inputs that decide on the bytes of the data directory.

    Args:
        args: the options of local/data.sh; root: the corpus's directory.
        audio: the files of the selected utterances; reader: what has read the corpus.
    """
    there = _marker(args)
    options = {
        "corpus_dir": _place(there, args.data_dir, root),
        "labels": args.labels,
        "text_tags": args.text_tags,
        "skip_bad": _skip_bad(there, args),
        "allow_partial": args.allow_partial,
    }
    files = [*corpus.files, *audio]
    inputs = {
        **_corpus_digests({} if args.force or not there else there.inputs, files, root),
        "label map": sha256(args.label_map),
        **corpus.inputs,
    }
    if args.text_file:
        inputs["text_file"] = sha256(args.text_file)
    return options, inputs | _code(reader)


def _corpus_digests(before: Mapping[str, str], files: list[Path], root: Path) -> dict[str, str]:
    """Digest the corpus: by sizes and times, and by what is in the files.

    Where times alone are others, as of a copy, what was recorded of them stands. So the files are
    read when a data directory is made, and when times differ.
    """
    times = stat_digest(files, root)
    if before.get(TIMES) == times or (before and CONTENTS not in before):
        return {**{name: before[name] for name in (CONTENTS,) if name in before}, TIMES: times}
    contents = content_digest(files, root)
    if before.get(CONTENTS) != contents:
        return {TIMES: times, CONTENTS: contents}
    log.info("%s: files have other times than before, and the same bytes", root)
    return {name: before[name] for name in (TIMES, CONTENTS)}


def _skip_bad(there: marker.Marker | None, args: argparse.Namespace) -> bool:
    """Name --skip_bad for the marker: as it was, where nothing was skipped and it is the same.

    So stage 1 takes its data directory for made when a later stage asks for --skip_bad true.
    """
    if there is None or args.force or (args.data_dir / "skipped").exists():
        return bool(args.skip_bad)
    return bool(there.options.get("skip_bad", args.skip_bad))


def _marker(args: argparse.Namespace) -> marker.Marker | None:
    """Read the marker; a broken one, which --force replaces, says nothing."""
    try:
        return marker.read(args.data_dir)
    except UserError:
        if args.force:
            return None
        raise


def _code(reader: Reader) -> dict[str, str]:
    """Digest the recipe's own code that reads the corpus: the script, and modules beside it."""
    script = Path(inspect.getfile(reader)).resolve()
    if script.parent == Path(__file__).resolve().parent:  # no recipe's
        return {}
    named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    found = [Path(name) for name in named if name]
    folders = {path.parent for path in found}  # a few hundred, of thousands of modules
    near = {folder for folder in folders if folder.resolve().is_relative_to(script.parent)}
    files = {path.resolve() for path in found if path.parent in near} | {script}
    own = sorted(file for file in files if file.is_relative_to(script.parent))
    return {str(file.relative_to(script.parents[1])): sha256(file) for file in own}


def _place(there: marker.Marker | None, data_dir: Path, root: Path) -> str:
    """Name the corpus for the marker, so that it and the data directory may move together.

    One that lies in the recipe is named from there; one that moved with it, as it was named before.
    """
    here = Path.cwd().resolve()
    before = str(there.options.get("corpus_dir", "")) if there else ""
    if before and marker.finder(data_dir)(before) == str(root):
        return before
    return str(root.relative_to(here) if root.is_relative_to(here) else root)
