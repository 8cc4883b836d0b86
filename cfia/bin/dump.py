"""Extract the features of one job of a dump (stages 3 and 4).

The job is one that `cfia dump_plan` has planned. Killed and run again, it goes on behind the last
batch that was finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import add_ngpu, parser, run
from cfia.directories import reading


def main(argv: Sequence[str] | None = None) -> None:
    """Run a job of a dump; see `cfia.upstream.dump.run_job`."""
    p = parser("dump", __doc__, "cfia dump --data data/all --dir dump/fbank --job 1")
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--dir", type=Path, required=True, help="the dump directory")
    p.add_argument("--job", type=int, required=True, help="the job's number, from 1")
    add_ngpu(p, "run networks on a GPU; other processes decode")
    args = p.parse_args(argv)

    from cfia.upstream.dump import run_job
    from cfia.upstream.dump_plan import Plan
    from cfia.upstream.inputs import read_data

    settings = Plan.load(args.dir).settings
    with reading(args.data):
        data = read_data(args.data, settings.choice.modality, settings.text)
        run_job(args.dir, data, args.job, "cuda" if args.ngpu else "cpu")


if __name__ == "__main__":
    run(main)
