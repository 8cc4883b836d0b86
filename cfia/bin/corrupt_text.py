"""Write gold text with word errors as a recogniser makes them (stage 4 of the study asr)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfia import lock
from cfia.checks import number
from cfia.cli import boolean, parser, run
from cfia.directories import reading

EXAMPLE = (
    "cfia corrupt_text --data data/all --recognised data/all/asr/pocketsphinx --percent 10 "
    "--dir data/all/asr/pocketsphinx-errors10"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write a Kaldi text and its word error rate, or skip; see `cfia.asr.corrupted_text.make`."""
    p = parser("corrupt_text", __doc__, EXAMPLE)
    p.add_argument("--data", type=Path, required=True, help="the data directory, with gold text")
    p.add_argument("--recognised", type=Path, required=True, help="its asr/<model>")
    p.add_argument("--percent", type=_percent, required=True, help="the word error rate, 0 to 100")
    p.add_argument("--dir", type=Path, required=True, help="where the text goes")
    p.add_argument("--force", type=boolean, default=False, help="make it again")
    args = p.parse_args(argv)
    from cfia.asr.corrupted_text import make

    held = lock.making(args.dir, force=args.force)
    with held, reading(args.data, args.recognised):
        make(args.dir, args.data, args.recognised, args.percent, force=args.force)


def _percent(text: str) -> int:
    wrong = number(0, 100)(text)
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong}, not {text!r}")
    return int(text)


if __name__ == "__main__":
    run(main)
