"""Stage 6: the posteriors of a trained fold's test utterances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import CACHES
from cfia.training.training import predict, read_job


def main(argv: Sequence[str] | None = None) -> None:
    """Write posteriors.tsv beside the checkpoint, or skip."""
    p = parser(
        "predict",
        __doc__ or "",
        "python -m cfia.bin.posteriors exp/cfia_net_fbank/session/fold1_seed1",
    )
    p.add_argument("directory", type=Path, help="a directory that stage 5 made")
    p.add_argument("--ngpu", type=int, default=0, choices=(0, 1))
    p.add_argument("--feature_cache", default="auto", choices=CACHES)
    p.add_argument("--force", type=boolean, default=False, help="predict again if made differently")
    args = p.parse_args(argv)
    predict(read_job(args.directory, args.feature_cache), args.ngpu, force=args.force)


if __name__ == "__main__":
    run(main)
