"""How long a dump takes against its encoder run on one utterance at a time.

For emotion2vec that is funasr's own `generate` over a wav.scp, for BERT the same model on one
transcript after another. Weights are random and of the published sizes; utterances are as long as
IEMOCAP's, transcripts have 18 pieces on average. Both sides have the same number of threads, and
their turns alternate; of each the fastest is taken. Nothing is asserted about times.

    python -m tests.bench.bench_dump --seconds 200 --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfia.files import read_yaml
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import checkpoint
from cfia.upstream.choice import Choice
from cfia.upstream.dump import run_job
from cfia.upstream.dump_plan import Settings, find_model, make
from cfia.upstream.merge import merge
from cfia.upstream.registry import build, model_digest
from tests.bench.iemocap import MEAN, PIECES, durations
from tests.support import dump_data, tiny_emotion2vec, tiny_models

Matrices = dict[str, NDArray[np.float32]]


@dataclass
class Result:
    """Seconds on the clock and on the processors, and the largest difference of any value."""

    what: str
    utterances: int
    alone: float
    dump: float
    ratio: float
    alone_cpu: float
    dump_cpu: float
    ratio_cpu: float
    loading: float  # the part of the dump that does not grow with the corpus
    ratio_loaded: float  # without it
    difference: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time dumps against their encoders run on one utterance at a time.",
        epilog="example: python -m tests.bench.bench_dump --seconds 200 --num_threads 2",
    )
    parser.add_argument("--seconds", type=float, default=200.0, help="of audio (default: 200)")
    parser.add_argument("--transcripts", type=int, default=400, help="for BERT (default: 400)")
    parser.add_argument("--num_threads", type=int, default=2, help="of each side (default: 2)")
    parser.add_argument("--repeats", type=int, default=2, help="turns of each side (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--config", type=Path, help="emotion2vec's config.yaml (default: the base)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # funasr sets the root's level
    checkpoint.silence()
    with tempfile.TemporaryDirectory() as name:
        results = [emotion2vec(Path(name), args), bert(Path(name), args)]
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def emotion2vec(work: Path, args: argparse.Namespace) -> Result:
    """funasr's AutoModel.generate over a wav.scp against the dump of the same files."""
    settings = read_yaml(args.config) if args.config else tiny_emotion2vec.base_config()
    model = tiny_emotion2vec.save(work / "emotion2vec", settings, args.seed)
    rng = np.random.default_rng(args.seed)
    waves = {
        f"s-{i:04d}": dump_data.noise(seconds, seed=i)
        for i, seconds in enumerate(durations(round(args.seconds / MEAN), rng))
    }
    data = dump_data.write_data(work / "audio", waves)
    funasr = tiny_emotion2vec.reference(model, args.num_threads)

    def alone() -> Matrices:
        results = funasr.generate(
            str(data / "wav.scp"), granularity="frame", extract_embedding=True
        )
        return {result["key"]: result["feats"] for result in results}

    total = sum(map(len, waves.values())) / 16000
    what = f"emotion2vec, {total:.0f} s of audio"
    return measure(what, alone, Choice("audio", "emotion2vec", str(model)), data, work, args)


def bert(work: Path, args: argparse.Namespace) -> Result:
    """A BERT of the base size on one transcript after another against the dump."""
    import torch
    from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

    tiny_models.save_bert(work / "bert")  # for its tokenizer; each word is a piece
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(work / "bert")
    BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(work / "bert")
    model = AutoModel.from_pretrained(work / "bert").eval()
    rng = np.random.default_rng(args.seed)
    data = dump_data.write_data(
        work / "text", {f"s-{i:04d}": dump_data.noise(0.1) for i in range(args.transcripts)}
    )
    words = [word for word in tiny_models.WORDS if word.isalpha()]
    rows = {
        utterance: " ".join(rng.choice(words, size=1 + rng.geometric(1 / (PIECES - 1))))
        for utterance in read_table(data / "text")
    }
    write_table(data / "text", rows)

    def alone() -> Matrices:
        torch.set_num_threads(args.num_threads)
        found = {}
        with torch.inference_mode():
            for utterance, text in rows.items():
                output = model(**tokenizer(text, return_tensors="pt"))
                found[utterance] = output.last_hidden_state[0].numpy()
        return found

    what = f"BERT, {len(rows)} transcripts"
    return measure(what, alone, Choice("text", "bert", str(work / "bert")), data, work, args)


def measure(
    what: str,
    alone: Callable[[], Matrices],
    choice: Choice,
    data: Path,
    work: Path,
    args: argparse.Namespace,
) -> Result:
    """Take turns, each dump with its plan, the loading of its model, and the merge."""
    loaded = DataDir.load(data)
    directory = work / f"dump_{choice.name}"

    def dump() -> Matrices:
        files = find_model(directory, loaded, choice, force=True)
        assert files is not None
        settings = Settings(choice, args.num_threads, 0, False, files=files.record())
        for job in range(1, make(directory, loaded, settings, 1, force=True) + 1):
            run_job(directory, loaded, job)
        merge(directory)
        return dump_data.features(directory)

    times: dict[str, list[tuple[float, float]]] = {"alone": [], "dump": []}
    difference = 0.0
    for _ in range(args.repeats):
        wanted, spent = timed(alone)
        times["alone"].append(spent)
        shutil.rmtree(directory, ignore_errors=True)
        found, spent = timed(dump)
        times["dump"].append(spent)
        assert found.keys() == wanted.keys()
        difference = max(difference, *(float(np.abs(found[u] - wanted[u]).max()) for u in wanted))
    (alone_wall, alone_cpu), (dump_wall, dump_cpu) = (
        tuple(map(min, zip(*times[side], strict=True))) for side in ("alone", "dump")
    )
    loading = min(timed(lambda: load(choice, args.num_threads))[1][0] for _ in range(2))
    result = Result(
        what=f"{what}, {args.num_threads} threads",
        utterances=len(wanted),
        alone=alone_wall,
        dump=dump_wall,
        ratio=dump_wall / alone_wall,
        alone_cpu=alone_cpu,
        dump_cpu=dump_cpu,
        ratio_cpu=dump_cpu / alone_cpu,
        loading=loading,
        ratio_loaded=(dump_wall - loading) / alone_wall,
        difference=difference,
    )
    report(result)
    return result


def load(choice: Choice, num_threads: int) -> None:
    """What the plan and a job do before the first utterance."""
    model_digest(choice)
    build(choice, num_threads)


def timed(function: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """A function's value, and the seconds it took: on the clock, and of processors."""
    began, began_cpu = time.perf_counter(), time.process_time()
    value = function()
    return value, (time.perf_counter() - began, time.process_time() - began_cpu)


def report(result: Result) -> None:
    """Print a result."""
    print(
        f"{result.what}, {result.utterances} utterances:\n"
        f"  one by one  {result.alone:8.2f} s   processors {result.alone_cpu:8.2f} s\n"
        f"  dump        {result.dump:8.2f} s   processors {result.dump_cpu:8.2f} s\n"
        f"  ratio       {result.ratio:8.3f}              {result.ratio_cpu:19.3f}\n"
        f"  loading     {result.loading:8.2f} s   ratio without it {result.ratio_loaded:.3f}\n"
        f"  largest difference {result.difference:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
