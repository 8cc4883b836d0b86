"""Draw where in an utterance a network weighs audio, and where text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = """cfia gates --utts "Ses01F-impro01-000 Ses01M-impro01-001" \\
      exp/cfia_net_emotion2vec_bert/session --fold 1"""


def main(argv: Sequence[str] | None = None) -> None:
    """Draw one picture per utterance and print the names of the files."""
    p = parser("gates", __doc__, EXAMPLE)
    p.add_argument("experiment", type=Path, help="exp/<system>/<scheme>, from the recipe")
    p.add_argument("--fold", type=int, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--utts", required=True, help="utterance ids, separated by blanks")
    p.add_argument("--out", type=Path, help="where the pictures go (default: gates/ in there)")
    args = p.parse_args(argv)
    utts = list(dict.fromkeys(args.utts.replace(",", " ").split()))
    if not utts:
        p.error("--utts names no utterance")
    from cfia import experiment
    from cfia.experiment import in_brackets
    from cfia.figures.gates import draw_all
    from cfia.training.audio_weights import audio_weights
    from cfia.training.training import Training

    training = Training(experiment.read(args.experiment), args.fold, args.seed)
    system, scheme = training.experiment.system, training.experiment.scheme
    system += in_brackets(training.experiment.words)
    title = f"{system}, {scheme}, fold {args.fold}, seed {args.seed}"
    data, out = training.experiment.parts["train"].data, args.out or training.directory / "gates"
    for path in draw_all(data, audio_weights(training, utts), title, out):
        print(path)


if __name__ == "__main__":
    run(main)
