"""The most memory that a training step takes on a device, and an epoch whose features are there.

A step is of 32 utterances of 512 frames and 138 pieces, 768 wide: the largest batch that there is.

    python -m tests.bench.gpu_memory --on gpu --json memory.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cfia.errors import UserError
from cfia.training.determinism import set_up
from cfia.training.optimizer import make_optimizer
from tests.bench import bench_epoch, devices, iemocap, timing
from tests.bench.bench_peers import largest
from tests.bench.bench_step import configuration, network, on, step

FORMS = ("cfia_net", "cfia_net_paper")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The most memory of a step, and of an epoch.")
    parser.add_argument("--dir", type=Path, help="has the archives, or they go there for a while")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, to try it quickly")
    parser.add_argument("--cache", default="gpu", help="where features of the epoch are kept")
    devices.add_argument(parser, default="gpu")
    timing.add_arguments(parser, turns=False)
    args = parser.parse_args()
    devices.taken(args.on)
    figures = timing.Figures(args.json)
    kind = "of tensors" if args.on == "gpu" else "of the process"
    for form in FORMS:
        peak = of_a_step(args, form)
        print(f"a step of {form}: {peak:.0f} MiB {kind}", flush=True)
        figures.add({"what": f"a step of {form}", "peak_mib": peak, "of": kind})
    what = f"an epoch of cfia_net, features {args.cache}"
    try:
        peak = of_an_epoch(args)
    except UserError as error:
        figures.add({"what": what, "not_measured": str(error)})
        print(f"{what}: not measured, {error}")
        return
    print(f"{what}: {peak:.0f} MiB {kind}")
    figures.add({"what": what, "peak_mib": peak, "of": kind})


def of_a_step(args: argparse.Namespace, form: str) -> float:
    """MiB of one step on the largest batch."""
    device = set_up(1, int(args.on == "gpu"))
    config = configuration(form, args.scale)
    dim = max(1, round(iemocap.DIM * args.scale))
    devices.forget_peak(device)
    torch.manual_seed(0)
    model = network(form, config, dim).to(device)
    optimizer = make_optimizer(model.parameters(), config.train)
    step(model, optimizer, on(device, largest(args.scale, dim)), config)
    return devices.peak_mib(device)


def of_an_epoch(args: argparse.Namespace) -> float:
    """MiB of one epoch."""
    with iemocap.written(args.dir, args.scale) as root:
        own = {"child": root, "epochs": 1, "num_threads": 1, "precision": "float32"}
        return bench_epoch.train(argparse.Namespace(**{**vars(args), **own}))["peak_mib"]


if __name__ == "__main__":
    main()
