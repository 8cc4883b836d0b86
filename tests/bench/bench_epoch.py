"""How long an epoch of cfia_net takes at IEMOCAP's size, and what bounds it.

4425 training utterances, and 885 to select by, as long as IEMOCAP's, with transcripts of 18 pieces;
random features 768 wide, read from Kaldi archives that are written first (4 GB; by
`python -m tests.bench.iemocap DIR`, for several benchmarks). Measured are one
training on two threads, and two trainings side by side on one thread each, of which an epoch of
both processors is half; on a GPU, one training in float32 and one in bf16, in this process. They
take turns. Matrix products are counted, and their speed compared with that of one large product in
the same process. Nothing is asserted about times.

    python -m tests.bench.bench_epoch --dir /tmp --json bench.json

Two comparisons instead: `--limit GB`, a training whose features are on disk, in a control group of
so much memory, page cache included, with one that holds them in memory; and `--shared`, two
trainings side by side that share the archives' pages, with two that hold a copy each. `--profile`
adds the share of the time in which the device is busy, over some batches.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cfia.config import load
from cfia.networks import ModelConfig
from cfia.training import dataset
from cfia.training.determinism import set_up
from cfia.training.feature_cache import Room
from cfia.training.free_memory import free_memory
from cfia.training.trainer import Trainer, TrainerInputs
from tests.bench import devices, iemocap, limits, processes, products, timing
from tests.bench.busy import BATCHES, Busy

TRAIN, SELECT = 4425, 885
CONFIG = processes.ROOT / "conf" / "systems" / "cfia_net.yaml"


@dataclass
class Result:
    """An epoch of one training.

    Attributes:
        seconds: of training, selection and checkpoints; loading: before the first epoch.
        cache: where features are kept; precision: of the products, "float32" or "bf16".
        two_processors: seconds for which both processors are taken.
        cpu: seconds of processors, of all trainings side by side.
        tflop: of matrix products; input_share: the part of the Bi-GRU's input projection in them.
        gflops: achieved, of each training; peak_gflops: of one large product.
        bound: the least part of `seconds` that the products take, all of it if `bound_share` is 1.
        peak_mib: of the largest training, with what it maps, or of the tensors on a GPU; own_mib:
            of all trainings at once, without mapped and cached files; None in this process.
    """

    what: str
    cache: str
    precision: str
    seconds: float
    two_processors: float
    cpu: float
    loading: float
    tflop: float
    input_share: float
    gflops: float
    peak_gflops: float
    bound: float
    bound_share: float
    peak_mib: float
    own_mib: float | None
    conditions: timing.Conditions


@dataclass
class Way:
    """So many trainings side by side, on so many threads each, in a control group or none.

    Attributes:
        here: in this process; there is one training then.
    """

    trainings: int
    threads: int
    cache: str
    group: Path | None = None
    precision: str = "float32"
    here: bool = False

    def name(self) -> str:
        limit = ", under the limit" if self.group else ""
        if self.here:
            return f"a training in {self.precision}, features {self.cache}"
        many = f"{self.trainings} training(s) on {self.threads} thread(s) each"
        return f"{many}, features {self.cache}{limit}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time an epoch of cfia_net at IEMOCAP's size.",
        epilog="example: python -m tests.bench.bench_epoch --dir /tmp --json bench.json",
    )
    parser.add_argument("--dir", type=Path, help="has the archives, or they go there for a while")
    parser.add_argument("--epochs", type=int, default=1, help="the mean of so many (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the corpus, to try it quickly")
    parser.add_argument(
        "--cache", default="mmap", help="ram, mmap, none, auto, gpu (default: mmap)"
    )
    parser.add_argument("--limit", type=float, metavar="GB", help="compare: under such a limit")
    parser.add_argument("--shared", action="store_true", help="compare: one copy for two trainings")
    parser.add_argument("--here", action="store_true", help="all in one process, to try it")
    parser.add_argument("--profile", action="store_true", help="how busy the device is, too")
    devices.add_argument(parser)
    timing.add_arguments(parser)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--num_threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = devices.taken(args.on)
    if args.child:
        print(json.dumps(measure(args)))
        return
    figures = timing.Figures(args.json)
    with iemocap.written(args.dir, args.scale) as root:
        for result in compare(args, root):
            report(result)
            figures.add(result)
        if args.profile:
            watched = Busy(device)
            train(child_arguments(args, root, ways(args)[0]), watched)
            share = watched.share()
            print(f"the device is busy for {share:.0%} of the time of {BATCHES} batches")
            figures.add({"what": "the time that the device is busy", "busy": share})


def ways(args: argparse.Namespace, group: Path | None = None) -> list[Way]:
    """What the options ask for."""
    if args.on == "gpu" or args.here:
        return [
            Way(1, args.num_threads, args.cache, precision=precision, here=True)
            for precision in ("float32", "bf16")
        ]
    if group is not None:
        return [Way(1, 2, "ram"), Way(1, 2, args.cache, group)]
    if args.shared:
        return [Way(2, 1, "ram"), Way(2, 1, args.cache)]
    return [Way(1, 2, args.cache), Way(2, 1, args.cache)]


def compare(args: argparse.Namespace, root: Path) -> Iterator[Result]:
    """All ways in turns; of a comparison of two, the ratio of their epochs, too."""
    if not args.limit:
        yield from in_turns(args, root, ways(args))
        return
    with limits.limited(round(args.limit * 1e9)) as group:
        if group is None:
            print(limits.NOT_PERMITTED)
            return
        yield from in_turns(args, root, ways(args, group))


def in_turns(args: argparse.Namespace, root: Path, both: list[Way]) -> Iterator[Result]:
    """Give each way its turns; then say what was found."""
    sides = {way.name(): partial(run, args, root, way) for way in both}
    turns = timing.in_turns(sides, args.time_limit)
    for way in both:
        yield result(args, way, turns)
    one, other = (way.name() for way in both)
    ratio = turns.fastest(other).seconds / turns.fastest(one).seconds
    print(f"{other}: {ratio:.3f} times the epoch of {one}", flush=True)


def names(scale: float) -> list[str]:
    """The utterances: first those of the training part."""
    utts = iemocap.utterances(round(iemocap.UTTERANCES * scale))
    return list(utts)[: round(TRAIN * scale) + round(SELECT * scale)]


def child_arguments(args: argparse.Namespace, root: Path, way: Way) -> argparse.Namespace:
    """The arguments of one training of a way."""
    own = {"child": root, "num_threads": way.threads, "cache": way.cache}
    return argparse.Namespace(**{**vars(args), **own, "precision": way.precision})


def run(args: argparse.Namespace, root: Path, way: Way) -> timing.Turn:
    """Train in one way."""
    options = child_arguments(args, root, way)
    if way.here:
        found, own = [measure(options)], None
    else:
        if way.group:
            limits.forget(root)
        passed = ("child", "num_threads", "cache", "precision", "scale", "epochs", "on")
        words = [f"--{name}={getattr(options, name)}" for name in passed]
        setting = processes.recipe_setting()
        children = [
            processes.start("tests.bench.bench_epoch", words, setting, way.threads, way.group)
            for _ in range(way.trainings)
        ]
        own = processes.own_memory(children)
        found = [processes.result(child) for child in children]
    seconds = max(child["seconds"] for child in found)
    return timing.Turn(seconds, sum(child["cpu"] for child in found), (found, own))


def result(args: argparse.Namespace, way: Way, turns: timing.Turns) -> Result:
    """The fastest turn of a way, with what bounds it."""
    turn = turns.fastest(way.name())
    found, own = turn.found
    counts = operations(load([CONFIG]).model, args.scale)
    gflop, peak = sum(counts.values()) / 1e9, max(child["peak_gflops"] for child in found)
    return Result(
        what=way.name(),
        cache=way.cache,
        precision=way.precision,
        seconds=turn.seconds,
        two_processors=turn.seconds * way.threads / 2,
        cpu=turn.cpu,
        loading=max(child["loading"] for child in found),
        tflop=gflop / 1e3,
        input_share=counts["input"] / 1e9 / gflop,
        gflops=gflop / turn.seconds,
        peak_gflops=peak,
        bound=gflop / peak,
        bound_share=gflop / peak / turn.seconds,
        peak_mib=max(child["peak_mib"] for child in found),
        own_mib=own,
        conditions=turns.conditions,
    )


def operations(config: ModelConfig, scale: float) -> dict[str, float]:
    """Floating-point operations of an epoch's matrix products.

    A product takes two per element and term; the backward pass of a layer takes two products more,
    and one less where its input needs no gradient. Selection is a forward pass. So an epoch needs
    not be counted as it runs, which takes time.
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
    own = "" if result.own_mib is None else f", of all {result.own_mib:.0f} MiB without files"
    print(
        f"{result.what}: {result.seconds:.1f} s an epoch, {result.two_processors:.1f} s of two "
        f"processors ({result.cpu:.1f} s of processors in all), after {result.loading:.1f} s of "
        f"loading; peak {result.peak_mib:.0f} MiB{own}\n"
        f"  {result.tflop:.2f} TFLOP of matrix products, {result.input_share:.0%} of them the "
        f"input of the Bi-GRU: {result.gflops:.0f} GFLOP/s, where one large product reaches "
        f"{result.peak_gflops:.0f}\n"
        f"  so at least {result.bound:.1f} s, {result.bound_share:.0%} of the epoch, "
        f"are those products, {result.bound * result.input_share:.1f} s the input's\n"
        f"{result.conditions.words()}",
        end="",
        flush=True,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, and see how fast one large product is in it."""
    device = set_up(args.num_threads, int(args.on == "gpu"))
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    rate = partial(products.rate, device, dtype, small=args.scale < 1)
    before = rate()
    found = train(args)
    return {**found, "peak_gflops": max(before, rate())}


def train(args: argparse.Namespace, watched: Busy | None = None) -> dict[str, float]:
    """Train in this process; what it took."""
    device = set_up(args.num_threads, int(args.on == "gpu"))
    devices.forget_peak(device)
    began = time.perf_counter()
    utts = names(args.scale)
    n_train = round(TRAIN * args.scale)
    emotions = {utt: iemocap.CLASSES[i % 4] for i, utt in enumerate(utts)}
    config = load([CONFIG], [f"epochs={args.epochs}", f"precision={args.precision}"])
    dumps = {name: args.child / "dump" / name for name in ("audio", "text")}
    loaded = {
        name: dataset.load(part, emotions, iemocap.CLASSES, dumps, config, "none")
        for name, part in (("train", utts[:n_train]), ("select", utts[n_train:]))
    }
    parts = dataset.keep_together(loaded, args.cache, room(device, args.cache))
    with tempfile.TemporaryDirectory(dir=args.child) as directory:
        inputs = TrainerInputs(
            directory=Path(directory),
            identity="bench",
            config=config,
            seed=1,
            selection="valid",
            classes=list(iemocap.CLASSES),
            train=parts["train"],
            select=parts["select"],
            device=device,
        )
        trainer = Trainer(inputs)
        if watched is not None:
            watched.watch(trainer.model)
        ready, cpu = time.perf_counter(), time.process_time()
        trainer.fit()
        devices.wait(device)
        seconds, cpu = time.perf_counter() - ready, time.process_time() - cpu
    return {
        "seconds": seconds / args.epochs,
        "cpu": cpu / args.epochs,
        "loading": ready - began,
        "peak_mib": devices.peak_mib(device),
    }


def room(device: torch.device, cache: str) -> Room | None:
    """The memory of a GPU that one training may take; processors may pretend to be one."""
    if device.type == "cpu" and cache == "gpu":
        return Room(device, free_memory(), 1)
    return Room.on(device, 1)


if __name__ == "__main__":
    main()
