"""Recognise the utterances of one job (stage 4, --text_source asr).

The job is one that `cfia asr_plan` has planned. Killed and run again, it goes on behind the last
utterance that was finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import add_ngpu, parser, run
from cfia.directories import reading

EXAMPLE = "cfia asr --data data/all --dir data/all/asr/pocketsphinx --job 1"


def main(argv: Sequence[str] | None = None) -> None:
    """Run a job; see `cfia.asr.job.run_job`."""
    p = parser("asr", __doc__, EXAMPLE)
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument("--dir", type=Path, required=True, help="the recogniser's directory in it")
    p.add_argument("--job", type=int, required=True, help="the job's number, from 1")
    add_ngpu(p, "run networks on a GPU")
    args = p.parse_args(argv)

    from cfia.asr.job import run_job
    from cfia.kaldi.data_dir import DataDir

    with reading(args.data):
        data = DataDir.load(args.data, ("wav.scp",))
        run_job(args.dir, data, args.job, "cuda" if args.ngpu else "cpu")


if __name__ == "__main__":
    run(main)
