"""How long an epoch of each system takes at IEMOCAP's lengths, and how much memory at the most.

The batches are those of `bench_step`, of as many utterances as the system's file says (32):
utterances as long as IEMOCAP's, transcripts of 18 pieces, random features 768 wide, spread evenly
over an epoch's from the shortest to the longest. An epoch is extrapolated from them: training steps
alone, without selection and reading. Each system runs in processes of its own, in turns; the
seconds of processors are compared with CFIA-Net's of the same run, since those on the clock tell
what else the machine did. The most memory is that of a process that trains on one batch of 32
utterances of 512 frames and 138 pieces, the interpreter's and torch's included. Nothing is asserted
about times.

`--costs` writes what a study's costs are reckoned from, without memory. It keeps what earlier runs
have measured of other systems, so that it can be made piece by piece.

    python -m tests.bench.bench_peers --json bench.json
    python -m tests.bench.bench_peers --costs conf/costs.yaml --batches 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from cfia.config import Config, load
from cfia.files import as_yaml, write_if_changed
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.networks import OWN, ModelConfig
from cfia.provenance import commit, processor
from cfia.study.costs import Costs, Measured, Run, read_costs
from cfia.study.study_file import INPUTS
from cfia.training.determinism import set_up
from cfia.training.optimizer import make_optimizer
from tests.bench import iemocap, processes, products, timing
from tests.bench.bench_step import BATCH, counted, draw, sequences, step

PEERS = (
    "cfia_net", "linear", "superb", "superb_asp", "memocmt", "merbench_attention", "merbench_lmf",
    "self_attention", "cross_attention", "mult", "cmt_sa", "dst", "mmer",
)  # fmt: skip
# What conf/costs.yaml has. Of any other system that of its base is taken.
OF_STUDIES = (
    *PEERS, "cfia_net_audio", "cfia_net_text", "cfia_net_paper", "cfia_net_2", "cfia_net_1",
    "addition", "one_share", "share_per_f", "late_fusion", "concat", "linear_text", "memocmt_own",
    "mmer_own",
)  # fmt: skip
TRAIN = 4425  # utterances of a fold of `bench_epoch`
HEADER = """\
# What an epoch of each system takes, from which the costs of a study are reckoned before it begins:
# seconds of one thread by system and input, of so many utterances with so many frames of audio on
# average, 768 wide. cfia/study/costs.py reads it; made by
#     python -m tests.bench.bench_peers --costs conf/costs.yaml --batches 2
"""
Seconds = dict[str, dict[str, float]]
LONGEST = {"audio": iemocap.MOST_FRAMES, "text": 138}


@dataclass
class Result:
    """Of one system.

    Attributes:
        system, given: the configuration, and its input, such as "audio_text".
        seconds: of an epoch, on the clock; cpu: of processors; times_cfia_net: these, compared.
        peak_mib: the most memory that the process had; None where it was not measured.
        gflop: of an epoch's products, whose share of `rate`, GFLOP/s of one product, is `share`.
    """

    system: str
    given: str
    weights: int
    seconds: float
    cpu: float
    times_cfia_net: float
    peak_mib: float | None
    gflop: float
    rate: float
    share: float
    conditions: timing.Conditions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time an epoch of each system at IEMOCAP's lengths.",
        epilog="example: python -m tests.bench.bench_peers --json bench.json",
    )
    parser.add_argument("--systems", nargs="+", help="<config>[_audio_text|_audio|_text]")
    parser.add_argument("--num_threads", type=int, default=1, help="of each (default: 1)")
    parser.add_argument("--batches", type=int, default=4, help="of each (default: 4)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, to try it quickly")
    parser.add_argument("--costs", type=Path, help="add them to such a file as conf/costs.yaml")
    timing.add_arguments(parser)
    parser.add_argument("--child", choices=("time", "memory"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.systems = args.systems or (OF_STUDIES if args.costs else PEERS)
    if args.child:
        print(json.dumps(measure(args)))
        return
    figures, results = timing.Figures(args.json), []
    for result in compare(args):
        report(result, args)
        figures.add(result)
        results.append(result)
    if args.costs:
        add(args.costs, results, args)


def compare(args: argparse.Namespace) -> Iterator[Result]:
    """All systems, in turns."""

    def turn(system: str) -> timing.Turn:
        found = child(args, system, "time")
        return timing.Turn(found["seconds"], found["cpu"], found)

    sides = {system: partial(turn, system) for system in args.systems}
    turns = timing.in_turns(sides, args.time_limit)
    for system in args.systems:
        flop = flop_of_an_epoch(args, system)
        (seconds, cpu), found = turns.least(system), turns.fastest(system).found
        yield Result(
            *parsed(system),
            weights=int(found["weights"]),
            seconds=seconds,
            cpu=cpu,
            times_cfia_net=cpu / turns.least(args.systems[0])[1],
            peak_mib=None if args.costs else child(args, system, "memory")["peak_mib"],
            gflop=flop / 1e9,
            rate=found["rate"],
            share=products.share(flop, seconds, found["rate"]),
            conditions=turns.conditions,
        )


def parsed(token: str) -> tuple[str, str]:
    """The configuration and the input of `<config>_<input>`; what it takes where none is named."""
    for given in INPUTS:
        if token.endswith(f"_{given}"):
            return token.removesuffix(f"_{given}"), given
    network = configuration(token).model.network
    alone = network in ("linear", "superb") or OWN.get(network, ModelConfig).takes == "one"
    return token, "audio" if alone else "audio_text"


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
    peak = "" if result.peak_mib is None else f"  peak {result.peak_mib:5.0f} MiB"
    print(
        f"{result.system:18} {result.given:10} {result.weights:10,} weights  {args.num_threads} "
        f"threads  an epoch {result.seconds:6.0f} s, processors {result.cpu:6.0f} s (extrapolated "
        f"from {args.batches} batches), {result.times_cfia_net:5.2f} times {args.systems[0]}'s"
        f"{peak}\n{products.words(result.gflop * 1e9, {'an epoch': result.share}, result.rate)}"
        f"{result.conditions.words()}",
        end="",
        flush=True,
    )


def add(path: Path, results: list[Result], args: argparse.Namespace) -> None:
    """Add a run to a file of costs, and take out of earlier ones what it has measured again."""
    seconds: dict[str, dict[str, float]] = {}
    for result in results:
        seconds.setdefault(result.system, {})[result.given] = round(result.cpu, 1)
    load = round(os.getloadavg()[1], 1)
    measured = Measured(processor(), args.num_threads, args.batches, load, commit())
    earlier = read_costs(path).runs if path.exists() else []
    frames = float(iemocap.lengths(TRAIN, seed=0)["audio"].mean())
    runs = merged(earlier, Run(measured, seconds))
    costs = Costs(TRAIN, round(frames, 1), iemocap.FRAME_RATE, runs)
    write_if_changed(path, HEADER + as_yaml(asdict(costs)))


def merged(earlier: list[Run], new: Run) -> list[Run]:
    """Runs with a new one, one for all that differ in nothing but the load; the highest counts."""
    runs: list[Run] = []
    for run in earlier:
        seconds = without(run.seconds, new.seconds)
        if replace(run.measured, load=0) == replace(new.measured, load=0):
            load = max(run.measured.load, new.measured.load)
            for system, by_input in new.seconds.items():
                seconds[system] = {**seconds.get(system, {}), **by_input}
            new = Run(replace(run.measured, load=load), seconds)
        elif seconds:
            runs.append(Run(run.measured, seconds))
    return [*runs, new]


def without(seconds: Seconds, again: Seconds) -> Seconds:
    """Seconds by system and input without those of what has been measured again."""
    left = {
        system: {i: s for i, s in by_input.items() if i not in again.get(system, {})}
        for system, by_input in seconds.items()
    }
    return {system: by_input for system, by_input in left.items() if by_input}


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Train in this process: the batches of an epoch, or the largest one."""
    set_up(args.num_threads, 0)
    (token,) = args.systems
    model, config, values = drawn(args, token)
    optimizer = make_optimizer(model.parameters(), config.train)
    if args.child == "memory":
        (batch,) = taken(token, [largest(args.scale, width(args))])
        step(model, optimizer, batch, config)
        step(model, optimizer, batch, config)
        return {"peak_mib": processes.peak_mib()}
    times = []
    for batch in values:
        # Two, since the first meets new sizes.
        both_times = [step(model, optimizer, batch, config) for _ in range(2)]
        times.append([min(of) for of in zip(*both_times, strict=True)])
    seconds, cpu = (statistics.mean(of) * TRAIN / size(config) for of in zip(*times, strict=True))
    return {
        "weights": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
        "cpu": cpu,
        "rate": products.rate(torch.device("cpu"), small=args.scale < 1),
    }


def flop_of_an_epoch(args: argparse.Namespace, token: str) -> float:
    """The operations of its products; weights and values change nothing."""
    model, config, values = drawn(args, token)
    flop = statistics.mean(counted(model, batch, config) for batch in values)
    return flop * TRAIN / size(config)


def drawn(
    args: argparse.Namespace, token: str
) -> tuple[torch.nn.Module, Config, list[dict[str, Sequences]]]:
    """A system's network, its configuration, and batches of an epoch."""
    system, given = parsed(token)
    config = configuration(system)
    torch.manual_seed(0)
    dims = dict.fromkeys(INPUTS[given], width(args))
    model = registry.build(dims, len(iemocap.CLASSES), config.model)
    n = args.batches * (BATCH // size(config))
    return model, config, taken(token, draw(n, args.scale, width(args), size(config)))


def taken(token: str, values: Iterable[dict[str, Sequences]]) -> list[dict[str, Sequences]]:
    """Of batches what a system takes."""
    names = INPUTS[parsed(token)[1]]
    return [{name: batch[name] for name in names} for batch in values]


def size(config: Config) -> int:
    """The utterances of a batch."""
    return min(config.train.batch_size, BATCH)


def width(args: argparse.Namespace) -> int:
    """Of the features."""
    scale: float = args.scale
    return max(1, round(iemocap.DIM * scale))


def configuration(system: str) -> Config:
    """That of conf/systems."""
    return load([processes.ROOT / "conf" / "systems" / f"{system}.yaml"])


def largest(scale: float, dim: int) -> dict[str, Sequences]:
    """A batch of utterances that are all as long as can be."""
    return {
        name: sequences(torch.full((BATCH,), max(1, round(n * scale))), dim)
        for name, n in LONGEST.items()
    }


if __name__ == "__main__":
    main()
