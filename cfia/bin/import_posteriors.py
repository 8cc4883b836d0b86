"""Make the posteriors of another toolkit a row of the tables, tested on the same folds.

One file for all folds, or one for each; every utterance that a fold tests must be there once, under
the label of the data directory. Stages 7 and 8 then score them, and mark them as imported.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import checked

EXAMPLE = """cfia import_posteriors --system wav2vec2_ft --scheme session fold*/posteriors.tsv
  ./run.sh --stage 7"""


def main(argv: Sequence[str] | None = None) -> None:
    """Check and copy posteriors; see `cfia.scoring.import_posteriors`."""
    p = parser("import_posteriors", __doc__, EXAMPLE)
    p.add_argument("--system", required=True, help="the name of their row")
    p.add_argument("--scheme", required=True, help="the fold lists: a directory of data/folds")
    p.add_argument("--seed", type=_number, default=1, help="of all these files [1]")
    p.add_argument("--data", type=Path, default=Path("data/all"), help="[data/all]")
    p.add_argument("--folds", type=Path, default=Path("data/folds"), help="[data/folds]")
    p.add_argument("--expdir", type=Path, default=Path("exp"), help="[exp]")
    p.add_argument("--force", type=boolean, default=False, help="replace what is there")
    p.add_argument("files", type=Path, nargs="+", metavar="file", help="a posteriors.tsv")
    args = p.parse_args(argv)

    from cfia.scoring.import_posteriors import Request, import_posteriors

    system = checked(args.system, f"--system {args.system}")
    scheme = checked(args.scheme, f"--scheme {args.scheme}")
    words = ["cfia", "import_posteriors", *(sys.argv[2:] if argv is None else argv)]
    request = Request(
        directory=args.expdir / system / scheme,
        data=args.data,
        folds=args.folds / scheme,
        files=args.files,
        seed=args.seed,
        corpus=Path.cwd().name,
        command=shlex.join(map(str, words)),
    )
    import_posteriors(request, force=args.force)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return int(text)


if __name__ == "__main__":
    run(main)
