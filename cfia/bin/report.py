"""Write RESULTS.md, tables and figures of all tested experiments (stage 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = "cfia report --expdir exp --corpus_conf conf/corpus.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files into the experiment directory and print the tables."""
    p = parser("report", __doc__, EXAMPLE)
    p.add_argument("--expdir", type=Path, required=True, help="where the experiments are")
    p.add_argument("--corpus_conf", type=Path, help="YAML with the corpus's title and note")
    args = p.parse_args(argv)
    from cfia.experiment import results_held
    from cfia.report.results_page import report

    with results_held(args.expdir):
        print(report(args.expdir, args.corpus_conf), end="")


if __name__ == "__main__":
    run(main)
