"""Test whether two systems differ, from their posteriors of the same utterances.

A system is a posteriors.tsv, an experiment's directory exp/<system>/<scheme>, or several files:
those of the same utterances are its seeds, those without a common one its folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = """cfia compare a/posteriors.tsv b/posteriors.tsv --clusters data/all/utt2spk
  cfia compare exp/cfia_net_fbank/session exp/cfia_net_minilm/session
  cfia compare a1.tsv a2.tsv a3.tsv --with b1.tsv b2.tsv b3.tsv --clusters data/all/utt2spk"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the scores of both, their difference and its p-values."""
    p = parser("compare", __doc__, EXAMPLE)
    p.add_argument(
        "systems", type=Path, nargs="+", metavar="system",
        help="two systems, each a file or an experiment's directory; or the files of the first",
    )  # fmt: skip
    p.add_argument("--with", dest="others", type=Path, nargs="+", help="the files of the second")
    p.add_argument("--clusters", type=Path, help="table of utterance and speaker: whose utterances "
                   "(by default that of an experiment)")  # fmt: skip
    args = p.parse_args(argv)
    if args.others is None and len(args.systems) != 2:
        p.error("give two systems, or the files of one and then --with and those of the other")
    first, second = (args.systems, args.others) if args.others else ([x] for x in args.systems)
    from cfia.report.from_files import compare_files

    print(compare_files(first, second, args.clusters), end="")


if __name__ == "__main__":
    run(main)
