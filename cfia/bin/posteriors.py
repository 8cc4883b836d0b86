"""Write the posteriors of a training's test utterances, or of a list of trainings (stage 6)."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.cli import boolean, parser, run

EXAMPLE = "cfia posteriors exp/cfia_net_fbank/session --fold 1 --seed 1"


def main(argv: Sequence[str] | None = None) -> None:
    """Write posteriors.tsv beside the checkpoint, or skip."""
    from cfia.training import task_list
    from cfia.training.tested import write_posteriors

    p = parser("posteriors", __doc__, EXAMPLE)
    task_list.add_arguments(p)
    p.add_argument("--force", type=boolean, default=False, help="make them again")
    args = p.parse_args(argv)
    task_list.run(p, args, lambda training: write_posteriors(training, force=args.force))


if __name__ == "__main__":
    run(main)
