"""Score all tested experiments (stage 7), or the posteriors.tsv of a system of any toolkit.

A file has tabs between its columns: utt, ref (the label that is right) and the posterior of each
class, as its first line says. Files of the same utterances are seeds of one system, whose scores
are means over the seeds; files without a common utterance are its folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run

EXAMPLE = """cfia score --expdir exp
  cfia score posteriors.tsv --clusters data/all/utt2spk --json scores.json
  cfia score fold*_seed1/posteriors.tsv fold*_seed2/posteriors.tsv --clusters data/all/utt2spk"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write a scores.json per experiment, or print the scores of files."""
    p = parser("score", __doc__, EXAMPLE)
    p.add_argument(
        "files", type=Path, nargs="*", metavar="file", help="posteriors.tsv of one system"
    )
    p.add_argument("--expdir", type=Path, help="score every <system>/<scheme> in this directory")
    p.add_argument("--clusters", type=Path, help="table of utterance and speaker: whose utterances")
    p.add_argument(
        "--partial",
        type=boolean,
        default=False,
        help="in --expdir, score the folds there are where some are missing",
    )
    p.add_argument("--json", type=Path, help="write the scores of the files here as well")
    args = p.parse_args(argv)
    if bool(args.files) == bool(args.expdir):
        p.error("give either posteriors.tsv files or --expdir")
    if args.expdir and (args.clusters or args.json):
        p.error("--clusters and --json go with a posteriors.tsv, not with --expdir")
    if args.expdir:
        from cfia.experiment import results_held
        from cfia.scoring.scores_file import score_all

        with results_held(args.expdir):
            score_all(args.expdir, partial=args.partial)
    else:
        from cfia.report.from_files import score_files

        print(score_files(args.files, args.clusters, args.json), end="")


if __name__ == "__main__":
    run(main)
