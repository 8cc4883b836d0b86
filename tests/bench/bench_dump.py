"""How long a dump takes against its encoder run on one utterance at a time.

For emotion2vec that is funasr's own `generate` over a wav.scp, or where funasr is missing, or with
`--ours`, the network of this project on one waveform after another; for WavLM, Whisper and BERT the
same model of transformers on one waveform or transcript after another. Weights are random and of
the published base sizes, of Whisper tiny's; utterances are as long as IEMOCAP's, transcripts have
18 pieces on average. Both sides have the same number of threads, or the same GPU, and take turns.
Nothing is asserted about times.

    python -m tests.bench.bench_dump --seconds 200 --num_threads 2 --json bench.json
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cfia.files import read_yaml
from cfia.kaldi import audio
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import checkpoint
from cfia.upstream.choice import Choice
from cfia.upstream.dump import run_job
from cfia.upstream.dump_plan import Settings, find_model, make
from cfia.upstream.items import at_rate
from cfia.upstream.merge import merge
from cfia.upstream.registry import build, model_digest
from cfia.upstream.whisper import FRAME, WINDOW
from tests.bench import devices, products, timing
from tests.bench.iemocap import MEAN, PIECES, durations
from tests.support import dump_data, tiny_emotion2vec, tiny_models

Matrices = dict[str, NDArray[np.float32]]


@dataclass
class Result:
    """Seconds on the clock and on the processors, and the largest difference of any value.

    Attributes:
        by: what ran one utterance at a time.
        loading: the part of the dump that does not grow with the corpus; ratio_loaded: without it.
        gflop: of products, one by one; alone_share, dump_share: of `rate`, GFLOP/s of one product.
    """

    what: str
    by: str
    utterances: int
    alone: float
    dump: float
    ratio: float
    alone_cpu: float
    dump_cpu: float
    ratio_cpu: float
    loading: float
    ratio_loaded: float
    difference: float
    gflop: float
    rate: float
    alone_share: float
    dump_share: float
    conditions: timing.Conditions
    weights: str = "random"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time dumps against their encoders run on one utterance at a time.",
        epilog="example: python -m tests.bench.bench_dump --seconds 200 --num_threads 2",
    )
    parser.add_argument("--seconds", type=float, default=200.0, help="of audio (default: 200)")
    parser.add_argument("--transcripts", type=int, default=400, help="for BERT (default: 400)")
    parser.add_argument(
        "--encoders", nargs="+", choices=ENCODERS, default=[*ENCODERS], help="(default: all)"
    )
    parser.add_argument("--num_threads", type=int, default=2, help="of each side (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--config", type=Path, help="emotion2vec's config.yaml (default: the base)")
    parser.add_argument("--ours", action="store_true", help="one by one is not funasr's")
    parser.add_argument("--small", action="store_true", help="encoders of no size, to try it")
    devices.add_argument(parser)
    timing.add_arguments(parser)
    args = parser.parse_args()
    args.device = devices.taken(args.on)
    args.ours = args.ours or importlib.util.find_spec("funasr") is None
    logging.disable(logging.WARNING)  # funasr sets the root's level
    checkpoint.silence()
    torch.set_num_threads(args.num_threads)
    figures = timing.Figures(args.json)
    with tempfile.TemporaryDirectory() as name:
        for what in args.encoders:
            encoder = ENCODERS[what]
            if encoder is not emotion2vec and importlib.util.find_spec("transformers") is None:
                figures.add({"what": what, "not_measured": "transformers is not here"})
                print(f"{what}: not measured, transformers is not here")
                continue
            found = encoder(Path(name), args)
            report(found)
            figures.add(found)


def emotion2vec(work: Path, args: argparse.Namespace) -> Result:
    """The network on one waveform after another against the dump of the same files."""
    base = tiny_emotion2vec.config() if args.small else tiny_emotion2vec.base_config()
    settings = read_yaml(args.config) if args.config else base
    model = tiny_emotion2vec.save(work / "emotion2vec", settings, args.seed)
    data, what = utterances(work, args)
    choice = Choice("audio", "emotion2vec", str(model))
    by = "this project's network" if args.ours else "funasr"
    alone = (one_waveform_at_a_time if args.ours else by_funasr)(data, choice, args)
    return measure(f"emotion2vec, {what}", by, alone, choice, data, work, args)


def utterances(work: Path, args: argparse.Namespace) -> tuple[Path, str]:
    """A data directory of audio, made once, and how much it is."""
    lengths = durations(round(args.seconds / MEAN), np.random.default_rng(args.seed))
    if not (work / "audio").exists():
        waves = {f"s-{i:04d}": dump_data.noise(s, seed=i) for i, s in enumerate(lengths)}
        dump_data.write_data(work / "audio", waves)
    return work / "audio", f"{sum(lengths):.0f} s of audio"


def loaded(data: Path, rate: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each utterance and its waveform, read one after another."""
    directory = DataDir.load(data)
    for utterance in directory.utt2spk:
        samples, own = audio.load(*directory.audio(utterance))
        yield utterance, at_rate(samples, own, rate)


def by_funasr(data: Path, choice: Choice, args: argparse.Namespace) -> Callable[[], Matrices]:
    """funasr's own way over a wav.scp."""
    assert choice.model is not None
    model = tiny_emotion2vec.reference(Path(choice.model), args.num_threads, args.device.type)

    def alone() -> Matrices:
        results = model.generate(str(data / "wav.scp"), granularity="frame", extract_embedding=True)
        return {result["key"]: result["feats"] for result in results}

    return alone


def one_waveform_at_a_time(
    data: Path, choice: Choice, args: argparse.Namespace
) -> Callable[[], Matrices]:
    """This project's network, which is given one waveform after another; reading them included."""
    upstream = build(choice, args.num_threads, args.device.type)

    def alone() -> Matrices:
        return {u: upstream.extract([samples])[0] for u, samples in loaded(data, 16000)}

    return alone


def wavlm(work: Path, args: argparse.Namespace) -> Result:
    """WavLM of the base size, by transformers on one waveform after another, against the dump."""
    from transformers import WavLMConfig, WavLMModel

    tiny_models.save_wavlm(work / "wavlm")
    torch.manual_seed(args.seed)
    if not args.small:
        WavLMModel(WavLMConfig()).save_pretrained(work / "wavlm")
    model = WavLMModel.from_pretrained(work / "wavlm").eval().to(args.device)
    data, what = utterances(work, args)

    def alone() -> Matrices:
        with torch.no_grad():  # the count of operations does not take weight norm in inference mode
            return {
                u: model(torch.from_numpy(x)[None].to(args.device))
                .last_hidden_state[0]
                .cpu()
                .numpy()
                for u, x in loaded(data, 16000)
            }

    choice = Choice("audio", "wavlm", str(work / "wavlm"))
    return measure(f"WavLM, {what}", "transformers", alone, choice, data, work, args)


def whisper(work: Path, args: argparse.Namespace) -> Result:
    """The encoder of Whisper, tiny's size, one waveform after another, against the dump."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    tiny_models.save_whisper(work / "whisper")
    torch.manual_seed(args.seed)
    if not args.small:
        WhisperModel(WhisperConfig()).save_pretrained(work / "whisper")
    encoder = WhisperModel.from_pretrained(work / "whisper").eval().encoder.to(args.device)
    mel = WhisperFeatureExtractor.from_pretrained(work / "whisper")
    data, what = utterances(work, args)

    def one(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        assert len(samples) <= WINDOW
        inputs = mel(samples, sampling_rate=16000, return_tensors="pt").input_features
        states = encoder(inputs.to(args.device)).last_hidden_state[0]
        found: NDArray[np.float32] = states[: -(-len(samples) // FRAME)].cpu().numpy()
        return found

    def alone() -> Matrices:
        with torch.inference_mode():
            return {u: one(samples) for u, samples in loaded(data, 16000)}

    choice = Choice("audio", "whisper", str(work / "whisper"))
    return measure(f"Whisper, {what}", "transformers", alone, choice, data, work, args)


def bert(work: Path, args: argparse.Namespace) -> Result:
    """A BERT of the base size on one transcript after another against the dump."""
    from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

    tiny_models.save_bert(work / "bert")  # for its tokenizer; each word is a piece
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(work / "bert")
    if not args.small:
        BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(work / "bert")
    model = AutoModel.from_pretrained(work / "bert").eval().to(args.device)
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

    limit = model.config.max_position_embeddings

    def alone() -> Matrices:
        found = {}
        with torch.inference_mode():
            for utterance, text in rows.items():
                pieces = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
                output = model(**pieces.to(args.device))
                found[utterance] = output.last_hidden_state[0].cpu().numpy()
        return found

    what = f"BERT, {len(rows)} transcripts"
    return measure(
        what, "transformers", alone, Choice("text", "bert", str(work / "bert")), data, work, args
    )


def measure(
    what: str,
    by: str,
    alone: Callable[[], Matrices],
    choice: Choice,
    data: Path,
    work: Path,
    args: argparse.Namespace,
) -> Result:
    """Take turns, each dump with its plan, the loading of its model, and the merge."""
    read = DataDir.load(data)
    directory = work / f"dump_{choice.name}"
    ngpu = int(args.device.type == "cuda")

    def dump() -> None:
        files = find_model(directory, read, choice, force=True)
        assert files is not None
        settings = Settings(choice, args.num_threads, 0, False, files=files.record())
        for job in range(1, make(directory, read, settings, 1, force=True, ngpu=ngpu) + 1):
            run_job(directory, read, job, args.device.type)
        merge(directory)

    def dump_anew() -> timing.Turn:
        shutil.rmtree(directory, ignore_errors=True)
        return timing.timed(dump)

    sides = {
        "alone": lambda: timing.timed(alone),
        "dump": dump_anew,
        "loading": lambda: timing.timed(lambda: load(choice, args)),
    }
    wanted, flop = products.operations(alone)  # which is loaded then, too
    turns = timing.in_turns(sides, args.time_limit)
    found = dump_data.features(directory)
    assert found.keys() == wanted.keys()
    difference = max(float(np.abs(found[u] - wanted[u]).max()) for u in wanted)
    what = f"{what}, {args.num_threads} threads" if args.on == "cpu" else what
    rate = products.rate(args.device, small=args.small)
    return result(what, by, len(wanted), turns, difference, flop, rate)


def result(
    what: str,
    by: str,
    utterances: int,
    turns: timing.Turns,
    difference: float,
    flop: float,
    rate: float,
) -> Result:
    """Put the figures of a comparison together."""
    (alone_wall, alone_cpu), (dump_wall, dump_cpu) = turns.least("alone"), turns.least("dump")
    loading, _ = turns.least("loading")
    return Result(
        what=what,
        by=by,
        utterances=utterances,
        alone=alone_wall,
        dump=dump_wall,
        ratio=dump_wall / alone_wall,
        alone_cpu=alone_cpu,
        dump_cpu=dump_cpu,
        ratio_cpu=dump_cpu / alone_cpu,
        loading=loading,
        ratio_loaded=(dump_wall - loading) / alone_wall,
        difference=difference,
        gflop=flop / 1e9,
        rate=rate,
        alone_share=products.share(flop, alone_wall, rate),
        dump_share=products.share(flop, dump_wall, rate),
        conditions=turns.conditions,
    )


def load(choice: Choice, args: argparse.Namespace) -> None:
    """What the plan and a job do before the first utterance."""
    model_digest(choice)
    build(choice, args.num_threads, args.device.type)


def report(result: Result) -> None:
    """Print a result."""
    shares = {"one by one": result.alone_share, "dump": result.dump_share}
    print(
        f"{result.what}, {result.utterances} utterances; one by one is by {result.by}:\n"
        f"  one by one  {result.alone:8.2f} s   processors {result.alone_cpu:8.2f} s\n"
        f"  dump        {result.dump:8.2f} s   processors {result.dump_cpu:8.2f} s\n"
        f"  ratio       {result.ratio:8.3f}              {result.ratio_cpu:19.3f}\n"
        f"  loading     {result.loading:8.2f} s   ratio without it {result.ratio_loaded:.3f}\n"
        f"  largest difference {result.difference:.1e}\n"
        f"{products.words(result.gflop * 1e9, shares, result.rate)}{result.conditions.words()}",
        end="",
        flush=True,
    )


ENCODERS = {"emotion2vec": emotion2vec, "WavLM": wavlm, "Whisper": whisper, "BERT": bert}

if __name__ == "__main__":
    main()
