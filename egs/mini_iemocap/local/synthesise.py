"""Make the synthetic corpus, unless it is there: the program of `local/corpus.sh`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cfia import cli, directories, files, lock, marker
from cfia.errors import UserError

_HERE = Path(__file__).parent
_FEWEST = 8  # fewer, and a speaker would lack a class


def main(argv: Sequence[str] | None = None) -> None:
    """Make the corpus where its directory is not there yet, or was made otherwise."""
    args = _parse(argv)
    options = {"seed": args.seed, "utterances_per_speaker": args.utterances_per_speaker}
    sources = sorted([*_HERE.glob("*.py"), *_HERE.glob("*.yaml")])
    inputs = {path.name: files.sha256(path) for path in sources}
    _refuse_others(args.corpus_dir)
    with lock.making(args.corpus_dir, force=args.force):
        _make(args, options, inputs)


def _make(args: argparse.Namespace, options: dict[str, Any], inputs: dict[str, str]) -> None:
    if marker.check(args.corpus_dir, options, inputs, force=args.force) is marker.State.DONE:
        logging.info("corpus: already made, skipping")
        return
    # Numerical libraries take a second to import: not before they are needed.
    from egs.mini_iemocap.local import corpus

    with directories.atomic_directory(args.corpus_dir) as root:
        corpus.make(root, args.utterances_per_speaker, args.seed)
        marker.finish(root, options, inputs)
    logging.info("corpus: made %s", args.corpus_dir)


def _refuse_others(directory: Path) -> None:
    """Never replace what this program has not made, such as the real IEMOCAP."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    done = directory / marker.NAME
    if done.exists() and b"utterances_per_speaker" in done.read_bytes():
        return
    raise UserError(
        f"{directory} holds something that local/corpus.sh has not made; name another "
        "--corpus_dir, or start at --stage 1 if it is the real corpus"
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = cli.parser(
        "corpus",
        "Make a synthetic corpus of the shape of IEMOCAP_full_release with espeak-ng: five\n"
        "sessions, ten voices, four emotions. It proves the pipeline, nothing about accuracy.",
        "local/corpus.sh --seed 1 downloads/IEMOCAP_full_release",
    )
    parser.prog = "local/corpus.sh"
    parser.add_argument("corpus_dir", type=Path, help="the directory to make")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another corpus (1)")
    parser.add_argument(
        "--utterances_per_speaker",
        type=int,
        default=44,
        help="about this many; nine in ten have one of the four labels (44)",
    )
    parser.add_argument(
        "--force",
        type=cli.boolean,
        default=False,
        help="true: make it again, whatever is there (false)",
    )
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be 0 or more")
    if args.utterances_per_speaker < _FEWEST:
        parser.error(f"--utterances_per_speaker must be {_FEWEST} or more")
    return args


if __name__ == "__main__":
    cli.run(main)
