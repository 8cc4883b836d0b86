"""How long an epoch of each peer takes at IEMOCAP's lengths, and how much memory at the most.

The batches are those of `bench_step`: 32 utterances as long as IEMOCAP's, transcripts of 18
pieces, random features 768 wide, spread evenly over an epoch's from the shortest to the longest. An
epoch is extrapolated from them: training steps alone, without selection and reading. Each system
runs in processes of its own, in turns, of which the faster one counts; the seconds of processors
are compared with CFIA-Net's of the same run, since those on the clock tell what else the machine
did. The most memory is that of a process that trains on one batch of 32 utterances of 512 frames
and 138 pieces, the interpreter's and torch's included. Systems of one modality take the audio.
Nothing is asserted about times.

    python -m tests.bench.bench_peers --json bench.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cfia.config import load
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.networks import OWN, ModelConfig
from cfia.training.determinism import set_up
from tests.bench import iemocap, processes
from tests.bench.bench_step import BATCH, draw, sequences, step

SYSTEMS = (
    "cfia_net", "linear", "superb", "superb_asp", "memocmt", "merbench_attention", "merbench_lmf",
    "self_attention", "cross_attention", "mult", "cmt_sa", "dst", "mmer",
)  # fmt: skip
TRAIN = 4425  # utterances of a fold of `bench_epoch`
LONGEST = {"audio": iemocap.MOST_FRAMES, "text": 138}


@dataclass
class Result:
    """Of one system.

    Attributes:
        seconds: of an epoch, on the clock; cpu: of processors; times_cfia_net: these, compared.
        peak_mib: the most memory that the process had.
    """

    system: str
    weights: int
    seconds: float
    cpu: float
    times_cfia_net: float
    peak_mib: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time an epoch of each peer at IEMOCAP's lengths.",
        epilog="example: python -m tests.bench.bench_peers --json bench.json",
    )
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="cfia_net first")
    parser.add_argument("--num_threads", type=int, default=1, help="of each (default: 1)")
    parser.add_argument("--batches", type=int, default=4, help="of each (default: 4)")
    parser.add_argument("--repeats", type=int, default=1, help="turns of each (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, to try it quickly")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--child", choices=("time", "memory"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    results = compare(args)
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def compare(args: argparse.Namespace) -> list[Result]:
    """All systems, in turns."""
    found: dict[str, list[dict[str, float]]] = {system: [] for system in args.systems}
    for _ in range(args.repeats):
        for system in args.systems:
            found[system].append(child(args, system, "time"))
    results: list[Result] = []
    for system, turns in found.items():
        best = min(turns, key=lambda turn: turn["cpu"])
        ratio = best["cpu"] / (results[0].cpu if results else best["cpu"])
        peak = child(args, system, "memory")["peak_mib"]
        values = (int(best["weights"]), best["seconds"], best["cpu"], ratio, peak)
        results.append(Result(system, *values))
        report(results[-1], args)
    return results


def child(args: argparse.Namespace, system: str, what: str) -> dict[str, float]:
    """What a process of its own measures of one system."""
    options = ["--child", what, "--systems", system, "--batches", str(args.batches)]
    options += ["--num_threads", str(args.num_threads), "--scale", str(args.scale)]
    setting = processes.recipe_setting()
    return processes.result(
        processes.start("tests.bench.bench_peers", options, setting, args.num_threads)
    )


def report(result: Result, args: argparse.Namespace) -> None:
    """Print a result."""
    print(
        f"{result.system:18} {result.weights:10,} weights  {args.num_threads} threads  an epoch "
        f"{result.seconds:6.0f} s, processors {result.cpu:6.0f} s (extrapolated from "
        f"{args.batches} batches), {result.times_cfia_net:5.2f} times {args.systems[0]}'s  "
        f"peak {result.peak_mib:5.0f} MiB",
        flush=True,
    )


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Train in this process: the batches of an epoch, or the largest one."""
    set_up(args.num_threads, 0)
    (system,) = args.systems
    config = load([processes.ROOT / "conf" / "systems" / f"{system}.yaml"])
    both = OWN.get(config.model.network, ModelConfig).takes == "both" or system == "cfia_net"
    names = ("audio", "text") if both else ("audio",)
    torch.manual_seed(0)
    dim = max(1, round(iemocap.DIM * args.scale))
    model = registry.build(dict.fromkeys(names, dim), len(iemocap.CLASSES), config.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    targets = torch.arange(BATCH) % len(iemocap.CLASSES)
    values: list[dict[str, Sequences]] = [largest(args.scale, dim)]
    if args.child == "time":
        values = list(draw(args.batches, args.scale, dim))
    times = []
    for batch in values:
        taken = {name: batch[name] for name in names}
        # Two, since the first meets new sizes.
        both_times = [step(model, optimizer, taken, targets, config) for _ in range(2)]
        times.append([min(of) for of in zip(*both_times, strict=True)])
    seconds, cpu = (statistics.mean(of) * TRAIN / BATCH for of in zip(*times, strict=True))
    return {
        "weights": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
        "cpu": cpu,
        "peak_mib": processes.peak_mib(),
    }


def largest(scale: float, dim: int) -> dict[str, Sequences]:
    """A batch of utterances that are all as long as can be."""
    return {
        name: sequences(torch.full((BATCH,), max(1, round(n * scale))), dim)
        for name, n in LONGEST.items()
    }


if __name__ == "__main__":
    main()
