"""Score all tested experiments (stage 7), or one posteriors.tsv from any toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = """cfia score --expdir exp
  cfia score posteriors.tsv --clusters data/all/utt2spk --json scores.json"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write a scores.json per experiment, or print the scores of one file."""
    p = parser("score", __doc__, EXAMPLE)
    p.add_argument("file", type=Path, nargs="?", help="a posteriors.tsv")
    p.add_argument("--expdir", type=Path, help="score every <system>/<scheme> in this directory")
    p.add_argument("--clusters", type=Path, help="table of utterance and speaker: whose utterances")
    p.add_argument("--json", type=Path, help="write the scores of the file here as well")
    args = p.parse_args(argv)
    if (args.file is None) == (args.expdir is None):
        p.error("give either a posteriors.tsv or --expdir")
    if args.expdir and (args.clusters or args.json):
        p.error("--clusters and --json go with a posteriors.tsv, not with --expdir")
    if args.expdir:
        from cfia.scoring.scores_file import score_all

        score_all(args.expdir)
    else:
        from cfia.report.one_file import score_file

        print(score_file(args.file, args.clusters, args.json), end="")


if __name__ == "__main__":
    run(main)
