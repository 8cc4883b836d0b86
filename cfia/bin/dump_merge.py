"""Merge the jobs of a dump into one feats.scp (stages 3 and 4).

It also checks that no utterance is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia import lock
from cfia.cli import parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Finish a dump; see `cfia.upstream.merge.merge`."""
    p = parser("dump_merge", __doc__, "cfia dump_merge --dir dump/fbank")
    p.add_argument("--dir", type=Path, required=True, help="the dump directory")
    args = p.parse_args(argv)

    from cfia.upstream.merge import merge

    with lock.making(args.dir):
        merge(args.dir)


if __name__ == "__main__":
    run(main)
