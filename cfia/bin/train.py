"""Stage 5: train one system on one fold with one seed."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.config import load
from cfia.naming import CACHES
from cfia.training.training import FACTS, Job, train

EXAMPLE = (
    "python -m cfia.bin.train --config conf/train.yaml ../../conf/cfia_net.yaml --fold 1 --seed 1 "
    "--data data/all --folds data/folds/session --audio_dump dump/fbank ... DIR"
)


def arguments() -> argparse.ArgumentParser:
    """The program's options."""
    p = parser("train", __doc__ or "", EXAMPLE)
    p.add_argument("directory", type=Path, help="where the training goes")
    p.add_argument("--config", type=Path, nargs="+", required=True, help="YAML, later files win")
    p.add_argument("--train_args", default="", help="`key=value ...`, which win over all files")
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--folds", type=Path, required=True, help="the scheme's fold lists")
    p.add_argument("--fold", type=int, required=True)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--audio_dump", type=Path, help="dump directory; not given: no audio")
    p.add_argument("--text_dump", type=Path, help="dump directory; not given: no text")
    p.add_argument("--selection", default="valid", choices=("valid", "last", "test"))
    for fact in FACTS:
        p.add_argument(f"--{fact}", default="", help="recorded in config.yaml, for the tables")
    p.add_argument("--feature_cache", default="auto", choices=CACHES)
    p.add_argument("--num_threads", type=int, default=1)
    p.add_argument("--ngpu", type=int, default=0, choices=(0, 1))
    p.add_argument(
        "--checkpoint_seconds", type=float, default=60.0,
        help="how often to write a checkpoint within an epoch; changes no result (default: 60)",
    )  # fmt: skip
    p.add_argument("--force", type=boolean, default=False, help="train again if made differently")
    return p


def make_job(args: argparse.Namespace) -> Job:
    """The training that the options describe."""
    dumps = {"audio": args.audio_dump, "text": args.text_dump}
    return Job(
        directory=args.directory,
        config=load(args.config, shlex.split(args.train_args)),
        data=args.data,
        folds=args.folds,
        fold=args.fold,
        seed=args.seed,
        selection=args.selection,
        num_threads=args.num_threads,
        dumps={name: path for name, path in dumps.items() if path},
        facts={fact: getattr(args, fact) for fact in FACTS},
        cache=args.feature_cache,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train, resume or skip."""
    p = arguments()
    args = p.parse_args(argv)
    job = make_job(args)
    if not job.dumps:
        p.error("give --audio_dump, --text_dump or both")
    train(job, args.ngpu, args.checkpoint_seconds, force=args.force)


if __name__ == "__main__":
    run(main)
