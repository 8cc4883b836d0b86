"""Train and test the runs of a study that one job has to work off."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cfia.bin import posteriors as predict
from cfia.bin import train
from cfia.cli import parser, run
from cfia.study.tasks import read_list, work

EXAMPLE = "cfia study_run --tasks exp/study/paper/tasks --job 1 --jobs 2"


def main(argv: Sequence[str] | None = None) -> None:
    """Work off every `jobs`-th task of a list; exit with 1 if one failed, after all have run."""
    p = parser("study_run", __doc__ or "", EXAMPLE)
    p.add_argument("--tasks", type=Path, required=True, help="a list that `cfia study tasks` wrote")
    p.add_argument("--job", type=int, required=True, help="which job this is, from 1")
    p.add_argument("--jobs", type=int, required=True, help="how many there are")
    args = p.parse_args(argv)
    if work(read_list(args.tasks, args.job, args.jobs), _run):
        sys.exit(1)


def _run(task: Sequence[str]) -> None:
    train.main(task)
    args = train.arguments().parse_args(task)
    options = {"feature_cache": args.feature_cache, "ngpu": args.ngpu}
    flags = [f"--{name}={value}" for name, value in options.items()]
    predict.main([*flags, "--force", str(args.force).lower(), str(args.directory)])


if __name__ == "__main__":
    run(main)
