"""Check a Kaldi data directory: its tables, their order, and that they agree.

Exits with 0 if it is valid, 1 if it is not, 2 on a usage error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cfia.cli import run
from cfia.errors import UserError
from cfia.kaldi import edit
from cfia.kaldi.validate import FLAGS, PROGRAM, Checks, success, validate


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, check one data directory, print the result."""
    p = edit.tool_parser(PROGRAM, __doc__, "--no-feats data/all")
    for name, flag in FLAGS.items():
        p.add_argument(name, action="store_false", dest=flag.check, help=flag.help)
    p.add_argument("data_dir", help="the data directory")
    args = p.parse_args(argv)
    checks = Checks(**{flag.check: getattr(args, flag.check) for flag in FLAGS.values()})
    try:
        validate(args.data_dir, checks, flags=True)
    except UserError as error:  # Kaldi's own words, without the prefix that `run` would add
        print(error, file=sys.stderr)
        sys.exit(1)
    print(success(args.data_dir))


if __name__ == "__main__":
    run(main)
