"""Write the train, validation and test lists of schemes (stage 2)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import split_folds_scheme
from cfia.options import SCHEMES, cv, validation

EXAMPLE = "cfia folds --data data/all --out data/folds session speaker-partner kfold5-random10"

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Write and check the folds of each scheme that the corpus allows."""
    p = parser("folds", __doc__, EXAMPLE)
    p.add_argument(
        "schemes", nargs="*", default=SCHEMES, help="<cv>[-<validation>] [session speaker]"
    )
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--out", type=Path, required=True, help="where the schemes' directories go")
    p.add_argument("--need", default="", help="the scheme that must be possible")
    p.add_argument("--suffix", default="", help="what ends the directories' names")
    p.add_argument("--force", type=boolean, default=False, help="make them again")
    args = p.parse_args(argv)
    for scheme in args.schemes:
        for check, value in zip((cv, validation), split_folds_scheme(scheme), strict=True):
            if wrong := check(value):
                p.error(f"{scheme}: {value!r}; {wrong}")

    from cfia.kaldi.data_dir import DataDir
    from cfia.training.folds import TABLES, MissingClassError, make_scheme
    from cfia.training.schemes import ImpossibleError, refuse_many_folds

    data = DataDir.load(args.data, needed=(), only=TABLES)
    for scheme in args.schemes:
        directory = args.out / f"{scheme}{args.suffix}"
        try:
            if args.need and scheme != args.need:
                refuse_many_folds(data, split_folds_scheme(scheme)[0])
            make_scheme(data, directory, *split_folds_scheme(scheme), force=args.force)
        except ImpossibleError as error:
            if scheme == args.need:
                p.exit(2, f"error: {error}\n")
            log.info("no folds by %s: %s", scheme, error)
        except MissingClassError as error:
            if scheme == args.need:
                raise
            log.warning("no folds by %s: %s", scheme, error)


if __name__ == "__main__":
    run(main)
