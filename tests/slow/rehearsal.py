"""A rehearsal of egs/iemocap at its true size: what each stage takes, measured.

    . egs/TEMPLATE/path.sh
    python -m tests.slow.rehearsal DIR          # about an hour and a half on two cores, 15 GB
    python -m tests.slow.rehearsal --toy DIR    # the same driver in a minute, figures of no use

It makes a tree as IEMOCAP_full_release (noise of the corpus's lengths under names of our own), and
emotion2vec and BERT at their published sizes and in their published formats with random weights,
which a hub on the loopback gives to `run.sh` as it is: no model is named. Then it runs stages 1 to
8, each by itself, for 5 folds of three epochs; stages 3 and 5 are killed once and gone on with.
DIR keeps what is done: stopped and started again, it goes on. It prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cfia.files import write_json
from tests.bench import iemocap
from tests.hub import repositories
from tests.hub.server import Hub
from tests.shell.recipes import ROOT, Recipe
from tests.slow.process_tree import Cost, measure
from tests.support import full_iemocap, tiny_emotion2vec, tiny_models

STAGES = {
    1: "data", 2: "folds", 3: "audio features", 4: "text features", 5: "training",
    6: "posteriors", 7: "scores", 8: "tables, plots",
}  # fmt: skip
RATE = 16000
WORDS = (
    "i", "you", "the", "to", "it", "and", "a", "that", "what", "do", "not", "of", "is", "in",
    "me", "my", "on", "this", "have", "be", "just", "for", "so", "are", "with", "all", "like",
    "was", "but", "no", "yeah", "how", "go", "get", "well", "can", "out", "up", "they", "here",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How large a rehearsal is."""

    utterances: int | None  # of the tree; None: all
    longest: float  # seconds
    arguments: tuple[str, ...]


FULL = Size(None, iemocap.LONGEST, ("--train_args", "epochs=3"))
TINY = "epochs=3 hidden=4 channels=2 features=2 max_frames=40"
TOY = Size(400, 2.0, ("--train_args", TINY, "--allow_partial", "true"))


def main() -> None:
    """Prepare what is not there, run the stages that are left, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="for all that it makes")
    parser.add_argument("--toy", action="store_true", help="tiny models, few utterances")
    arguments = parser.parse_args()
    work, size = arguments.directory.resolve(), TOY if arguments.toy else FULL
    begin(work, toy=arguments.toy)
    if not (work / "prepared").exists():
        prepare(work, size)
    recipe = Recipe(work / "project", "iemocap", size.arguments)
    recipe.corpus = work / "IEMOCAP_full_release"
    with Hub() as hub:
        hub.add("emotion2vec/emotion2vec_base", work / "models" / "emotion2vec_base")
        hub.add("bert-base-uncased", work / "models" / "bert-base-uncased")
        for stage in STAGES:
            run_stage(work, recipe, hub, stage)
    report = table(work)
    (work / "figures.md").write_text(report)
    print(report)


def begin(work: Path, *, toy: bool) -> None:
    """Take a directory that is new, empty, or one of a rehearsal of this size."""
    path = work / "rehearsal.json"
    if not path.exists() and work.exists() and any(work.iterdir()):
        sys.exit(f"{work} is not empty and not of a rehearsal; give another directory")
    work.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_json(path, {"toy": toy})
    if json.loads(path.read_text())["toy"] != toy:
        sys.exit(f"{work} is of a rehearsal of the other size; give another directory")


def prepare(work: Path, size: Size) -> None:
    """Make the tree, the models and a copy of the project."""
    for path in work.iterdir():  # what a sitting that was cut off has left
        if path.is_dir():
            shutil.rmtree(path)
    print("making the tree and the models", flush=True)
    lengths = dict(drawn(size))
    turns = [full_turn(turn, seconds) for turn, seconds in lengths.items()]
    wavs = write_wavs(work / "wavs", lengths)
    full_iemocap.write_corpus(work / "IEMOCAP_full_release", turns, lambda turn: wavs[turn.name])
    recipe = Recipe(work / "project", "iemocap", ())
    full_iemocap.expect(recipe.directory / "conf", turns)
    full = size is FULL
    settings = tiny_emotion2vec.base_config() if full else None
    plain = tiny_emotion2vec.save(work / "models" / "plain", settings)
    tiny_emotion2vec.publish(work / "models" / "emotion2vec_base", plain)
    shutil.rmtree(plain)
    save_bert = save_base_bert if full else tiny_models.save_bert
    repositories.bert_base_uncased(work / "models" / "bert-base-uncased", save_bert)
    seconds = sum(value for turn, value in lengths.items() if turn.label in full_iemocap.LABELS)
    write_json(work / "prepared", {"hours": seconds / 3600, "commit": commit()})


def drawn(size: Size) -> list[tuple[full_iemocap.Turn, float]]:
    """The turns and their seconds: the corpus's lengths for those of the four classes."""
    turns = full_iemocap.draw()[: size.utterances]
    lengths = iemocap.durations(len(turns), np.random.default_rng(1))
    return [
        (turn, min(float(seconds), size.longest) if turn.label in full_iemocap.LABELS else 0.6)
        for turn, seconds in zip(turns, lengths, strict=True)
    ]


def full_turn(turn: full_iemocap.Turn, seconds: float) -> full_iemocap.Turn:
    """A turn with as many words as its length has on average."""
    rng = random.Random(turn.name)
    count = max(1, round(seconds * iemocap.PIECES / iemocap.MEAN))
    return replace(turn, transcript=" ".join(rng.choices(WORDS, k=count)))


def write_wavs(directory: Path, lengths: dict[full_iemocap.Turn, float]) -> dict[str, Path]:
    """A file of noise for each turn of the four classes, one for all others."""
    directory.mkdir()
    rng = np.random.default_rng(2)
    files = {}
    for turn, seconds in lengths.items():
        used = turn.label in full_iemocap.LABELS
        path = files[turn.name] = directory / f"{turn.name if used else 'other'}.wav"
        if not path.exists():
            noise = 0.1 * rng.standard_normal(round(seconds * RATE), dtype=np.float32)
            soundfile.write(path, noise, RATE, subtype="PCM_16")
    return files


def save_base_bert(directory: Path) -> Any:
    """BERT at its base size with random weights, and a tokenizer that knows the words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    model = BertModel(BertConfig()).eval()
    model.save_pretrained(directory)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    words += [f"[unused{i}]" for i in range(model.config.vocab_size - len(words))]
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    return model


def run_stage(work: Path, recipe: Recipe, hub: Hub, stage: int) -> None:
    """Run a stage to its end, unless it has been; the first time stages 3 and 5 are killed."""
    path = work / f"stage{stage}.json"
    state: dict[str, Any] = {"started": 0, "runs": []}
    if path.exists():
        state = json.loads(path.read_text())
    kill_when = {3: lambda: batches_done(recipe) >= 0.1, 5: lambda: trainings(recipe) >= 4}
    names = ("HF_", "MODELSCOPE_", "OMP_", "MKL_", "OPENBLAS_", "TQDM_")
    own = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    environment = {**own, **hub.environment(work / "cache")}
    while not any(run["code"] == 0 for run in state["runs"]):
        first = not any(run["code"] is None for run in state["runs"])
        state["started"] += 1
        write_json(path, state)
        print(f"stage {stage}, start {state['started']}", flush=True)
        arguments = recipe.command("--stage", str(stage), "--stop_stage", str(stage))
        when: Callable[[], bool] | None = kill_when.get(stage) if first else None
        cost = measure(arguments, work / "log", environment, when)
        if cost.code not in (0, None):
            sys.exit(f"stage {stage} failed with code {cost.code}; see {work / 'log'}")
        state["runs"].append(asdict(cost))
        state["disk"] = {name: disk(recipe.directory / name) for name in ("data", "dump", "exp")}
        state["disk"]["models"] = disk(work / "cache")
        write_json(path, state)


def batches_done(recipe: Recipe) -> float:
    """The share of the batches of a dump that its journals have."""
    dump = recipe.directory / "dump" / "emotion2vec"
    if not (dump / "plan.json").exists():
        return 0.0
    lines = sum(path.read_bytes().count(b"\n") - 1 for path in dump.glob(".raw_*.journal"))
    return lines / len(json.loads((dump / "plan.json").read_text())["batches"])


def trainings(recipe: Recipe) -> int:
    """How many trainings have a checkpoint."""
    return len(list((recipe.directory / "exp").rglob("checkpoint.pt")))


def disk(directory: Path) -> int:
    """Bytes of the files in a directory."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in paths)


def table(work: Path) -> str:
    """The figures as Markdown, with what they were measured on."""
    prepared = json.loads((work / "prepared").read_text())
    lines = [
        f"{processor()}, {os.cpu_count()} processors, {platform.python_version()}, commit "
        f"{prepared['commit']}; {prepared['hours']:.2f} hours of audio of the four classes.",
        "",
        "| stage | on the clock | processor time | largest process | all together | disk |",
        "|---|---|---|---|---|---|",
    ]
    before: dict[str, int] = {}
    for stage, name in STAGES.items():
        state = json.loads((work / f"stage{stage}.json").read_text())
        runs = [Cost(**run) for run in state["runs"]]
        new = {key: size - before.get(key, 0) for key, size in state["disk"].items()}
        before = state["disk"]
        note = ", killed once" if any(run.code is None for run in runs) else ""
        if lost := state["started"] - len(runs):
            note += f", {lost} sittings cut off and not counted"
        cells = [
            f"{stage} {name}{note}",
            clock(sum(run.seconds for run in runs)),
            clock(sum(run.processor for run in runs)),
            f"{max(run.largest for run in runs) / 1e9:.1f} GB",
            f"{max(run.together for run in runs) / 1e9:.1f} GB",
            ", ".join(f"{k} {v / 1e6:.0f} MB" for k, v in new.items() if v >= 5e5) or "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def clock(seconds: float) -> str:
    """Seconds as a person reads them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """The checkout's commit, with +dirty if it was changed."""
    command = ["git", "describe", "--always", "--dirty=+dirty", "--exclude=*"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


if __name__ == "__main__":
    main()
