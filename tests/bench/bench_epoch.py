"""How long an epoch of cfia_net takes at IEMOCAP's size, and what bounds it.

4425 training utterances, and 885 to select by, as long as IEMOCAP's, with transcripts of 18 pieces;
random features 768 wide, read from Kaldi archives that are written first (4 GB). Measured are one
training on two threads, and two trainings side by side on one thread each, of which an epoch of
both processors is half. Matrix products are counted, and their speed compared with that of one
large product in the same process. Nothing is asserted about times.

    python -m tests.bench.bench_epoch --dir /tmp --json bench.json

Two comparisons instead, each in turns, so that both sides see the same machine: `--limit GB`, a
training whose features are on disk, in a control group of so much memory, page cache included, with
one that holds them in memory; and `--shared`, two trainings side by side that share the archives'
pages, with two that hold a copy each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cfia.config import load
from cfia.networks import ModelConfig
from cfia.training import dataset
from cfia.training.determinism import set_up
from cfia.training.trainer import Trainer, TrainerInputs
from tests.bench import iemocap, limits, processes

TRAIN, SELECT = 4425, 885
CONFIG = processes.ROOT / "conf" / "systems" / "cfia_net.yaml"


@dataclass
class Result:
    """An epoch of one training.

    Attributes:
        seconds: of training, selection and checkpoints; loading: before the first epoch.
        cache: where features are kept.
        two_processors: seconds for which both processors are taken.
        cpu: seconds of processors, of all trainings side by side.
        tflop: of matrix products; input_share: the part of the Bi-GRU's input projection in them.
        gflops: achieved, of each training; peak_gflops: of one large product.
        bound: the least part of `seconds` that the products take.
        peak_mib: of the largest training, with what it maps; own_mib: of all trainings at once,
            without mapped and cached files.
    """

    what: str
    cache: str
    seconds: float
    two_processors: float
    cpu: float
    loading: float
    tflop: float
    input_share: float
    gflops: float
    peak_gflops: float
    bound: float
    peak_mib: float
    own_mib: float


@dataclass
class Way:
    """So many trainings side by side, on so many threads each, in a control group or none."""

    trainings: int
    threads: int
    cache: str
    group: Path | None = None

    def name(self) -> str:
        limit = ", under the limit" if self.group else ""
        many = f"{self.trainings} training(s) on {self.threads} thread(s) each"
        return f"{many}, features {self.cache}{limit}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time an epoch of cfia_net at IEMOCAP's size.",
        epilog="example: python -m tests.bench.bench_epoch --dir /tmp --json bench.json",
    )
    parser.add_argument("--dir", type=Path, help="where the archives go for a while (default: tmp)")
    parser.add_argument("--epochs", type=int, default=1, help="the mean of so many (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the corpus, to try it quickly")
    parser.add_argument("--cache", default="mmap", help="ram, mmap, none, auto (default: mmap)")
    parser.add_argument("--limit", type=float, metavar="GB", help="compare: under such a limit")
    parser.add_argument("--shared", action="store_true", help="compare: one copy for two trainings")
    parser.add_argument("--rounds", type=int, default=3, help="of a comparison (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--num_threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        iemocap.write_dumps(Path(name), names(args.scale), seed=0)
        results = figures(args, Path(name))
    if args.json and results:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def figures(args: argparse.Namespace, root: Path) -> list[Result]:
    """What the options ask for."""
    if args.limit:
        with limits.limited(round(args.limit * 1e9)) as group:
            if group is None:
                print(limits.NOT_PERMITTED)
                return []
            return compare(args, root, Way(1, 2, "ram"), Way(1, 2, args.cache, group))
    if args.shared:
        return compare(args, root, Way(2, 1, "ram"), Way(2, 1, args.cache))
    return [run(args, root, Way(*way, args.cache)) for way in ((1, 2), (2, 1))]


def compare(args: argparse.Namespace, root: Path, one: Way, other: Way) -> list[Result]:
    """Two ways in turns, and the ratio of their median epochs."""
    results = [run(args, root, way) for _ in range(args.rounds) for way in (one, other)]
    first, second = (
        statistics.median(result.seconds for result in results[i::2]) for i in range(2)
    )
    print(f"{other.name()}: {second / first:.3f} times the epoch of {one.name()}")
    return results


def names(scale: float) -> list[str]:
    """The utterances: first those of the training part."""
    return [f"u{i:05d}" for i in range(round(TRAIN * scale) + round(SELECT * scale))]


def run(args: argparse.Namespace, root: Path, way: Way) -> Result:
    """Train in one way."""
    trainings, threads = way.trainings, way.threads
    arguments = ["--child", str(root), "--num_threads", str(threads), "--cache", way.cache]
    arguments += ["--scale", str(args.scale), "--epochs", str(args.epochs)]
    setting = processes.recipe_setting()
    if way.group:
        limits.forget(root)
    children = [
        processes.start("tests.bench.bench_epoch", arguments, setting, threads, way.group)
        for _ in range(trainings)
    ]
    own = processes.own_memory(children)
    found = [processes.result(child) for child in children]
    seconds = max(child["seconds"] for child in found)
    counts = products(load([CONFIG]).model, args.scale)
    peak = max(child["peak_gflops"] for child in found)
    result = Result(
        what=way.name(),
        cache=way.cache,
        seconds=seconds,
        two_processors=seconds * threads / 2,
        cpu=sum(child["cpu"] for child in found),
        loading=max(child["loading"] for child in found),
        tflop=sum(counts.values()) / 1e12,
        input_share=counts["input"] / sum(counts.values()),
        gflops=sum(counts.values()) / 1e9 / seconds,
        peak_gflops=peak,
        bound=sum(counts.values()) / 1e9 / peak,
        peak_mib=max(child["peak_mib"] for child in found),
        own_mib=own,
    )
    report(result)
    return result


def products(config: ModelConfig, scale: float) -> dict[str, float]:
    """Floating-point operations of an epoch's matrix products.

    A product takes two per element and term; the backward pass of a layer takes two products more,
    and one less where its input needs no gradient. Selection is a forward pass.
    """
    n_train, n = round(TRAIN * scale), len(names(scale))
    counts = iemocap.lengths(n, seed=0)
    hidden, out = config.hidden, config.channels * config.features
    found = {"input": 0.0, "recurrence": 0.0, "linear": 0.0}
    for frames in counts.values():
        train, select = float(frames[:n_train].sum()), float(frames[n_train:].sum())
        found["input"] += 2 * iemocap.DIM * 6 * hidden * (2 * train + select)
        found["recurrence"] += 2 * hidden * 6 * hidden * (3 * train + select)
        found["linear"] += 2 * 2 * hidden * out * (3 * train + select)
    return found


def report(result: Result) -> None:
    """Print a result, and in a sentence what bounds it."""
    print(
        f"{result.what}: {result.seconds:.1f} s an epoch, {result.two_processors:.1f} s of two "
        f"processors ({result.cpu:.1f} s of processors in all), after {result.loading:.1f} s of "
        f"loading; peak {result.peak_mib:.0f} MiB, of all {result.own_mib:.0f} MiB without files\n"
        f"  {result.tflop:.2f} TFLOP of matrix products, {result.input_share:.0%} of them the "
        f"input of the Bi-GRU: {result.gflops:.0f} GFLOP/s, where one large product reaches "
        f"{result.peak_gflops:.0f}\n"
        f"  so at least {result.bound:.1f} s, {result.bound / result.seconds:.0%} of the epoch, "
        f"are those products, {result.bound * result.input_share:.1f} s the input's",
        flush=True,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train in this process."""
    device = set_up(args.num_threads, 0)
    peak = product_speed()
    began = time.perf_counter()
    utts = names(args.scale)
    n_train = round(TRAIN * args.scale)
    emotions = {utt: iemocap.CLASSES[i % 4] for i, utt in enumerate(utts)}
    config = load([CONFIG], [f"epochs={args.epochs}"])
    dumps = {name: args.child / "dump" / name for name in ("audio", "text")}
    parts = [
        dataset.load(part, emotions, iemocap.CLASSES, dumps, config, args.cache)
        for part in (utts[:n_train], utts[n_train:])
    ]
    with tempfile.TemporaryDirectory(dir=args.child) as directory:
        inputs = TrainerInputs(
            directory=Path(directory),
            identity="bench",
            config=config,
            seed=1,
            selection="valid",
            classes=list(iemocap.CLASSES),
            train=parts[0],
            select=parts[1],
            device=device,
        )
        trainer = Trainer(inputs)
        loaded, cpu = time.perf_counter(), time.process_time()
        trainer.fit()
        seconds, cpu = time.perf_counter() - loaded, time.process_time() - cpu
    return {
        "seconds": seconds / args.epochs,
        "cpu": cpu / args.epochs,
        "loading": loaded - began,
        "peak_gflops": max(peak, product_speed()),
        "peak_mib": processes.peak_mib(),
    }


def product_speed() -> float:
    """GFLOP/s of one large matrix product in float32, the best of a few."""
    n = 2048
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best / 1e9


if __name__ == "__main__":
    main()
