"""The gate pictures of some utterances: where a trained network listens, and where it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = """cfia gates --utts "Ses01F-impro01-000 Ses01M-impro01-001" \\
      exp/cfia_net_emotion2vec_bert/session/fold1_seed1"""


def main(argv: Sequence[str] | None = None) -> None:
    """Draw one picture per utterance and print the names of the files."""
    p = parser("gates", __doc__ or "", EXAMPLE)
    p.add_argument("directory", type=Path, help="a directory that stage 5 made")
    p.add_argument("--utts", required=True, help="utterance ids, separated by blanks")
    p.add_argument("--out", type=Path, help="where the pictures go (default: gates/ in there)")
    args = p.parse_args(argv)
    utts = list(dict.fromkeys(args.utts.replace(",", " ").split()))
    if not utts:
        p.error("--utts names no utterance")
    from cfia.figures.gates import draw_all
    from cfia.training.audio_weights import audio_weights
    from cfia.training.training import read_job

    job = read_job(args.directory)
    system = f"{job.facts['system']}, {job.facts['scheme']}, fold {job.fold}, seed {job.seed}"
    out = args.out or args.directory / "gates"
    for path in draw_all(job.data, audio_weights(job, utts), system, out):
        print(path)


if __name__ == "__main__":
    run(main)
