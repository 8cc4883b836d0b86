"""Plan the jobs that recognise the words of a corpus (stage 4, --text_source asr).

Prints the number of jobs: 0 if the text, DATA/asr/<recogniser>/text, is complete. Text that was
begun keeps its plan.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cfia import lock
from cfia.cli import boolean, parser, positive, run
from cfia.directories import reading
from cfia.options import LEGAL

if TYPE_CHECKING:
    from cfia.kaldi.data_dir import DataDir

EXAMPLE = "cfia asr_plan --data data/all --model pocketsphinx --nj 4"


def main(argv: Sequence[str] | None = None) -> None:
    """Plan jobs; see `cfia.asr.plan.make`. Prints their number."""
    p = parser("asr_plan", __doc__, EXAMPLE)
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument(
        "--model", required=True, help="the recogniser: pocketsphinx, a hub id or a directory"
    )
    p.add_argument(
        "--hub",
        choices=LEGAL["hub"],
        default="hf",
        help="where a hub id is looked up: Hugging Face or ModelScope (default: hf)",
    )
    p.add_argument("--nj", type=positive, default=1, help="the most jobs (default: 1)")
    p.add_argument("--num_threads", type=positive, default=1, help="per job (default: 1)")
    p.add_argument("--skip_bad", type=boolean, default=False, help="list unreadable audio, go on")
    p.add_argument("--force", type=boolean, default=False, help="recognise it again")
    args = p.parse_args(argv)

    from cfia.asr.plan import place
    from cfia.kaldi.data_dir import DataDir
    from cfia.naming import recogniser_name

    with reading(args.data):
        data = DataDir.load(args.data, ("wav.scp",))
        with lock.making(place(data.path, recogniser_name(args.model)), force=args.force):
            print(_plan(args, data))


def _plan(args: argparse.Namespace, data: DataDir) -> int:
    from cfia.asr import plan

    found = plan.find(data, args.model, args.hub, force=args.force)
    return plan.make(
        data,
        found,
        args.nj,
        num_threads=args.num_threads,
        skip_bad=args.skip_bad,
        force=args.force,
    )


if __name__ == "__main__":
    run(main)
