"""Write the pack of a trained system, which `cfia predict` uses anywhere (stage 9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia import experiment
from cfia.cli import boolean, parser, run
from cfia.directories import reading
from cfia.options import PACK_ALL, PACK_FOLDS

EXAMPLE = "cfia pack exp/cfia_net_fbank/session --pack folds --corpus_conf conf/corpus.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the pack of an experiment, or say that it is up to date."""
    from cfia.inference.pack import Packing, pack
    from cfia.training.task_list import seed

    p = parser("pack", __doc__, EXAMPLE)
    p.add_argument("experiment", type=Path, help="exp/<system>/<scheme>")
    p.add_argument(
        "--pack", choices=(PACK_ALL, PACK_FOLDS), default=PACK_ALL,
        help="the final network, which stage 9 trains on all utterances, or those of the folds "
        f"[{PACK_ALL}]",
    )  # fmt: skip
    p.add_argument("--seed", type=seed, default=1, help="of the networks [1]")
    p.add_argument(
        "--pack_dir", type=Path, help="where it goes [pack or pack_folds in the experiment]"
    )
    p.add_argument("--corpus_conf", type=Path, help="the recipe's conf/corpus.yaml, for the card")
    p.add_argument("--force", type=boolean, default=False, help="make it again")
    args = p.parse_args(argv)
    packed = experiment.read(args.experiment)
    packing = Packing(packed, args.pack, packed.own_seed(args.seed), args.corpus_conf)
    with reading(*packed.read_by_trainings()):
        pack(packing, args.pack_dir, force=args.force)


if __name__ == "__main__":
    run(main)
