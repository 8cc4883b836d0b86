"""Merge what the jobs have recognised into one text (stage 4, --text_source asr).

Where the corpus has transcripts, it also counts the word errors: wer.json, wer.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia import lock
from cfia.cli import parser, run
from cfia.directories import reading


def main(argv: Sequence[str] | None = None) -> None:
    """Finish a recogniser's text; see `cfia.asr.merge.merge`."""
    example = "cfia asr_merge --data data/all --dir data/all/asr/pocketsphinx"
    p = parser("asr_merge", __doc__, example)
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--dir", type=Path, required=True, help="the recogniser's directory in it")
    args = p.parse_args(argv)

    from cfia.asr.merge import merge
    from cfia.kaldi.data_dir import DataDir

    with reading(args.data), lock.making(args.dir):
        merge(args.dir, DataDir.load(args.data, ("wav.scp",)))


if __name__ == "__main__":
    run(main)
