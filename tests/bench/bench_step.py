"""How long a training step takes against the one that a reader would write from the paper.

That one is literal: both inputs padded with zeros to 512 positions, torch's GRU over all of
them, and the equations module by module. `cfia_net` and `cfia_net_paper` are the project's. Audio
is as long as IEMOCAP's, transcripts have 18 pieces, features are random and 768 wide, 32 utterances
make a batch; the batches are spread evenly over an epoch's from the shortest to the longest. Each
form runs in processes of its own, under glibc's defaults and under the setting of path.sh, in
turns; of each batch the fastest step is taken. Nothing is asserted about times.

    python -m tests.bench.bench_step --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cfia.config import Config, build
from cfia.files import read_yaml
from cfia.model import registry
from cfia.model.encoder import Encoder, Sequences
from cfia.training import batches
from cfia.training.determinism import set_up
from cfia.training.loss import objective
from tests.bench import iemocap, processes

BATCH = 32
FORMS = ("literal", "cfia_net", "cfia_net_paper")


@dataclass
class Result:
    """Seconds of a step, on the clock and of processors, and how many times faster than literal.

    Means over the batches. `peak_mib`: the most memory that the process had.
    """

    form: str
    setting: str
    seconds: float
    cpu: float
    faster: float
    faster_cpu: float
    peak_mib: float


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
    parser.add_argument("--repeats", type=int, default=2, help="turns of each form (default: 2)")
    parser.add_argument("--steps", type=int, default=1, help="per batch and turn (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, to try it quickly")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.form:
        print(json.dumps({"seconds": list(measure(args)), "peak_mib": processes.peak_mib()}))
        return
    results = compare(args)
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def compare(args: argparse.Namespace) -> list[Result]:
    """All forms under both settings, in turns."""
    settings = {"defaults": {}, "path.sh": processes.recipe_setting()}
    print(f"path.sh sets {settings['path.sh']}", flush=True)
    best: dict[tuple[str, str], Tensor] = {}  # (batches, 2)
    peak: dict[tuple[str, str], float] = {}
    options = ["num_threads", "batches", "steps", "seed", "scale"]
    arguments = [word for name in options for word in (f"--{name}", str(getattr(args, name)))]
    for turn in range(1, args.repeats + 1):
        print(f"turn {turn} of {args.repeats}", flush=True)
        for key in [(form, setting) for form in args.forms for setting in settings]:
            form, setting = key
            process = processes.start(
                "tests.bench.bench_step",
                [*arguments, "--form", form],
                settings[setting],
                args.num_threads,
            )
            found = processes.result(process)
            seconds = torch.tensor(found["seconds"])
            best[key] = torch.minimum(seconds, best.get(key, seconds))
            peak[key] = max(found["peak_mib"], peak.get(key, 0))
    results = []
    for form, setting in best:
        mean = best[form, setting].mean(dim=0)
        ratio = best["literal", setting].mean(dim=0) / mean
        values = (*mean.tolist(), *ratio.tolist(), peak[form, setting])
        results.append(Result(form, setting, *values))
        report(results[-1], args.num_threads)
    return results


def report(result: Result, num_threads: int) -> None:
    """Print a result."""
    print(
        f"{result.form:15} {num_threads} threads, {result.setting:8}  a step {result.seconds:7.3f} "
        f"s, processors {result.cpu:7.3f} s  faster than literal {result.faster:5.2f} times, "
        f"processors {result.faster_cpu:5.2f}  peak {result.peak_mib:5.0f} MiB",
        flush=True,
    )


def measure(args: argparse.Namespace) -> Iterator[tuple[float, ...]]:
    """Of each batch the least time on the clock and of processors, in seconds."""
    set_up(args.num_threads, 0)
    config = configuration(args.form, args.scale)
    torch.manual_seed(args.seed)
    dims = dict.fromkeys(("audio", "text"), max(1, round(iemocap.DIM * args.scale)))
    model = registry.build(dims, len(iemocap.CLASSES), config.model)
    if args.form == "literal":
        literal = {name: LiteralEncoder(dim, config.model) for name, dim in dims.items()}
        model.encoders = nn.ModuleDict(literal)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr)
    targets = torch.arange(BATCH) % len(iemocap.CLASSES)
    for batch in draw(args.batches, args.scale, dims["audio"]):
        times = [
            step(model, optimizer, batch, targets, config)
            for _ in range(args.steps + 1)  # one more, since the first meets new sizes
        ]
        yield tuple(map(min, zip(*times, strict=True)))


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
    targets: Tensor,
    config: Config,
) -> tuple[float, float]:
    """Forward, backward and update; seconds on the clock and of processors."""
    began, began_cpu = time.perf_counter(), time.process_time()
    loss = objective(model(batch), targets, config.model.consistency, None)
    optimizer.zero_grad(set_to_none=True)
    loss.total().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return time.perf_counter() - began, time.process_time() - began_cpu


if __name__ == "__main__":
    main()
