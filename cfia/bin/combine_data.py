"""Put data directories together: the tables that all of them have, sorted.

A key that is in two of them must have the same line in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, run
from cfia.kaldi import edit
from cfia.kaldi.combine import combine

PROGRAM = "combine_data.sh"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, combine the data directories."""
    p = edit.tool_parser(PROGRAM, __doc__, "data/both data/emodb data/iemocap")
    p.usage = f"{PROGRAM} [--extra-files 'f1 f2'] [--skip-fix] <dest> <src1> [<src2> ...]"
    p.add_argument("--extra-files", default="", metavar="'F ...'", help="more tables of utterances")
    p.add_argument("--skip-fix", type=boolean, default=False, help="do not fix the result")
    p.add_argument("dest", type=Path, help="the data directory to write")
    p.add_argument("sources", type=Path, nargs="+", help="the data directories to combine")
    args = p.parse_args(edit.kaldi_arguments(argv, ("--extra-files",), ("--skip-fix",)))
    with edit.errors_of(PROGRAM):
        number = combine(
            args.dest,
            args.sources,
            edit.file_names(args.extra_files),
            skip_fix=args.skip_fix,
            warn=lambda message: edit.warn(PROGRAM, message),
        )
    print(
        f"{PROGRAM}: combined {len(args.sources)} data directories into {args.dest}, "
        f"{number} utterances"
    )


if __name__ == "__main__":
    run(main)
