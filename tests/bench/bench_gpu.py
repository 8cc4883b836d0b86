"""How long whole runs take on a GPU, by how many trainings share it.

All folds of both schemes (5 sessions, 10 speakers) of random data of IEMOCAP's size are trained by
`cfia.bin.train` through run.py, as stage 5 does, with 1, 5 and 10 jobs on each GPU; where there are
more jobs than folds, of several seeds. Nothing is asserted about times.

    python -m tests.bench.bench_gpu --epochs 5 --precision bf16 --json bench.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from cfia.options import EVERY
from cfia.study.planned import PlannedDump, PlannedExperiment
from cfia.training.record import record
from cfia.training.task_list import Task, write_list
from tests.bench import devices, iemocap, processes, timing

FOLDS = {"session": 5, "speaker": 10}


@dataclass
class Result:
    """Seconds of a run over all folds.

    Attributes:
        of_an_epoch: seconds for each epoch of each training, the starts of processes included.
        faster: how many times less that is than with the first number of jobs.
    """

    scheme: str
    jobs: int
    trainings: int
    seconds: float
    of_an_epoch: float
    faster: float
    conditions: timing.Conditions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time whole runs by the number of jobs that share a GPU.",
        epilog="example: python -m tests.bench.bench_gpu --epochs 5 --json bench.json",
    )
    parser.add_argument("--dir", type=Path, help="has the data, or it goes there for a while")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 5, 10], help="on each GPU")
    parser.add_argument("--schemes", nargs="+", default=list(FOLDS), choices=FOLDS)
    parser.add_argument("--folds", type=int, default=10, help="at most, of each (default: all)")
    parser.add_argument("--epochs", type=int, default=3, help="of each training (default: 3)")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"))
    parser.add_argument("--scale", type=float, default=1.0, help="of the corpus, to try it quickly")
    devices.add_argument(parser, default="gpu")
    timing.add_arguments(parser, turns=False)
    args = parser.parse_args()
    device = devices.taken(args.on)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "processors"
    print(f"{name}, {args.precision}, {args.epochs} epochs a training", flush=True)
    figures = timing.Figures(args.json)
    with iemocap.written(args.dir, args.scale) as root:
        for result in compare(args, root):
            report(result, args.jobs[0])
            figures.add(result)


def compare(args: argparse.Namespace, root: Path) -> Iterator[Result]:
    """Every scheme with every number of jobs."""
    for scheme in args.schemes:
        first = 0.0
        for jobs in args.jobs:
            folds = min(args.folds, FOLDS[scheme])
            seeds = range(1, 1 + -(-jobs // folds))
            turn, conditions = timing.once(partial(run, args, root, scheme, jobs, seeds))
            trainings = folds * len(seeds)
            of_an_epoch = turn.seconds / trainings / args.epochs
            first = first or of_an_epoch
            yield Result(
                scheme, jobs, trainings, turn.seconds, of_an_epoch, first / of_an_epoch, conditions
            )


def report(result: Result, first: int) -> None:
    """Print a result."""
    print(
        f"{result.scheme}: {result.trainings:2} trainings, {result.jobs:2} jobs at a time: "
        f"{result.seconds:7.1f} s ({result.of_an_epoch:.2f} s for an epoch of one training), "
        f"{result.faster:.2f} times as fast as {first}\n{result.conditions.words()}",
        end="",
        flush=True,
    )


def run(args: argparse.Namespace, root: Path, scheme: str, jobs: int, seeds: range) -> timing.Turn:
    """Train all folds, each with each seed."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        exp = Path(name) / scheme
        write_experiment(args, root, exp, seeds, jobs)
        folds = range(1, 1 + min(args.folds, FOLDS[scheme]))
        tasks = [Task(exp, fold, seed) for seed in seeds for fold in folds]
        write_list(exp / "train.list", tasks)
        share = ["--gpu", "1", "--jobs-per-gpu"] if args.on == "gpu" else ["--max-jobs-run"]
        command = [
            sys.executable, str(processes.ROOT / "utils" / "run.py"), *share, str(jobs),
            f"JOB=1:{len(tasks)}", str(exp / "train.JOB.log"),
            sys.executable, "-m", "cfia.bin.train", "--list", str(exp / "train.list"),
            "--job", "JOB", "--jobs", str(len(tasks)),
        ]  # fmt: skip
        return timing.timed(lambda: subprocess.run(command, cwd=processes.ROOT, check=True))


def write_experiment(
    args: argparse.Namespace, root: Path, directory: Path, seeds: range, jobs: int
) -> None:
    """Write the experiment.yaml of a directory, whose name is that of the scheme."""
    options = {option.name: option.default for option in EVERY}
    options |= {"cv": directory.name, "selection": "last"}
    if args.on == "gpu":
        options |= {"ngpu": "1", "jobs_per_gpu": str(jobs)}
    planned = PlannedExperiment(
        directory=directory,
        files=(processes.ROOT / "conf" / "systems" / "cfia_net.yaml",),
        overrides=(f"epochs={args.epochs}", f"precision={args.precision}"),
        options=options,
        data=root / "data" / "all",
        folds=root / "data" / "folds" / directory.name,
        dumps=tuple(
            PlannedDump(name, name, "", "", root / "dump" / name) for name in ("audio", "text")
        ),
        seeds=tuple(seeds),
    )
    record(planned.resolve("random"), force=False)


if __name__ == "__main__":
    main()
