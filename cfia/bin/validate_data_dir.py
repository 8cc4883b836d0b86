"""Check a Kaldi data directory: its tables, their order, and that they agree.

Exits with 0 if it is valid, 1 if it is not, 2 on a usage error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cfia.cli import parser, run
from cfia.errors import UserError
from cfia.kaldi.validate import PROGRAM, Wanted, success, validate


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, check one data directory, say what was found."""
    p = parser("validate_data_dir", __doc__, f"utils/{PROGRAM} --no-feats data/all")
    p.prog = PROGRAM
    p.add_argument("--no-feats", action="store_true", help="feats.scp need not be there")
    p.add_argument("--no-text", action="store_true", help="text need not be there")
    p.add_argument("--no-wav", action="store_true", help="wav.scp need not be there")
    p.add_argument(
        "--no-spk-sort",
        action="store_true",
        help="utterance ids need not start with the speaker's id and sort by it",
    )
    p.add_argument(
        "--non-print", action="store_true", help="text may hold non-printable characters"
    )
    p.add_argument("data_dir", help="the data directory")
    args = p.parse_args(argv)
    wanted = Wanted(
        feats=not args.no_feats,
        text=not args.no_text,
        wav=not args.no_wav,
        spk_sort=not args.no_spk_sort,
        non_print=args.non_print,
    )
    try:
        validate(args.data_dir, wanted)
    except UserError as error:  # Kaldi's own words, without the prefix that `run` would add
        print(error, file=sys.stderr)
        sys.exit(1)
    print(success(args.data_dir))


if __name__ == "__main__":
    run(main)
