"""How long the CFIA stack takes by its closed form against the equations, and in how much memory.

Forward and backward with the self-consistency loss. Each side runs in processes of its own, so that
its peak of memory is its own, and they take turns. All that is done twice: as glibc allocates
memory by default, where every tensor of this size is mapped anew and page by page, and as path.sh
sets it, where memory is kept. On a GPU, or with `--here`, all is one process. The limit is the time
that it takes to read both inputs twice and to write their gradients once, at the speed of a copy;
matrix products are not what bounds it. Nothing is asserted about times.

    python -m tests.bench.bench_stack --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from cfia.config import build
from cfia.model.consistency import pairs, weighted_sum
from cfia.model.network import build_stack
from tests.bench import devices, processes, timing
from tests.bench.timing import Turn

DEFAULTS, SETTING = "glibc's defaults", "path.sh's setting"
LAYOUTS = {"B C T F": "contiguous", "B T C F": "as the encoder leaves it"}
# Sizes, CFIA modules, threads of each side, and how often each runs in a turn.
OPTIONS = {
    "batch": 32, "channels": 32, "features": 16, "frames": 512, "modules": 3, "num_threads": 2,
    "repeats": 4,
}  # fmt: skip
PASSES = 6  # over a tensor: X_a and X_t are read twice, their gradients written once


@dataclass
class Result:
    """Of both sides seconds on the clock and on the processors, MB above the inputs, and ratios.

    Attributes:
        limit: seconds on the clock of the fewest reads and writes; limit_mb: of the gradients.
    """

    allocator: str
    layout: str
    equations: float
    fused: float
    ratio: float
    equations_cpu: float
    fused_cpu: float
    ratio_cpu: float
    equations_mb: float
    fused_mb: float
    ratio_mb: float | None
    limit: float
    limit_mb: float
    conditions: timing.Conditions


def main() -> None:
    """Measure and print, or, in a process of its own, one side alone."""
    parser = argparse.ArgumentParser(
        description="Time the closed form of the CFIA stack against the equations.",
        epilog="example: python -m tests.bench.bench_stack --num_threads 2 --json bench.json",
    )
    for name, size in OPTIONS.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default: {size})")
    parser.add_argument("--here", action="store_true", help="all in one process, to try it")
    devices.add_argument(parser)
    timing.add_arguments(parser)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--layout", help=argparse.SUPPRESS)
    args = parser.parse_args()
    devices.taken(args.on)
    if args.side:
        print(json.dumps(asdict(SIDES[args.side](args))))
        return
    here = args.here or args.on == "gpu"
    settings: dict[str, dict[str, str] | None] = {"torch's own": None}
    if not here:
        settings = {DEFAULTS: {}, SETTING: processes.recipe_setting()}
    figures = timing.Figures(args.json)
    for allocator, setting in settings.items():
        for layout in LAYOUTS:
            result = measure(allocator, setting, layout, args)
            report(result)
            figures.add(result)


def measure(
    allocator: str, setting: dict[str, str] | None, layout: str, args: argparse.Namespace
) -> Result:
    """Both sides in turn, and the copy; in this process where there is no setting."""
    options = [f"--{name}={getattr(args, name)}" for name in OPTIONS] + [f"--layout={layout}"]

    def turn(side: str) -> Turn:
        if setting is None:
            return SIDES[side](argparse.Namespace(**{**vars(args), "side": side, "layout": layout}))
        child = processes.start(
            "tests.bench.bench_stack", [*options, f"--side={side}"], setting, args.num_threads
        )
        return Turn(**processes.result(child))

    turns = timing.in_turns({side: partial(turn, side) for side in SIDES}, args.time_limit)
    (slow, slow_cpu), (fast, fast_cpu) = turns.least("equations"), turns.least("fused")
    slow_mb, fast_mb = (min(t.found for t in turns.of[side]) for side in ("equations", "fused"))
    return Result(
        allocator=allocator,
        layout=layout,
        equations=slow,
        fused=fast,
        ratio=slow / fast,
        equations_cpu=slow_cpu,
        fused_cpu=fast_cpu,
        ratio_cpu=slow_cpu / fast_cpu,
        equations_mb=slow_mb,
        fused_mb=fast_mb,
        ratio_mb=slow_mb / fast_mb if fast_mb else None,  # of one process on processors
        limit=PASSES / 2 * turns.least("copy")[0],  # a copy reads one tensor and writes one
        limit_mb=2 * 4 * args.batch * args.channels * args.frames * args.features / 2**20,
        conditions=turns.conditions,
    )


def step(args: argparse.Namespace) -> Turn:
    """Forward and backward of the stack that `args.side` names."""
    torch.set_num_threads(args.num_threads)
    torch.manual_seed(0)
    device = devices.taken(args.on)
    weights = [1e-4] * len(pairs(args.modules))
    values = {"channels": args.channels, "features": args.features, "n_modules": args.modules}
    config = build({**values, "stack": args.side, "consistency": weights}).model
    stack = build_stack(config).to(device)
    valid = torch.ones(args.batch, args.frames, device=device)

    def leaf(frames: int) -> torch.Tensor:
        if args.layout == "B C T F":
            X = torch.randn(args.batch, args.channels, frames, args.features, device=device)
        else:
            X = torch.randn(args.batch, frames, args.channels, args.features, device=device)
            X = X.transpose(1, 2)
        return X.requires_grad_()

    def run(X_a: torch.Tensor, X_t: torch.Tensor) -> None:
        output = stack(X_a, X_t, valid[:, : X_a.shape[2]], ("audio", "text"))
        loss = output.pooled.square().mean() + weighted_sum(weights, output.terms)
        loss.backward()
        X_a.grad = X_t.grad = None

    run(leaf(2), leaf(2))  # what is loaded at first use is not the stack's
    X_a, X_t = leaf(args.frames), leaf(args.frames)
    return fastest(lambda: run(X_a, X_t), args.repeats, device)


def copy(args: argparse.Namespace) -> Turn:
    """A tensor of the inputs' size onto another."""
    torch.set_num_threads(args.num_threads)
    device = devices.taken(args.on)
    size = args.batch * args.channels * args.frames * args.features
    X, out = torch.rand(2, size, device=device)
    return fastest(lambda: out.copy_(X), 5 * args.repeats, device)


def fastest(function: Callable[[], object], repeats: int, device: torch.device) -> Turn:
    """The fewest seconds on the clock and on the processors, and how many MB it takes besides."""
    devices.forget_peak(device)
    before = taken_mib(device)
    wall, cpu = [], []
    for _ in range(repeats):
        devices.wait(device)
        began, began_cpu = time.perf_counter(), time.process_time()
        function()
        devices.wait(device)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    return Turn(min(wall), min(cpu), devices.peak_mib(device) - before)


def taken_mib(device: torch.device) -> float:
    """What tensors have on a GPU now, or the process has on processors."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


SIDES = {"equations": step, "fused": step, "copy": copy}


def report(result: Result) -> None:
    """Print a result."""
    rows = {
        "equations": (result.equations, result.equations_cpu, result.equations_mb),
        "fused": (result.fused, result.fused_cpu, result.fused_mb),
        "ratio": (result.ratio, result.ratio_cpu, result.ratio_mb),
    }
    print(f"{result.allocator}, inputs {LAYOUTS[result.layout]} ({result.layout}):")
    print("             clock, s  processors, s  above the inputs, MB")
    for name, (wall, cpu, size) in rows.items():
        print(f"  {name:9s} {wall:9.3f}      {cpu:9.3f}             {size or 0:9.1f}")
    print(
        f"  limit     {result.limit:9.3f}                            {result.limit_mb:9.1f}\n"
        f"{result.conditions.words()}",
        end="",
        flush=True,
    )


if __name__ == "__main__":
    main()
