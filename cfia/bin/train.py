"""Train one fold and seed of an experiment, or a list of them (stage 5)."""

from __future__ import annotations

from collections.abc import Sequence

from cfia.cli import boolean, parser, run

EXAMPLE = "cfia train exp/cfia_net_fbank/session --fold 1 --seed 1"


def main(argv: Sequence[str] | None = None) -> None:
    """Train, resume or skip."""
    from cfia.training import task_list
    from cfia.training.training import train

    p = parser("train", __doc__, EXAMPLE)
    task_list.add_arguments(p)
    p.add_argument(
        "--checkpoint_seconds", type=float, default=60.0,
        help="how often to write a checkpoint within an epoch, and at least at epochs' ends; "
        "changes no result [60]",
    )  # fmt: skip
    p.add_argument("--force", type=boolean, default=False, help="train it again")
    args = p.parse_args(argv)
    task_list.run(
        p, args, lambda training: train(training, args.checkpoint_seconds, force=args.force)
    )


if __name__ == "__main__":
    run(main)
