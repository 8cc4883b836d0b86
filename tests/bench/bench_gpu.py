"""How long whole runs take on a GPU, by how many trainings share it.

All folds of both schemes (5 sessions, 10 speakers) of random data of IEMOCAP's size are trained by
`cfia.bin.train` through run.py, as stage 5 does, with 1, 5 and 10 jobs on each GPU. Where there is
no GPU it says so and ends well. Nothing is asserted about times.

    python -m tests.bench.bench_gpu --epochs 5 --precision bf16 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cfia.options import EVERY
from cfia.study.planned import PlannedDump, PlannedExperiment
from cfia.training.record import record
from tests.bench import iemocap, processes

FOLDS = {"session": 5, "speaker": 10}


@dataclass
class Result:
    """Seconds of a run over all folds; how many times faster than with the first number of jobs."""

    scheme: str
    jobs: int
    seconds: float
    faster: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time whole runs by the number of jobs that share a GPU.",
        epilog="example: python -m tests.bench.bench_gpu --epochs 5 --json bench.json",
    )
    parser.add_argument(
        "--dir", type=Path, help="where data and runs go for a while (default: tmp)"
    )
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 5, 10], help="on each GPU")
    parser.add_argument("--schemes", nargs="+", default=list(FOLDS), choices=FOLDS)
    parser.add_argument("--epochs", type=int, default=3, help="of each training (default: 3)")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"))
    parser.add_argument("--scale", type=float, default=1.0, help="of the corpus, to try it quickly")
    parser.add_argument("--on", default="gpu", choices=("gpu", "cpu"), help="cpu: to try it")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args()
    if args.on == "gpu" and not torch.cuda.is_available():
        print("There is no GPU here that torch can see, so there is nothing to measure.")
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        results = compare(args, Path(name))
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def compare(args: argparse.Namespace, root: Path) -> list[Result]:
    """Every scheme with every number of jobs."""
    utts = iemocap.utterances(round(iemocap.UTTERANCES * args.scale))
    iemocap.write_data(root, utts)
    iemocap.write_dumps(root, list(utts), seed=0)
    device = torch.cuda.get_device_name() if args.on == "gpu" else "processors"
    print(f"{device}, {args.precision}, {args.epochs} epochs a training", flush=True)
    results: list[Result] = []
    for scheme in args.schemes:
        first = 0.0
        for jobs in args.jobs:
            seconds = run(args, root, scheme, jobs)
            first = first or seconds
            results.append(Result(scheme, jobs, seconds, first / seconds))
            print(
                f"{FOLDS[scheme]:2} folds, {jobs:2} jobs at a time: {seconds:7.1f} s "
                f"({seconds / FOLDS[scheme] / args.epochs:.2f} s for an epoch of one fold), "
                f"{results[-1].faster:.2f} times as fast as {args.jobs[0]}",
                flush=True,
            )
    return results


def run(args: argparse.Namespace, root: Path, scheme: str, jobs: int) -> float:
    """Train all folds; seconds."""
    exp = root / "exp" / f"{jobs}_jobs" / scheme
    write_experiment(args, root, exp)
    share = ["--gpu", "1", "--jobs-per-gpu"] if args.on == "gpu" else ["--max-jobs-run"]
    command = [
        sys.executable, str(processes.ROOT / "utils" / "run.py"), *share, str(jobs),
        f"JOB=1:{FOLDS[scheme]}", str(exp / "train.JOB.log"),
        sys.executable, "-m", "cfia.bin.train", str(exp), "--fold", "JOB", "--seed", "1",
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, cwd=processes.ROOT, check=True)
    return time.perf_counter() - began


def write_experiment(args: argparse.Namespace, root: Path, directory: Path) -> None:
    """Write the experiment.yaml of a directory, whose name is that of the scheme."""
    options = {option.name: option.default for option in EVERY}
    options |= {"cv": directory.name, "selection": "last"}
    options |= {"ngpu": "1" if args.on == "gpu" else "0"}
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
        seeds=(1,),
    )
    record(planned.resolve("random"), force=False)


if __name__ == "__main__":
    main()
