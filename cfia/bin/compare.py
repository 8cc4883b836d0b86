"""Test whether two systems differ, from their posteriors of the same utterances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = "cfia compare a/posteriors.tsv b/posteriors.tsv --clusters data/all/utt2spk"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the scores of both, their difference and its p-values."""
    p = parser("compare", __doc__, EXAMPLE)
    p.add_argument("file_a", type=Path, help="a posteriors.tsv")
    p.add_argument("file_b", type=Path, help="another, of the same utterances")
    p.add_argument("--clusters", type=Path, help="table of utterance and speaker: whose utterances")
    args = p.parse_args(argv)
    from cfia.report.one_file import compare_files

    print(compare_files(args.file_a, args.file_b, args.clusters), end="")


if __name__ == "__main__":
    run(main)
