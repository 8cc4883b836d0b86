"""How long `cfia predict` takes over a folder, against what its encoder and its network take.

The network is CFIA-Net of its published size on filterbanks, with random weights; recordings are
noise, as long as IEMOCAP's utterances, but for those that would be read in windows. The command
runs on folders, one of which has more files: what they differ by is without the start. Its own
work is that of one process that reads, encodes and judges in batches. All take turns. Nothing is
asserted.

    python -m tests.bench.bench_predict --files 1000 --json bench.json
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

import cfia
from cfia.files import read_yaml
from cfia.kaldi import audio
from cfia.options import processors
from cfia.upstream.items import resampled
from tests.bench import products, timing
from tests.bench.iemocap import durations
from tests.bench.processes import ROOT
from tests.support import tiny_packs

RATE = 16000
LONGEST = 10.0  # seconds that the network takes at once
BATCH = 32


@dataclass
class Run:
    """One run of the command: on the clock, on the processors, and its memory in MiB."""

    files: int
    seconds: float
    cpu: float
    peak: float


@dataclass
class Result:
    """Seconds of processor time a file, ratios, and the processors that were busy."""

    own: float
    predict: float
    ratio: float
    busy: float
    memory: float
    first_answer: float
    gflop: float  # of products, of the small folder's files
    rate: float  # GFLOP/s of one product on one thread
    own_share: float  # of that
    runs: list[Run]
    conditions: timing.Conditions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time cfia predict against its encoder and its network.",
        epilog="example: python -m tests.bench.bench_predict --files 1000",
    )
    parser.add_argument("--files", type=int, default=1000, help="of the large folder")
    parser.add_argument("--few", type=int, default=100, help="of the small folder (default: 100)")
    parser.add_argument("--nj", type=int, default=processors(), help="processes of the command")
    parser.add_argument("--seed", type=int, default=0)
    timing.add_arguments(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), args)
    timing.Figures(args.json).add(result)
    print(f"own work        {1000 * result.own:7.2f} ms a file (processor)")
    print(f"cfia predict    {1000 * result.predict:7.2f} ms a file, {result.ratio:.2f} times that")
    print(f"busy            {result.busy:7.2f} of {args.nj} processors")
    for run in result.runs:
        print(f"{run.files:5} files     {run.seconds:7.1f} s, {run.peak:.0f} MiB at the most")
    print(f"memory          {result.memory:7.2f} times that of {args.few} files")
    print(f"first answer    {result.first_answer:7.2f} s after the start (processor)")
    print(products.words(result.gflop * 1e9, {"own work": result.own_share}, result.rate), end="")
    print(result.conditions.words(), end="")


def measure(place: Path, args: argparse.Namespace) -> Result:
    """Write the folders and a pack, and run the command on them."""
    options = read_yaml(ROOT / "conf" / "systems" / "cfia_net.yaml")
    options |= {"frame_rate": 12.5, "max_frames": 128}
    pack = tiny_packs.write(place / "pack", tiny_packs.FBANK, options=options)
    rng = np.random.default_rng(args.seed)
    seconds = np.minimum(durations(args.files, rng), LONGEST)
    for folder, count in (("one", 1), ("few", args.few), ("all", args.files)):
        (place / folder).mkdir()
        for number, length in enumerate(seconds[:count]):
            samples = rng.normal(0, 0.1, round(length * RATE))
            soundfile.write(place / folder / f"{number:05d}.wav", samples, RATE)
    own = Own(pack, sorted((place / "few").iterdir()))
    folders = {name: partial(_run, pack, place / name, args.nj) for name in ("one", "few", "all")}
    sides: dict[str, Callable[[], timing.Turn]] = {"own": lambda: timing.timed(own.work), **folders}
    flop = products.operations(own.work)[1]
    turns = timing.in_turns(sides, args.time_limit)
    one, few, many = (
        Run(len(list((place / name).iterdir())), *turns.least(name), turns.fastest(name).found)
        for name in folders
    )
    own_seconds, own_cpu = turns.least("own")
    predict = (many.cpu - few.cpu) / (many.files - few.files)
    rate = products.rate(torch.device("cpu"))
    return Result(
        own=own_cpu / args.few,
        predict=predict,
        ratio=predict / (own_cpu / args.few),
        busy=(many.cpu - few.cpu) / (many.seconds - few.seconds),
        memory=many.peak / few.peak,
        first_answer=one.cpu,
        gflop=flop / 1e9,
        rate=rate,
        own_share=products.share(flop, own_seconds, rate),
        runs=[one, few, many],
        conditions=turns.conditions,
    )


class Own:
    """Reading and encoding files, and the network on batches, all in this process."""

    def __init__(self, pack: Path, files: list[Path]) -> None:
        self._model = cfia.load(pack)
        self._files = files

    def work(self) -> None:
        """Do it once."""
        encoder = self._model.encoders["audio"]
        matrices = []
        for path in self._files:
            samples, rate = audio.load(path)
            matrices += encoder.extract([resampled(samples, rate, encoder)])
        matrices.sort(key=len)
        for first in range(0, len(matrices), BATCH):
            self._model.posteriors({"audio": matrices[first : first + BATCH]})


def _run(pack: Path, folder: Path, nj: int) -> timing.Turn:
    command = [sys.executable, "-m", "cfia", "predict", "--model", str(pack), str(folder)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with subprocess.Popen(
        [*command, "--nj", str(nj)],
        cwd=ROOT, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        peaks = [0.0]
        watch = threading.Thread(target=_watch, args=(process, peaks))
        watch.start()
        if process.wait():
            sys.exit("cfia predict failed; see above")
        watch.join()
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return timing.Turn(seconds, cpu, max(peaks))


def _watch(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Note the memory of a process and its children, what they share divided among them."""
    while process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        kib = 0
        try:
            for pid in [str(process.pid), *children.read_text().split()]:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):  # it ends just now
            continue
        peaks.append(kib / 1024)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
