"""List the experiments under exp/, or remove one, so that a trial leaves no row in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = """cfia experiments
  cfia experiments --remove cfia_net_fbank_minilm_try/session"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table, or remove a directory; see `cfia.report.experiments`."""
    p = parser("experiments", __doc__, EXAMPLE)
    p.add_argument("--expdir", type=Path, default=Path("exp"), help="[exp]")
    p.add_argument("--remove", metavar="SYSTEM/SCHEME", help="this one, all folds and seeds")
    args = p.parse_args(argv)

    from cfia.report.experiments import listing, remove

    if args.remove is None:
        print(listing(args.expdir), end="")
    else:
        remove(args.expdir, args.remove)


if __name__ == "__main__":
    run(main)
