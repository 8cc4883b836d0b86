"""How long the CFIA stack takes by its closed form against the equations, and in how much memory.

Forward and backward with the self-consistency loss. Each side runs in processes of its own, so that
its peak of memory is its own; their turns alternate, and of each the fastest is taken. All that is
done twice: as glibc allocates memory by default, where every tensor of this size is mapped anew and
page by page, and as path.sh sets it, where memory is kept. The limit is the time that it takes to
read both inputs twice and to write their gradients once, at the speed of a copy. Nothing is
asserted about times.

    python -m tests.bench.bench_stack --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ALLOCATORS = {
    "glibc's defaults": {},
    "path.sh's setting": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)},
}
LAYOUTS = {"B C T F": "contiguous", "B T C F": "as the encoder leaves it"}
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
    ratio_mb: float
    limit: float
    limit_mb: float


def main() -> None:
    """Measure and print, or, in a process of its own, one side alone."""
    parser = argparse.ArgumentParser(
        description="Time the closed form of the CFIA stack against the equations.",
        epilog="example: python -m tests.bench.bench_stack --num_threads 2 --json bench.json",
    )
    for name, size in (("batch", 32), ("channels", 32), ("features", 16), ("frames", 512)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"(default: {size})")
    parser.add_argument("--modules", type=int, default=3, help="CFIA modules (default: 3)")
    parser.add_argument("--num_threads", type=int, default=2, help="of each side (default: 2)")
    parser.add_argument("--repeats", type=int, default=4, help="in a process (default: 4)")
    parser.add_argument("--turns", type=int, default=2, help="processes of a side (default: 2)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--layout", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(SIDES[args.side](args)))
        return
    results = [measure(allocator, layout, args) for allocator in ALLOCATORS for layout in LAYOUTS]
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def measure(allocator: str, layout: str, args: argparse.Namespace) -> Result:
    """Both sides in turn, and the copy."""
    found: dict[str, list[tuple[float, ...]]] = {side: [] for side in SIDES}
    for _ in range(args.turns):
        for side, turns in found.items():
            turns.append(child(side, allocator, layout))
    best = {side: tuple(map(min, zip(*turns, strict=True))) for side, turns in found.items()}
    size = 4 * args.batch * args.channels * args.frames * args.features
    result = Result(
        allocator=allocator,
        layout=layout,
        equations=best["equations"][0],
        fused=best["fused"][0],
        ratio=best["equations"][0] / best["fused"][0],
        equations_cpu=best["equations"][1],
        fused_cpu=best["fused"][1],
        ratio_cpu=best["equations"][1] / best["fused"][1],
        equations_mb=best["equations"][2],
        fused_mb=best["fused"][2],
        ratio_mb=best["equations"][2] / best["fused"][2],
        limit=PASSES / 2 * best["copy"][0],  # a copy reads one tensor and writes one
        limit_mb=2 * size / 2**20,
    )
    report(result)
    return result


def child(side: str, allocator: str, layout: str) -> tuple[float, ...]:
    """What `fastest` finds of one side, in a process of its own."""
    settings = {name for values in ALLOCATORS.values() for name in values}
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    command = [sys.executable, "-m", "tests.bench.bench_stack", *sys.argv[1:]]
    output = subprocess.run(
        [*command, "--side", side, "--layout", layout],
        env=environment | ALLOCATORS[allocator],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return tuple(json.loads(output))


def step(args: argparse.Namespace) -> tuple[float, float, float]:
    """Forward and backward of the stack that `args.side` names."""
    import torch

    from cfia.config import build
    from cfia.model.consistency import pairs, weighted_sum
    from cfia.model.network import build_stack

    torch.set_num_threads(args.num_threads)
    torch.manual_seed(0)
    weights = [1e-4] * len(pairs(args.modules))
    values = {"channels": args.channels, "features": args.features, "n_modules": args.modules}
    stack = build_stack(build({**values, "stack": args.side, "consistency": weights}).model)
    valid = torch.ones(args.batch, args.frames)

    def leaf(frames: int) -> torch.Tensor:
        if args.layout == "B C T F":
            X = torch.randn(args.batch, args.channels, frames, args.features)
        else:
            X = torch.randn(args.batch, frames, args.channels, args.features).transpose(1, 2)
        return X.requires_grad_()

    def run(X_a: torch.Tensor, X_t: torch.Tensor) -> None:
        output = stack(X_a, X_t, valid[:, : X_a.shape[2]], ("audio", "text"))
        loss = output.pooled.square().mean() + weighted_sum(weights, output.terms)
        loss.backward()
        X_a.grad = X_t.grad = None

    run(leaf(2), leaf(2))  # what is loaded at first use is not the stack's
    X_a, X_t = leaf(args.frames), leaf(args.frames)
    return fastest(lambda: run(X_a, X_t), args.repeats)


def copy(args: argparse.Namespace) -> tuple[float, float, float]:
    """A tensor of the inputs' size onto another."""
    import torch

    torch.set_num_threads(args.num_threads)
    X, out = torch.rand(2, args.batch * args.channels * args.frames * args.features)
    return fastest(lambda: out.copy_(X), 5 * args.repeats)


def fastest(function: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """The fewest seconds on the clock and on the processors, and how many MB the process grew."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    wall, cpu = [], []
    for _ in range(repeats):
        began, began_cpu = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return min(wall), min(cpu), (peak - before) / 2**20


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
        print(f"  {name:9s} {wall:9.3f}      {cpu:9.3f}             {size:9.1f}")
    print(
        f"  limit     {result.limit:9.3f}                            {result.limit_mb:9.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
