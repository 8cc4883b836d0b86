"""Write the train, validation and test lists of every scheme that a corpus has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import VALIDATIONS

log = logging.getLogger(__name__)

SCHEMES = ("session", "speaker")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, write and check the folds of each scheme."""
    p = parser("folds", __doc__, "python -m cfia.bin.folds --data data/all --out data/folds")
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--out", type=Path, required=True, help="where the schemes' directories go")
    p.add_argument("--validation", choices=VALIDATIONS, default="random20")
    p.add_argument("--cv", choices=SCHEMES, default="session", help="the scheme that must be there")
    p.add_argument(
        "--scheme_suffix",
        help="what follows the scheme in its directory's name [-<validation> if not random20]",
    )
    p.add_argument("--force", type=boolean, default=False, help="make them again")
    args = p.parse_args(argv)

    from cfia.kaldi.data_dir import DataDir
    from cfia.training.folds import ImpossibleError, MissingClassError, make_scheme

    suffix = args.scheme_suffix
    if suffix is None:
        suffix = "" if args.validation == "random20" else f"-{args.validation}"
    data = DataDir.load(args.data, needed=())
    for cv in sorted(SCHEMES, key=lambda name: name != args.cv):
        try:
            make_scheme(data, args.out / f"{cv}{suffix}", cv, args.validation, force=args.force)
        except ImpossibleError as error:
            if cv == args.cv:
                p.error(str(error))
            log.info("no folds by %s: %s", cv, error)
        except MissingClassError as error:
            if cv == args.cv:
                raise
            log.warning("no folds by %s: %s", cv, error)


if __name__ == "__main__":
    run(main)
