"""Make the posteriors of another toolkit a row of the tables, tested on the same folds.

One file for all folds, or one for each; every utterance that a fold tests must be there once, under
the label of the data directory. Stages 7 and 8 then score them, and mark them as imported.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import path_part
from cfia.training.task_list import seed

EXAMPLE = """cfia import_posteriors --system wav2vec2_ft --scheme session fold*/posteriors.tsv
  ./run.sh --stage 7"""


def main(argv: Sequence[str] | None = None) -> None:
    """Check and copy posteriors; see `cfia.scoring.import_posteriors`."""
    p = parser("import_posteriors", __doc__, EXAMPLE)
    p.add_argument("--system", type=path_part, required=True, help="the name of their row")
    p.add_argument(
        "--scheme", type=path_part, required=True, help="the fold lists: a directory of data/folds"
    )
    p.add_argument("--seed", type=seed, default=1, help="of all these files [1]")
    p.add_argument("--data", type=Path, default=Path("data/all"), help="[data/all]")
    p.add_argument("--folds", type=Path, default=Path("data/folds"), help="[data/folds]")
    p.add_argument("--expdir", type=Path, default=Path("exp"), help="[exp]")
    p.add_argument("--corpus", default=Path.cwd().name, help="[the recipe's name]")
    p.add_argument("--force", type=boolean, default=False, help="replace what is there")
    p.add_argument("files", type=Path, nargs="+", metavar="file", help="a posteriors.tsv")
    args = p.parse_args(argv)

    from cfia.scoring.import_posteriors import Request, import_posteriors

    words = ["cfia", "import_posteriors", *(sys.argv[2:] if argv is None else argv)]
    request = Request(
        directory=args.expdir / args.system / args.scheme,
        data=args.data,
        folds=args.folds / args.scheme,
        files=args.files,
        seed=args.seed,
        corpus=args.corpus,
        command=shlex.join(map(str, words)),
    )
    import_posteriors(request, force=args.force)


if __name__ == "__main__":
    run(main)
