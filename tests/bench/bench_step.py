"""How long a training step takes against the one that a reader would write from the paper.

That one is literal: both inputs padded with zeros to 512 positions, torch's GRU over all of
them, and the equations module by module. `cfia_net` and `cfia_net_paper` are the project's. Audio
is as long as IEMOCAP's, transcripts have 18 pieces, features are random and 768 wide, 32 utterances
make a batch; the batches are spread evenly over an epoch's from the shortest to the longest. Each
form runs in processes of its own, under glibc's defaults and under the setting of path.sh, in
turns; in a turn the fastest step of each batch is taken. On a GPU, or with `--here`, all is one
process. Nothing is asserted about times.

    python -m tests.bench.bench_step --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cfia.config import Config, build
from cfia.files import read_yaml
from cfia.model import registry
from cfia.model.encoder import Encoder, Sequences
from cfia.training import batches
from cfia.training.determinism import set_up
from cfia.training.loss import objective
from cfia.training.optimizer import make_optimizer
from tests.bench import devices, iemocap, processes, products, timing
from tests.bench.timing import Turn

BATCH = 32
FORMS = ("literal", "cfia_net", "cfia_net_paper")


@dataclass
class Result:
    """Seconds of a step, on the clock and of processors, and how many times faster than literal.

    Means over the batches. `peak_mib`: the most memory that the process had, or tensors on a GPU;
    `gflop`: of the products of a step, whose share of `rate`, GFLOP/s of one product, is `share`.
    """

    form: str
    setting: str
    seconds: float
    cpu: float
    faster: float
    faster_cpu: float
    peak_mib: float
    gflop: float
    rate: float
    share: float
    conditions: timing.Conditions


class LiteralEncoder(Encoder):
    """torch's GRU and the linear layer over all positions, those of padding too."""

    def forward(self, x: Sequences) -> Tensor:
        """(B, T, D) to (B, max_frames, C*F)."""
        data = nn.functional.pad(x.data, (0, 0, 0, self.max_frames - x.data.shape[1]))
        y: Tensor = self.linear(self.gru(data)[0])
        return y


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time a training step against the literal one.",
        epilog="example: python -m tests.bench.bench_step --num_threads 2 --json bench.json",
    )
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS, help="literal first")
    parser.add_argument("--num_threads", type=int, default=1, help="of each form (default: 1)")
    parser.add_argument("--batches", type=int, default=3, help="of each form (default: 3)")
    parser.add_argument("--steps", type=int, default=1, help="per batch and turn (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, to try it quickly")
    parser.add_argument("--here", action="store_true", help="all in one process, to try it")
    devices.add_argument(parser)
    timing.add_arguments(parser)
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    devices.taken(args.on)
    if args.form:
        print(json.dumps(measure(args)))
        return
    figures = timing.Figures(args.json)
    for result in compare(args):
        report(result, args.num_threads)
        figures.add(result)


def compare(args: argparse.Namespace) -> Iterator[Result]:
    """All forms under both settings, in turns."""
    here = args.here or args.on == "gpu"
    settings: dict[str, dict[str, str] | None] = {"torch's own": None}
    if not here:
        settings = {"defaults": {}, "path.sh": processes.recipe_setting()}
        print(f"path.sh sets {settings['path.sh']}", flush=True)
    options = ["num_threads", "batches", "steps", "seed", "scale"]
    arguments = [word for name in options for word in (f"--{name}", str(getattr(args, name)))]

    def turn(form: str, setting: dict[str, str] | None) -> Turn:
        if setting is None:
            found = measure(argparse.Namespace(**{**vars(args), "form": form}))
        else:
            found = processes.result(processes.start(
                "tests.bench.bench_step", [*arguments, "--form", form], setting, args.num_threads
            ))  # fmt: skip
        return Turn(found["seconds"], found["cpu"], found)

    sides = {
        f"{form}, {name}": partial(turn, form, setting)
        for form in args.forms
        for name, setting in settings.items()
    }
    turns = timing.in_turns(sides, args.time_limit)
    for side in sides:
        form, setting = side.split(", ")
        (seconds, cpu), found = turns.least(side), turns.fastest(side).found
        literal = turns.least(f"literal, {setting}")
        flop = flop_of_a_step(form, args)
        yield Result(
            form=form,
            setting=setting,
            seconds=seconds,
            cpu=cpu,
            faster=literal[0] / seconds,
            faster_cpu=literal[1] / cpu,
            peak_mib=max(turn.found["peak_mib"] for turn in turns.of[side]),
            gflop=flop / 1e9,
            rate=found["rate"],
            share=products.share(flop, seconds, found["rate"]),
            conditions=turns.conditions,
        )


def report(result: Result, num_threads: int) -> None:
    """Print a result."""
    print(
        f"{result.form:15} {num_threads} threads, {result.setting:8}  a step {result.seconds:7.3f} "
        f"s, processors {result.cpu:7.3f} s  faster than literal {result.faster:5.2f} times, "
        f"processors {result.faster_cpu:5.2f}  peak {result.peak_mib:5.0f} MiB\n"
        f"{products.words(result.gflop * 1e9, {'a step': result.share}, result.rate)}"
        f"{result.conditions.words()}",
        end="",
        flush=True,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The mean over the batches of their fastest steps, the operations of one, and the memory."""
    device = set_up(args.num_threads, int(args.on == "gpu"))
    devices.forget_peak(device)
    config = configuration(args.form, args.scale)
    torch.manual_seed(args.seed)
    dim = max(1, round(iemocap.DIM * args.scale))
    model = network(args.form, config, dim).to(device)
    values = list(draw(args.batches, args.scale, dim))
    optimizer = make_optimizer(model.parameters(), config.train)
    times = []
    for batch in values:
        placed = on(device, batch)
        steps = [
            step(model, optimizer, placed, config)
            for _ in range(args.steps + 1)  # one more, since the first meets new sizes
        ]
        times.append([min(of) for of in zip(*steps, strict=True)])
    seconds, cpu = (statistics.mean(of) for of in zip(*times, strict=True))
    return {
        "seconds": seconds,
        "cpu": cpu,
        "peak_mib": devices.peak_mib(device),
        "rate": products.rate(device, small=args.scale < 1),
    }


def flop_of_a_step(form: str, args: argparse.Namespace) -> float:
    """The operations of a step's products, on average; weights and values change nothing."""
    config, dim = configuration(form, args.scale), max(1, round(iemocap.DIM * args.scale))
    model = network(form, config, dim)
    return statistics.mean(
        counted(model, batch, config) for batch in draw(args.batches, args.scale, dim)
    )


def network(form: str, config: Config, dim: int) -> nn.Module:
    """The network of a form, for features of a width."""
    dims = dict.fromkeys(("audio", "text"), dim)
    model = registry.build(dims, len(iemocap.CLASSES), config.model)
    if form == "literal":
        literal = {name: LiteralEncoder(width, config.model) for name, width in dims.items()}
        model.encoders = nn.ModuleDict(literal)
    return model


def on(device: torch.device, batch: dict[str, Sequences]) -> dict[str, Sequences]:
    """A batch on a device; lengths stay where they are."""
    return {name: Sequences(x.data.to(device), x.lengths) for name, x in batch.items()}


def configuration(form: str, scale: float) -> Config:
    """That of the project's conf/; `literal` runs cfia_net_paper on the equations."""
    name = "cfia_net_paper" if form == "literal" else form
    values = read_yaml(processes.ROOT / "conf" / "systems" / f"{name}.yaml")
    if form == "literal" and "stack" in build({}).flat():
        values["stack"] = "equations"
    if scale < 1:
        values |= {"hidden": 8, "channels": 4, "features": 4, "max_frames": 64}
    return build(values)


def draw(n: int, scale: float, dim: int, size: int = BATCH) -> Iterator[dict[str, Sequences]]:
    """Some batches of an epoch, grouped by length, from the shortest to the longest."""
    counts = iemocap.lengths(4425, seed=0)
    lengths = {name: torch.from_numpy(found) for name, found in counts.items()}
    if scale < 1:
        lengths = {name: of.clamp(max=64) for name, of in lengths.items()}
    plan = batches.shuffled_by_length(lengths["audio"], size, seed=0, epoch=1)
    full = sorted(
        (batch for batch in plan if len(batch) == size),
        key=lambda batch: int(lengths["audio"][batch].sum()),
    )
    for i in range(n):
        batch = full[(2 * i + 1) * len(full) // (2 * n)]
        yield {name: sequences(of[batch], dim) for name, of in lengths.items()}


def sequences(lengths: Tensor, dim: int) -> Sequences:
    """Random frames, 0 beyond each length."""
    rows = [torch.randn(int(n), dim) for n in lengths]
    return Sequences(nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, Sequences],
    config: Config,
) -> tuple[float, float]:
    """Forward, backward and update; seconds on the clock and of processors."""
    device = next(iter(batch.values())).data.device

    def do() -> None:
        optimizer.zero_grad(set_to_none=True)
        gradient(model, batch, config)
        optimizer.step()
        devices.wait(device)

    devices.wait(device)
    turn = timing.timed(do)
    return turn.seconds, turn.cpu


def gradient(model: nn.Module, batch: dict[str, Sequences], config: Config) -> None:
    """Forward and backward; the targets are made up."""
    x = next(iter(batch.values())).data
    targets = torch.arange(len(x), device=x.device) % len(iemocap.CLASSES)
    loss = objective(model(batch), targets, config.model.consistency, None)
    loss.total().backward()  # type: ignore[no-untyped-call]


def counted(model: nn.Module, batch: dict[str, Sequences], config: Config) -> float:
    """The operations of a step's products, counted on a processor."""
    flop = products.operations(lambda: gradient(model, batch, config))[1]
    model.zero_grad(set_to_none=True)
    return flop


if __name__ == "__main__":
    main()
